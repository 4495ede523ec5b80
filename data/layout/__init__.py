"""How Zarr arrays lie in files as bytes, whatever the store's schema."""
