"""Turns scores into figures: the same labelled rows and the same resamples for every scorer."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .held_out import probabilities
from .results import Scored
from .scoring import (
    DetectionFigures,
    Difference,
    NoFigures,
    Resamples,
    detection_figures,
    no_figures_reason,
    paired_differences,
    resamples,
)

HeldOut = tuple[NDArray[np.float64], NDArray[np.integer]]
"""Scores of labelled training rows by a scorer that was fitted without them, and their labels."""


class Judge:
    """Knows the test rows' labels, which nothing that is judged has seen.

    Args:
        labels: 1, 0 or -1, (n,).
        groups: the rows' groups, which resamples keep together; None for each its own.
        count: resamples.
        seed: of the resamples.
    """

    def __init__(
        self, labels: NDArray[np.integer], groups: Sequence[str] | None, count: int, seed: int
    ) -> None:
        self._known = labels >= 0
        self._labels = labels[self._known]
        self._reason = no_figures_reason(labels)
        self._draws = Resamples(np.empty((0, len(self._labels))))
        if self._reason is None:
            known_groups = None if groups is None else list(np.asarray(groups)[self._known])
            self._draws = resamples(self._labels, groups=known_groups, count=count, seed=seed)

    @property
    def n_resamples(self) -> int:
        """The resamples that have both classes."""
        return len(self._draws.weights)

    def __call__(self, scores: NDArray[np.float64], held_out: HeldOut | None) -> Scored:
        """Scores of all test rows with their figures."""
        return Scored(scores=scores, figures=self.figures(scores, held_out))

    def figures(
        self, scores: NDArray[np.float64], held_out: HeldOut | None = None
    ) -> DetectionFigures | NoFigures:
        """The figures of scores of all test rows, or why there are none.

        Args:
            scores: (n,).
            held_out: what makes probabilities of scores, for the calibration error.
        """
        if self._reason is not None:
            return NoFigures(reason=self._reason)
        known = scores[self._known]
        chances = None if held_out is None else probabilities(*held_out, known)
        return detection_figures(known, self._labels, self._draws, probabilities=chances)

    def differences(
        self, detectors: Mapping[str, Scored], baselines: Mapping[str, Scored]
    ) -> tuple[Difference, ...]:
        """Each detector's AUROC less each baseline's; none where there are no figures."""
        if self._reason is not None:
            return ()
        scores = {
            name: scored.scores[self._known]
            for name, scored in {**detectors, **baselines}.items()
            if scored.scores is not None
        }
        pairs = [(d, b) for d in detectors for b in baselines if b in scores]
        return tuple(paired_differences(scores, self._labels, self._draws, pairs=pairs))
