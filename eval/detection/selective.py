"""Selective prediction: what is left wrong where the most suspect samples are not answered."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def selective_metrics(true: Array, false: Array) -> dict[str, Array]:
    """AURC and the prediction-rejection ratio of R weightings at once.

    Accepting samples from the lowest score on, the risk at each coverage is the share of the
    accepted that is hallucinated. AURC is its mean over the coverages 1/n, 2/n, ..., 1 (Geifman et
    al. 2019, "Bias-reduced uncertainty estimation for deep neural classifiers"). The ratio is how
    much of what there is to gain on accepting at random the scores gain, (risk - AURC) / (risk -
    AURC of the labels): 1 for the right order, 0 for none (Malinin and Gales 2021, with the error
    among the accepted). Ties are accepted in random order, in expectation.

    Args:
        true: hallucinated samples at each threshold and above, by descending score, the weights
            being whole numbers, (R, thresholds).
        false: likewise of the others.

    Returns:
        `aurc` and `prediction_rejection`, (R,).
    """
    found = true + false
    total, wrong = found[:, -1], true[:, -1]
    before = total[:, None] - found  # accepted before the ties at a threshold
    wrong_before = wrong[:, None] - true
    ties, wrong_ties = np.diff(found, axis=1, prepend=0), np.diff(true, axis=1, prepend=0)
    share = np.divide(wrong_ties, ties, out=np.zeros_like(ties), where=ties > 0)
    # sum over j = 1 .. ties of (wrong_before + share j) / (before + j)
    harmonic = _harmonic(int(total.max()))
    steps = harmonic[_whole(before + ties)] - harmonic[_whole(before)]
    aurc = (wrong_ties + (wrong_before - share * before) * steps).sum(axis=1) / total
    sound = total - wrong
    best = (wrong - sound * (harmonic[_whole(total)] - harmonic[_whole(sound)])) / total
    risk = wrong / total
    return {"aurc": aurc, "prediction_rejection": (risk - aurc) / (risk - best)}


def risk_coverage(scores: Array, labels: NDArray[np.integer]) -> tuple[Array, Array]:
    """The curve: coverages 1/n to 1, and the risk at each, ties in expectation; both (n,).

    Args:
        scores: (n,), higher for more likely hallucinated.
        labels: 1 or 0, (n,).
    """
    values, place, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    share = np.bincount(place, labels == 1, minlength=len(values)) / sizes
    accepted = np.arange(1, len(scores) + 1)
    return accepted / len(scores), np.cumsum(np.repeat(share, sizes)) / accepted


def _harmonic(n: int) -> Array:
    """The harmonic numbers H_0 to H_n."""
    return np.concatenate([[0.0], np.cumsum(1 / np.arange(1, n + 1))])


def _whole(x: Array) -> NDArray[np.intp]:
    return np.rint(x).astype(np.intp)
