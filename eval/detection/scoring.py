"""Metrics of scores against labels, each with an interval."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...contracts import ConfigError, LabelError
from .auroc import auroc_interval
from .calibration import Calibration, calibration
from .intervals import (
    Estimate,
    Groups,
    Resamples,
    bootstrap,
    group_numbers,
    groups_per_class,
    require_both,
    with_ones,
)
from .selective import selective_metrics

_FEW = 20
"""Groups below which a reader is warned."""

_ENOUGH_FOR_FPR95 = 72
"""From here on a sample's extremes bound its 5th percentile at 95 %: 0.95^n < 0.025."""

_TILE = 1 << 22
"""Weights held at once: 32 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionMetrics:
    """How well scores tell hallucinated samples from others.

    Attributes:
        auroc: the chance that a hallucinated sample scores higher than another, ties half.
        average_precision: the precision at each hallucinated sample's score, averaged.
        fpr95: false positive rate at the highest threshold that finds 95 % of the hallucinated.
        aurc: the share hallucinated among the samples accepted, averaged over all coverages; lower
            is better.
        prediction_rejection: how much of that which rejecting samples can gain the scores gain, 0
            by chance, 1 at most.
        calibration: what the scores are worth as probabilities; None where there are none.
        n_positive: hallucinated samples.
        n_negative: samples that are not.
        notes: sentences for people on what the samples are too few for.
    """

    auroc: Estimate
    average_precision: Estimate
    fpr95: Estimate
    aurc: Estimate
    prediction_rejection: Estimate
    calibration: Calibration | None
    n_positive: int
    n_negative: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoMetrics:
    """Why there are no metrics, where there cannot be any.

    Attributes:
        reason: a sentence for people.
        failed: whether something went wrong, where there could have been metrics.
    """

    reason: str
    failed: bool = False


def auroc_of(metrics: DetectionMetrics | NoMetrics) -> float | None:
    """The AUROC; None where there are no metrics."""
    return None if isinstance(metrics, NoMetrics) else metrics.auroc.value


def detection_metrics(
    scores: NDArray[np.floating],
    labels: NDArray[np.integer],
    draws: Resamples,
    *,
    groups: Groups | None = None,
    probabilities: NDArray[np.floating] | None = None,
) -> DetectionMetrics:
    """The metrics of some scores, with intervals.

    Args:
        scores: higher for more likely hallucinated, (n,), finite.
        labels: 1 or 0, (n,), both occurring.
        draws: resamples of the same samples.
        groups: the samples', (n,); None where each is its own.
        probabilities: what the scores say, as chances, (n,).

    Raises:
        LabelError: lengths disagree, or one class is missing.
        ConfigError: a score is not finite.
    """
    found = weighted_metrics(scores, labels, draws)
    groups = group_numbers(groups, len(labels))
    of_positive, of_negative = groups_per_class(labels, groups)
    degrees = min(of_positive, of_negative) - 1
    has_bounds = of_positive >= _ENOUGH_FOR_FPR95
    return DetectionMetrics(
        auroc=Estimate(
            value=float(found["auroc"][0]), interval=auroc_interval(scores, labels, groups)
        ),
        average_precision=bootstrap(found["average_precision"], degrees, bias_corrected=True),
        fpr95=bootstrap(found["fpr95"], degrees if has_bounds else 0),
        aurc=bootstrap(found["aurc"], degrees),
        prediction_rejection=bootstrap(
            found["prediction_rejection"], degrees, bias_corrected=True, most=1
        ),
        calibration=None if probabilities is None else calibration(probabilities, labels, groups),
        n_positive=int((labels == 1).sum()),
        n_negative=int((labels == 0).sum()),
        notes=_notes(len(np.unique(groups)), len(groups), of_positive),
    )


def _notes(n_groups: int, n: int, of_positive: int) -> tuple[str, ...]:
    rows = "samples" if n_groups == n else "groups of samples"
    notes = []
    if n_groups < _FEW:
        notes.append(
            f"only {n_groups} labelled {rows}: every number here may be chance; have {_FEW} at the "
            "very least"
        )
    if of_positive < _ENOUGH_FOR_FPR95:
        notes.append(
            f"FPR at 95 % TPR has no interval: {of_positive} hallucinated {rows} are too few to "
            f"bound their 5th percentile, which takes {_ENOUGH_FOR_FPR95}"
        )
    return tuple(notes)


def weighted_metrics(
    scores: NDArray[np.floating], labels: NDArray[np.integer], draws: Resamples
) -> dict[str, NDArray[np.float64]]:
    """AUROC, average precision, FPR at 95 % TPR, AURC and the prediction-rejection ratio, and each
    again in every resample: (1 + R,).

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
        **selective_metrics(true, false),
    }
