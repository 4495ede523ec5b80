"""Made-up scores of labelled samples."""

import numpy as np


def drawn_scores(n: int, seed: int, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """n scores and labels, both labels among them; higher scores where the label is 1."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n).astype(np.int8)
    labels[:2] = (0, 1)
    scores = random.normal(size=n) + labels
    return (np.round(scores) if ties else scores), labels
