"""What scores are worth as probabilities: proper scores, and frequencies beside probabilities."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...contracts import LabelError
from .intervals import Estimate, Groups

Array = NDArray[np.float64]

_BINS = 10
_SMALLEST = 1e-15
"""Probabilities are kept this far from 0 and 1 in the log loss, which is infinite there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Samples of like probabilities.

    Attributes:
        count: samples.
        probability: their mean probability of being hallucinated.
        frequency: the share of them that is hallucinated.
    """

    count: int
    probability: float
    frequency: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How good probabilities are.

    Attributes:
        brier: the mean squared error of the probabilities (Brier 1950), 0 to 1, lower is better.
        log_loss: the mean negative logarithm of what the true label was given, in nats.
        error: the mean gap between probability and frequency over the bins, by their counts; by
            chance alone above 0, about 0.1 for eight samples in a bin, and so without an interval.
        bins: from the lowest probabilities to the highest.
    """

    brier: Estimate
    log_loss: Estimate
    error: float
    bins: tuple[ReliabilityBin, ...]


def calibration(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], groups: Groups
) -> Calibration:
    """What probabilities are worth.

    The error is the expected calibration error (Naeini et al. 2015, eq. 1) with bins of about equal
    counts. Equal probabilities share a bin, that of their middle rank, so the order of the samples
    changes nothing.

    Args:
        probabilities: of being hallucinated, (n,), 0 to 1.
        labels: 1 or 0, (n,).
        groups: of the samples, (n,), which the intervals keep together.

    Raises:
        LabelError: there is not one probability per label.
    """
    if len(probabilities) != len(labels):
        raise LabelError(
            f"{len(probabilities)} probabilities for {len(labels)} labels; give one per sample"
        )
    chances = np.asarray(probabilities, np.float64)
    right = np.where(labels == 1, chances, 1 - chances)
    bins = reliability(chances, labels)
    gaps = sum(b.count * abs(b.probability - b.frequency) for b in bins)
    return Calibration(
        brier=_mean_loss((1 - right) ** 2, groups, most=1.0),
        log_loss=_mean_loss(
            -np.log(np.maximum(right, _SMALLEST)), groups, most=float(-np.log(_SMALLEST))
        ),
        error=gaps / len(labels),
        bins=bins,
    )


def reliability(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer]
) -> tuple[ReliabilityBin, ...]:
    """Samples in up to ten bins of about equal counts, by probability; ties share a bin.

    Args:
        probabilities: (n,).
        labels: 1 or 0, (n,).
    """
    from scipy.stats import rankdata

    middle = (rankdata(probabilities) - 0.5) / len(probabilities)  # 0 to 1; one value for ties
    places = np.floor(middle * _BINS).astype(np.intp)
    inside = [np.flatnonzero(places == place) for place in np.unique(places)]
    return tuple(
        ReliabilityBin(
            count=len(rows),
            probability=float(np.sort(probabilities[rows]).mean()),  # sorted: no order of rows
            frequency=float((labels[rows] == 1).mean()),
        )
        for rows in inside
    )


def _mean_loss(losses: Array, groups: Groups, most: float) -> Estimate:
    """A mean of what is never negative nor above `most`, with Student's interval of its logarithm.

    The standard error is that between groups (Liang and Zeger 1986). No interval for one group, or
    where every loss is 0.
    """
    from scipy.special import stdtrit

    mean = float(np.sort(losses).mean())
    n_groups = len(np.unique(groups))
    if n_groups < 2 or mean == 0:
        return Estimate(value=mean, interval=None)
    sums = np.bincount(groups, losses - mean)
    error = float(np.sqrt(n_groups / (n_groups - 1) * (sums @ sums))) / len(losses)
    reach = float(stdtrit(n_groups - 1, 0.975)) * error / mean
    low, high = mean * np.exp(-reach), mean * np.exp(min(reach, 700.0))  # exp(710) is infinite
    return Estimate(value=mean, interval=(float(low), min(float(high), most)))
