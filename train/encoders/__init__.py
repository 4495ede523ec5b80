"""Encoders of one view, what they know of each layer, and the file their weights travel in."""
