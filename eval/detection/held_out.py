"""Scores of training rows that the scorer was not fitted on, and probabilities made by them.

A logistic curve (Platt 1999) through such scores and their labels turns scores of test rows into
chances of being hallucinated.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ...contracts import Detector, EmbeddingBatch, LabelError
from .reference import Reference, reference_set, select

Array = NDArray[np.float64]

HeldOut = tuple[Array, NDArray[np.integer]]
"""Scores of labelled training rows by a scorer that was fitted without them, and their labels."""

_FOLDS = 5


def folds(labels: NDArray, seed: int) -> Iterator[tuple[NDArray, NDArray]]:
    """Rows to fit on and rows held out, each class spread evenly: five folds, fewer for few rows.

    Args:
        labels: classes, (n,), at least two rows of each.
        seed: of the shuffling.
    """
    from sklearn.model_selection import StratifiedKFold

    rarest = int(np.unique(labels, return_counts=True)[1].min())
    splits = StratifiedKFold(min(_FOLDS, rarest), shuffle=True, random_state=seed)
    return splits.split(labels, labels)


def require_classes(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Where training rows are labelled, (N,).

    Raises:
        LabelError: there are fewer than two of a class.
    """
    counts = {label: int((labels == label).sum()) for label in (0, 1)}
    if min(counts.values()) < 2:
        raise LabelError(
            f"the training rows have {counts[1]} labelled hallucinated and {counts[0]} labelled "
            "not; fitting on them takes at least two of each"
        )
    return labels >= 0


def held_out_scores(
    detector: Detector, train: EmbeddingBatch, reference: Reference, seed: int
) -> HeldOut:
    """Scores of the labelled training rows, each by the detector fitted without it.

    Args:
        detector: is fitted anew for each fold, and left so.
        train: the training rows, with labels.
        reference: which of them the detector is fitted on.
        seed: of the folds.

    Returns:
        The scores (n,) and labels (n,) of the labelled rows.

    Raises:
        LabelError: there are fewer than two labelled rows of a class.
        ConfigError: a fold has too few rows for the detector.
    """
    halu = np.full(len(train), -1) if train.halu is None else train.halu.cpu().numpy()
    labels = halu.astype(np.int8)
    known = np.flatnonzero(require_classes(labels))
    spare = np.flatnonzero(labels < 0)  # never scored, so in every fold's reference set
    scores = np.empty(len(known))
    for fit, out in folds(labels[known], seed):
        rows = np.concatenate([known[fit], spare]).tolist()
        detector.fit(reference_set(select(train, rows), reference))
        scores[out] = detector.score(select(train, known[out].tolist())).cpu().numpy()
    return scores, labels[known]


def probabilities(scores: Array, labels: NDArray[np.integer], test: Array) -> Array:
    """Chances of being hallucinated, by a logistic curve through training scores.

    Args:
        scores: of training rows, (N,).
        labels: theirs, 1 or 0, (N,).
        test: scores to translate, (n,).
    """
    from sklearn.linear_model import LogisticRegression

    mean, scale = scores.mean(), scores.std() or 1.0
    curve = LogisticRegression(C=1e3, max_iter=1000).fit(((scores - mean) / scale)[:, None], labels)
    return curve.predict_proba(((test - mean) / scale)[:, None])[:, 1]
