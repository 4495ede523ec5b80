"""The commands of `kview`."""
