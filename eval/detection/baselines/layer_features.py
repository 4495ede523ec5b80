"""One layer's activations as features: standardised by the training rows."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..folds import Folds

_ROWS = 1024
"""Rows that are copied to float64 at once: such a copy of all is large."""


@dataclass(frozen=True, slots=True)
class LayerFeatures:
    """What every baseline of one layer is fitted on: the labelled training rows.

    Attributes:
        layer: the model's layer id.
        x: standardised, (n, H).
        y: whether rows are hallucinated, (n,).
        parts: the folds.
    """

    layer: int
    x: NDArray[np.float32]
    y: NDArray[np.bool_]
    parts: Folds


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale of one layer's features: their mean, and their deviation.

    Attributes:
        mean: (H,).
        deviation: (H,); 1 of a feature that is constant, which says nothing and stays at zero.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, x: NDArray[np.float32]) -> Self:
        """That of rows (N, H)."""
        mean = x.mean(axis=0, dtype=np.float64)
        squares = sum(
            np.square(rows.astype(np.float64) - mean).sum(axis=0)
            for rows in np.array_split(x, -(-len(x) // _ROWS))
        )
        deviation = np.sqrt(squares / len(x))
        deviation[deviation <= 1e-6 * np.abs(mean)] = 1  # float32's rounding, and no deviation
        deviation[deviation == 0] = 1
        return cls(mean, deviation)

    def standardised(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows' features less the mean, in deviations, (m, H)."""
        out = np.empty_like(x)
        for start in range(0, len(x), _ROWS):
            rows = slice(start, start + _ROWS)
            out[rows] = (x[rows] - self.mean) / self.deviation
        return out


def cv_auroc(held_out: NDArray[np.float64], y: NDArray[np.bool_], parts: Folds) -> float:
    """The mean AUROC of the folds' held-out rows.

    Args:
        held_out: each fold's scores of all rows, a column per fold, (n, folds).
        y: whether rows are hallucinated, (n,).
        parts: rows fitted on and held out, of each fold.
    """
    each = [_auroc(held_out[out, fold], y[out]) for fold, (_, out) in enumerate(parts)]
    return float(np.mean(each))


def _auroc(scores: NDArray[np.float64], y: NDArray[np.bool_]) -> float:
    """From the ranks of hallucinated rows (Mann and Whitney 1947); for hundreds of folds a run."""
    from scipy.stats import rankdata

    m = int(y.sum())
    return (rankdata(scores)[y].sum() - m * (m + 1) / 2) / (m * (len(y) - m))
