"""Detection: detectors and baselines scored on a test split, and what their scores are worth."""
