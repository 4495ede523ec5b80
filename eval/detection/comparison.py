"""Scorers side by side on the same labelled rows: one comparison named before, others corrected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...contracts import ConfigError
from .auroc import Placements, chance, placements
from .held_out import HeldOut, probabilities
from .intervals import Estimate, Groups, group_numbers, no_metrics_reason, resamples
from .scoring import DetectionMetrics, NoMetrics, detection_metrics

Scores = Mapping[str, NDArray[np.floating]]
"""Each scorer's scores, (n,), by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One scorer's AUROC less another's, on the same samples.

    Attributes:
        first: the name of the one.
        second: the name of the other.
        auroc: the difference; its interval leaves 0 out where `p` is below 0.05.
        p: the chance of a difference as large where there is none, by DeLong's test.
        p_adjusted: the same, corrected for the number of comparisons by Holm; for the primary one,
            which was named before and needs no correction, `p`.
        primary: whether this is the comparison that the evaluation is about.
    """

    first: str
    second: str
    auroc: Estimate
    p: float
    p_adjusted: float
    primary: bool


def paired_differences(
    scores: Scores,
    labels: NDArray[np.integer],
    groups: Groups,
    *,
    pairs: Sequence[tuple[str, str]],
    primary: tuple[str, str],
) -> tuple[Difference, ...]:
    """AUROC differences of scorers on the same samples, so that what they share cancels out.

    Args:
        scores: each scorer's, (n,), by name.
        labels: 1 or 0, (n,), both occurring.
        groups: the samples', (n,).
        pairs: the names to compare, the first less the second.
        primary: the pair that was named before looking; the others are corrected by Holm.

    Raises:
        ConfigError: `primary` is none of the pairs.
    """
    if primary not in pairs:
        raise ConfigError(f"primary={primary} is none of the comparisons {list(pairs)}")
    placed = {name: placements(s, labels, groups) for name, s in scores.items()}
    found = {(a, b): delong(placed[a], placed[b]) for a, b in pairs}
    others = [pair for pair in pairs if pair != primary]
    adjusted = dict(zip(others, holm([found[pair][1] for pair in others]), strict=True))
    return tuple(
        Difference(
            first=pair[0],
            second=pair[1],
            auroc=estimate,
            p=p,
            p_adjusted=adjusted.get(pair, p),
            primary=pair == primary,
        )
        for pair, (estimate, p) in found.items()
    )


def delong(first: Placements, second: Placements) -> tuple[Estimate, float]:
    """DeLong's (1988) test of two AUROCs on the same samples, with Obuchowski's (1997) variance
    where samples have groups, and Student's t in the place of the normal.

    The variance is at least that of one sample per class, or one group, that stands half-way wrong:
    scorers that both make no error, or the same one, would have none at all.

    Returns:
        The first AUROC less the second with its interval, and p.
    """
    from scipy.special import stdtr

    less = first.less(second)
    found = chance(less)
    if found.degrees <= 0:
        return Estimate(value=less.mean, interval=(-1.0, 1.0)), 1.0
    error = np.sqrt(max(found.variance, sum(1 / count**2 for count in less.group_counts) / 4))
    reach = found.quantile * error
    interval = (max(-1.0, float(less.mean - reach)), min(1.0, float(less.mean + reach)))
    p = float(2 * stdtr(found.degrees, -abs(less.mean) / error))
    return Estimate(value=less.mean, interval=interval), p


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number, so that any false one has the chance of one (Holm 1979).

    Examples:
        >>> from kview.eval.detection.comparison import holm
        >>> holm([0.25, 0.125, 0.5])
        [0.5, 0.375, 0.5]
    """
    order = np.argsort(p, kind="stable")
    steps = np.minimum(1.0, np.asarray(p)[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(steps)
    return adjusted.tolist()


class LabelledRows:
    """The test rows that are labelled: what every scorer is measured on, and by whose labels.

    Args:
        labels: of all test rows, 1, 0 or -1, (n,).
        groups: the rows' groups, which intervals keep together; None where each is its own.
        count: resamples.
        seed: of the resamples.
    """

    def __init__(
        self, labels: NDArray[np.integer], groups: Sequence[str] | None, count: int, seed: int
    ) -> None:
        self._known = labels >= 0
        self._labels = labels[self._known]
        self._reason = no_metrics_reason(labels)
        self._grouped = groups is not None
        known_groups = None if groups is None else list(np.asarray(groups)[self._known])
        self._groups = group_numbers(known_groups, len(self._labels))
        self._draws = np.empty((0, len(self._labels)))
        if self._reason is None:
            self._draws = resamples(self._labels, groups=self._groups, count=count, seed=seed)

    def __len__(self) -> int:
        """All test rows, n."""
        return len(self._known)

    @property
    def n_resamples(self) -> int:
        """The resamples that have both classes."""
        return len(self._draws)

    @property
    def n_groups(self) -> int | None:
        """The groups of labelled rows; None where each row is its own."""
        return len(np.unique(self._groups)) if self._grouped else None

    def metrics(
        self, scores: NDArray[np.float64], held_out: HeldOut | None = None
    ) -> DetectionMetrics | NoMetrics:
        """The metrics of scores of all test rows, or why there are none.

        Args:
            scores: (n,).
            held_out: what makes probabilities of scores, for their calibration.
        """
        if self._reason is not None:
            return NoMetrics(reason=self._reason)
        known = scores[self._known]
        chances = None if held_out is None else probabilities(*held_out, known)
        return detection_metrics(
            known, self._labels, self._draws, groups=self._groups, probabilities=chances
        )

    def differences(
        self, detectors: Scores, baselines: Scores, *, primary: tuple[str, str] | None
    ) -> tuple[Difference, ...]:
        """The AUROC of the chosen detector less each baseline's, and of each other detector less
        the best baseline's; empty where there are no metrics.

        Args:
            detectors: scores of all test rows, by name.
            baselines: theirs.
            primary: the chosen detector and the best baseline, whose comparison counts, both
                chosen without a look at the test rows' labels; None where one is missing.
        """
        if self._reason is not None or primary is None:
            return ()
        chosen, best = primary
        scores = {n: s[self._known] for n, s in {**detectors, **baselines}.items()}
        pairs = [(chosen, b) for b in baselines] + [(d, best) for d in detectors if d != chosen]
        return paired_differences(scores, self._labels, self._groups, pairs=pairs, primary=primary)
