"""Everything that knows the native store."""
