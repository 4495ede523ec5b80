"""A run on disk: its folder, its checkpoints, and what is recorded of it."""
