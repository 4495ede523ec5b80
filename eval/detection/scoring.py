"""Metrics of scores against labels, each with an interval."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...contracts import ConfigError, LabelError
from .intervals import Estimate, Resamples, estimate, require_both, with_ones

_BINS = 10
_TILE = 1 << 22
"""Weights held at once: 32 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionMetrics:
    """How well scores tell hallucinated samples from others.

    Attributes:
        auroc: the chance that a hallucinated sample scores higher than another, ties half.
        average_precision: the precision at each hallucinated sample's score, averaged.
        fpr95: false positive rate at the highest threshold that finds 95 % of the hallucinated.
        calibration_error: how far probabilities are from frequencies, 0 to 1; None where the
            training rows were too few to make probabilities of the scores.
        n_positive: hallucinated samples.
        n_negative: samples that are not.
    """

    auroc: Estimate
    average_precision: Estimate
    fpr95: Estimate
    calibration_error: Estimate | None
    n_positive: int
    n_negative: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoMetrics:
    """Why there are no metrics, where there cannot be any.

    Attributes:
        reason: a sentence for people.
    """

    reason: str


def detection_metrics(
    scores: NDArray[np.floating],
    labels: NDArray[np.integer],
    draws: Resamples,
    *,
    probabilities: NDArray[np.floating] | None = None,
) -> DetectionMetrics:
    """The metrics of some scores, with intervals.

    Args:
        scores: higher for more likely hallucinated, (n,), finite.
        labels: 1 or 0, (n,), both occurring.
        draws: resamples of the same samples.
        probabilities: what the scores say, as chances, (n,), for the calibration error.

    Raises:
        LabelError: lengths disagree, or one class is missing.
        ConfigError: a score is not finite.
    """
    found = weighted_metrics(scores, labels, draws)
    return DetectionMetrics(
        **{name: estimate(values) for name, values in found.items()},
        calibration_error=None
        if probabilities is None
        else calibration_error(probabilities, labels, draws),
        n_positive=int((labels == 1).sum()),
        n_negative=int((labels == 0).sum()),
    )


def calibration_error(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], draws: Resamples
) -> Estimate:
    """How far probabilities are from frequencies: the mean gap over bins of equal counts.

    Few samples leave a gap by chance alone, about 0.1 for eight in a bin. (Naeini et al. 2015,
    eq. 1, with bins of equal counts.)

    Args:
        probabilities: chances of being hallucinated, (n,).
        labels: 1 or 0, (n,).
        draws: resamples of the same samples.
    """
    order = np.argsort(probabilities, kind="stable")
    surplus = (probabilities - (labels == 1))[order]
    bins = min(_BINS, len(order))
    starts = np.linspace(0, len(order), bins, endpoint=False).astype(np.intp)

    weights = with_ones(draws)
    gaps = np.add.reduceat(weights[:, order] * surplus, starts, axis=1)  # (1 + R, bins)
    error = np.abs(gaps).sum(axis=1) / weights.sum(axis=1)
    if len(draws):
        # resampling adds gaps of its own, so replicates are moved to have the value as their mean
        error[1:] = np.clip(error[1:] - (error[1:].mean() - error[0]), 0, 1)
    return estimate(error)


def weighted_metrics(
    scores: NDArray[np.floating], labels: NDArray[np.integer], draws: Resamples
) -> dict[str, NDArray[np.float64]]:
    """AUROC, average precision and FPR at 95 % TPR, and each again in every resample: (1 + R,).

    Raises:
        LabelError: lengths disagree, or one class is missing.
        ConfigError: a score is not finite.
    """
    require_both(labels)
    if len(scores) != len(labels):
        raise LabelError(f"{len(scores)} scores for {len(labels)} labels; give one per sample")
    if not np.isfinite(scores).all():
        raise ConfigError(
            f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite"
        )
    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    ends = np.flatnonzero(np.append(descending[1:] != descending[:-1], True))  # ties share a point
    positive = labels[order] == 1
    weights = with_ones(draws)
    pieces = np.array_split(weights, max(1, -(-weights.size // _TILE)))
    parts = [_curve_metrics(piece[:, order], positive, ends) for piece in pieces]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _curve_metrics(
    weights: NDArray[np.float64], positive: NDArray[np.bool_], ends: NDArray[np.intp]
) -> dict[str, NDArray[np.float64]]:
    true = np.cumsum(weights * positive, axis=1)[:, ends]  # (R, thresholds)
    false = np.cumsum(weights * ~positive, axis=1)[:, ends]
    tpr, fpr = true / true[:, -1:], false / false[:, -1:]
    risen = np.diff(tpr, axis=1, prepend=0)
    higher = np.diff(fpr, axis=1, prepend=0) * (tpr - risen / 2)
    found = true + false
    precision = np.divide(true, found, out=np.zeros_like(true), where=found > 0)
    reached = np.argmax(tpr >= 0.95 - 1e-12, axis=1)
    return {
        "auroc": higher.sum(axis=1),
        "average_precision": (risen * precision).sum(axis=1),
        "fpr95": np.take_along_axis(fpr, reached[:, None], axis=1)[:, 0],
    }
