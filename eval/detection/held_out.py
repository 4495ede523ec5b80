"""Chances of being hallucinated, from scores of rows that nothing was fitted on."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

HeldOut = tuple[Array, NDArray[np.integer]]
"""Scores of labelled validation rows, and their labels: nothing was fitted on those rows."""


def labelled_scores(scores: Array, labels: NDArray[np.integer]) -> HeldOut | None:
    """The scores of the labelled rows, with their labels; None where they lack a class."""
    known = labels >= 0
    return (scores[known], labels[known]) if len(set(labels[known].tolist())) == 2 else None


def probabilities(scores: Array, labels: NDArray[np.integer], test: Array) -> Array:
    """Chances of being hallucinated, by a logistic curve through scores (Platt 1999).

    Args:
        scores: of validation rows, (N,).
        labels: theirs, 1 or 0, both occurring, (N,).
        test: scores to translate, (n,).
    """
    from sklearn.linear_model import LogisticRegression

    mean, scale = scores.mean(), scores.std() or 1.0
    curve = LogisticRegression(C=1e3, max_iter=1000).fit(((scores - mean) / scale)[:, None], labels)
    return curve.predict_proba(((test - mean) / scale)[:, None])[:, 1]
