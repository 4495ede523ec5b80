"""Intervals: how sure a value is, and bootstrap resamples for the metrics without a formula.

Such a metric is a function of the samples' weights: 1 each for its value, the counts of a resample
for a bootstrap replicate. So one formula serves both, for all replicates at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...contracts import ConfigError, LabelError

Interval = tuple[float, float]
"""The bounds of a 95 % interval."""

Groups = NDArray[np.intp]
"""The samples' groups as whole numbers from 0 on, (n,); each its own where nothing groups them."""

Resamples = NDArray[np.float64]
"""How often each bootstrap resample holds each sample, (R, n); every one has both classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The value of a metric, and how sure it is.

    Attributes:
        value: over all labelled samples.
        interval: at 95 %; None where the samples allow none.
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


def group_numbers(groups: Sequence[str] | Groups | None, n: int) -> Groups:
    """Groups as numbers, each sample its own group where there are none.

    Args:
        groups: of the samples, (n,), by any name; None for none.
        n: samples.

    Raises:
        ConfigError: there is not one group per sample.
    """
    if groups is None:
        return np.arange(n)
    if len(groups) != n:
        raise ConfigError(f"{len(groups)} groups for {n} samples; give one per sample")
    return np.unique(np.asarray(groups), return_inverse=True)[1]


def groups_per_class(labels: NDArray[np.integer], groups: Groups) -> tuple[int, int]:
    """How many groups hold hallucinated samples, and how many hold others."""
    return len(np.unique(groups[labels == 1])), len(np.unique(groups[labels == 0]))


def resamples(
    labels: NDArray[np.integer],
    *,
    groups: Sequence[str] | Groups | None = None,
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
    members = group_numbers(groups, len(labels))
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


def bootstrap(
    values: NDArray[np.float64],
    degrees: int,
    *,
    bias_corrected: bool = False,
    most: float | None = None,
) -> Estimate:
    """A value with an interval from percentiles of its replicates.

    The percentiles lie as far out as few samples ask: Student's t in the place of the normal, times
    sqrt(n / (n - 1)) (Hesterberg 2015, section 5.3). Bias correction is Efron's (1981).

    Args:
        values: the value, and behind it its replicates, (1 + R,).
        degrees: independent samples of the rarer class, less one.
        bias_corrected: shift the percentiles by what the replicates' median is off the value.
        most: what the metric cannot exceed, if anything. Replicates of a value that is near it vary
            too little, so the lower end then lies at least as far as on the logarithm of what is
            missing, whose deviation is that of the replicates which miss more.

    Returns:
        No interval where replicates are missing or all alike, or there is no degree of freedom.
    """
    from scipy.special import ndtr, ndtri, stdtrit

    value, replicates = float(values[0]), values[1:]
    if degrees < 1 or len(replicates) == 0 or np.ptp(replicates) < 1e-12:
        return Estimate(value=value, interval=None)
    shift = 0.0
    if bias_corrected:
        lower = (np.mean(replicates < value) + np.mean(replicates <= value)) / 2
        shift = ndtri(np.clip(lower, 0.5 / len(replicates), 1 - 0.5 / len(replicates)))
    reach = stdtrit(degrees, 0.975) * np.sqrt((degrees + 1) / degrees)
    levels = 100 * ndtr(2 * shift + np.array([-reach, reach]))
    low, high = np.percentile(replicates, levels)
    if most is not None and value < most:
        middle, worse = most - np.percentile(replicates, [50, 100 * ndtr(-1)])
        if middle > 0:
            low = min(low, most - (most - value) * (worse / middle) ** reach)
    return Estimate(value=value, interval=(float(low), float(high)))


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
