"""Metrics of scores against labels, each with a bootstrap interval.

Every metric is a function of the samples' weights: 1 each for its value, the counts of a resample
for a bootstrap replicate. So one formula serves both, for all replicates at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...contracts import ConfigError, LabelError

Interval = tuple[float, float]
"""The bounds of a 95 % bootstrap interval."""

Resamples = NDArray[np.float64]
"""How often each bootstrap resample holds each sample, (R, n); every one has both classes."""

_LEVEL = (2.5, 97.5)
_BINS = 10
_TILE = 1 << 22
"""Weights held at once: 32 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The value of a metric, and how sure it is.

    Attributes:
        value: over all labelled samples.
        interval: the 2.5th and 97.5th percentile over resamples; None without resamples.
    """

    value: float
    interval: Interval | None


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


def no_metrics_reason(labels: NDArray[np.integer]) -> str | None:
    """Why labels (1, 0, -1) allow no metrics; None where they do."""
    positive, negative = int((labels == 1).sum()), int((labels == 0).sum())
    if positive and negative:
        return None
    if not positive and not negative:
        return f"none of the {len(labels)} samples is labelled"
    only = "hallucinated" if positive else "not hallucinated"
    return f"all {positive + negative} labelled samples are {only}; metrics need both classes"


def resamples(
    labels: NDArray[np.integer],
    *,
    groups: Sequence[str] | None = None,
    count: int = 1000,
    seed: int = 0,
) -> Resamples:
    """Draws resamples with replacement, of whole groups where there are any.

    A resample that misses a class has no metrics and is left out.

    Args:
        labels: 1 or 0, (n,), both occurring.
        groups: the samples' groups, which stay together; None where each is its own.
        count: resamples to draw, R.
        seed: of the draws.

    Raises:
        ConfigError: there is not one group per sample, or no resample has both classes.
    """
    _require_both(labels)
    n = len(labels)
    if groups is not None and len(groups) != n:
        raise ConfigError(f"{len(groups)} groups for {n} samples; give one per sample")
    members = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    n_groups = int(members.max()) + 1
    random = np.random.default_rng(seed)
    drawn = random.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=count)
    weights = drawn[:, members].astype(np.float64)
    both = (weights @ (labels == 1) > 0) & (weights @ (labels == 0) > 0)
    if count and not both.any():
        raise ConfigError(
            f"none of {count} resamples of {n_groups} groups has both classes; an interval needs "
            "more groups"
        )
    return weights[both]


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

    weights = _with_ones(draws)
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
    _require_both(labels)
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
    weights = _with_ones(draws)
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


def estimate(values: NDArray[np.float64]) -> Estimate:
    """A value and the interval of its replicates, out of both: (1 + R,)."""
    interval = None
    if len(values) > 1:
        low, high = np.percentile(values[1:], _LEVEL)
        interval = (float(low), float(high))
    return Estimate(value=float(values[0]), interval=interval)


def _with_ones(draws: Resamples) -> NDArray[np.float64]:
    """The samples as they are, and every resample of them: (1 + R, n)."""
    return np.vstack([np.ones((1, draws.shape[1])), draws])


def _require_both(labels: NDArray[np.integer]) -> None:
    if not np.isin(labels, (0, 1)).all():
        raise LabelError("metrics are of labelled samples: pass those whose label is 0 or 1")
    if reason := no_metrics_reason(labels):
        raise LabelError(reason)
