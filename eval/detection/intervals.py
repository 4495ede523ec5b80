"""Intervals: bootstrap resamples of test samples, and what they say of how sure a value is.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The value of a metric, and how sure it is.

    Attributes:
        value: over all labelled samples.
        interval: the 2.5th and 97.5th percentile over resamples; None without resamples.
    """

    value: float
    interval: Interval | None


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
        LabelError: a label is neither 1 nor 0, or one class is missing.
        ConfigError: there is not one group per sample, or no resample has both classes.
    """
    require_both(labels)
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


def estimate(values: NDArray[np.float64]) -> Estimate:
    """A value and the interval of its replicates, out of both: (1 + R,)."""
    interval = None
    if len(values) > 1:
        low, high = np.percentile(values[1:], _LEVEL)
        interval = (float(low), float(high))
    return Estimate(value=float(values[0]), interval=interval)


def with_ones(draws: Resamples) -> NDArray[np.float64]:
    """The samples as they are, and every resample of them: (1 + R, n)."""
    return np.vstack([np.ones((1, draws.shape[1])), draws])


def require_both(labels: NDArray[np.integer]) -> None:
    """Refuses labels that allow no metrics.

    Raises:
        LabelError: a label is neither 1 nor 0, or one class is missing.
    """
    if not np.isin(labels, (0, 1)).all():
        raise LabelError("metrics are of labelled samples: pass those whose label is 0 or 1")
    if reason := no_metrics_reason(labels):
        raise LabelError(reason)
