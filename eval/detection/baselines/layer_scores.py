"""Scores from one layer alone, and which layer's to report."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerScores:
    """Scores from one layer alone.

    Attributes:
        layer: the model's layer id.
        cv_auroc: the mean AUROC of cross-validation on the training rows.
        scores: of the rows that were asked for, (m,).
    """

    layer: int
    cv_auroc: float
    scores: NDArray[np.float64]


_Scores = TypeVar("_Scores", bound=LayerScores)


def best_layer(layers: Sequence[_Scores]) -> _Scores:
    """The best in cross-validation on the training rows, the lowest layer of equals."""
    return max(layers, key=lambda found: (found.cv_auroc, -found.layer))
