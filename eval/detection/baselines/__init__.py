"""What a detector has to beat: scores that need no trained encoder."""
