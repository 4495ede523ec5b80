"""`kview inspect`, `verify`, `convert` and `capture`: what is done with stores."""
