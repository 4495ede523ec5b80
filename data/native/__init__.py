"""Everything that knows the native store, schema "kview/1"."""
