"""Everything that knows HalluLens' stores, schema "zarr-v1"."""
