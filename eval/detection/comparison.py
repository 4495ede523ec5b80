"""Scorers side by side: on the same labelled rows, and the same resamples of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .held_out import HeldOut, probabilities
from .intervals import Estimate, Resamples, estimate, no_metrics_reason, resamples
from .scoring import DetectionMetrics, NoMetrics, detection_metrics, weighted_metrics

Scores = Mapping[str, NDArray[np.floating]]
"""Each scorer's scores, (n,), by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One scorer's AUROC less another's, on the same samples and the same resamples.

    Attributes:
        first: the name of the one.
        second: the name of the other.
        auroc: the difference; its interval leaves 0 out where it is more than chance.
    """

    first: str
    second: str
    auroc: Estimate


def paired_differences(
    scores: Scores,
    labels: NDArray[np.integer],
    draws: Resamples,
    *,
    pairs: Sequence[tuple[str, str]],
) -> tuple[Difference, ...]:
    """AUROC differences over the same resamples, so that what samples share cancels out.

    Args:
        scores: each scorer's, (n,), by name.
        labels: 1 or 0, (n,), both occurring.
        draws: resamples of the same samples.
        pairs: the names to compare, the first less the second.
    """
    auroc = {name: weighted_metrics(s, labels, draws)["auroc"] for name, s in scores.items()}
    return tuple(
        Difference(first=a, second=b, auroc=estimate(auroc[a] - auroc[b])) for a, b in pairs
    )


class LabelledRows:
    """The test rows that are labelled: what every scorer is measured on, and by whose labels.

    Args:
        labels: of all test rows, 1, 0 or -1, (n,).
        groups: the rows' groups, which resamples keep together; None where each is its own.
        count: resamples.
        seed: of the resamples.
    """

    def __init__(
        self, labels: NDArray[np.integer], groups: Sequence[str] | None, count: int, seed: int
    ) -> None:
        self._known = labels >= 0
        self._labels = labels[self._known]
        self._reason = no_metrics_reason(labels)
        self._draws = np.empty((0, len(self._labels)))
        if self._reason is None:
            known_groups = None if groups is None else list(np.asarray(groups)[self._known])
            self._draws = resamples(self._labels, groups=known_groups, count=count, seed=seed)

    def __len__(self) -> int:
        """All test rows, n."""
        return len(self._known)

    @property
    def n_resamples(self) -> int:
        """The resamples that have both classes."""
        return len(self._draws)

    def metrics(
        self, scores: NDArray[np.float64], held_out: HeldOut | None = None
    ) -> DetectionMetrics | NoMetrics:
        """The metrics of scores of all test rows, or why there are none.

        Args:
            scores: (n,).
            held_out: what makes probabilities of scores, for the calibration error.
        """
        if self._reason is not None:
            return NoMetrics(reason=self._reason)
        known = scores[self._known]
        chances = None if held_out is None else probabilities(*held_out, known)
        return detection_metrics(known, self._labels, self._draws, probabilities=chances)

    def differences(self, detectors: Scores, baselines: Scores) -> tuple[Difference, ...]:
        """Each detector's AUROC less each baseline's; empty where there are no metrics."""
        if self._reason is not None:
            return ()
        scores = {n: s[self._known] for n, s in {**detectors, **baselines}.items()}
        pairs = [(d, b) for d in detectors for b in baselines]
        return paired_differences(scores, self._labels, self._draws, pairs=pairs)
