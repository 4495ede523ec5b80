"""One layer's activations as features: standardised by the training rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..folds import Folds


@dataclass(frozen=True, slots=True)
class LayerFeatures:
    """What every baseline of one layer is made of.

    Attributes:
        layer: the model's layer id.
        x: of the labelled training rows, (n, H).
        y: whether these are hallucinated, (n,).
        asked: of the rows to score, (m, H).
        parts: the folds of the labelled training rows.
    """

    layer: int
    x: NDArray[np.float32]
    y: NDArray[np.bool_]
    asked: NDArray[np.float32]
    parts: Folds


def standardised(
    x: NDArray[np.float32], *others: NDArray[np.float32]
) -> tuple[NDArray[np.float32], ...]:
    """Features less their mean over x's rows, in its deviations, and others on the same scale.

    A feature that is constant in x says nothing, and stays at zero there.
    """
    mean = x.mean(axis=0, dtype=np.float64)
    squares = sum(
        np.square(rows.astype(np.float64) - mean).sum(axis=0)
        for rows in np.array_split(x, -(-len(x) // 1024))  # a float64 copy of all is large
    )
    scale = np.sqrt(squares / len(x))
    scale[scale <= 1e-6 * np.abs(mean)] = 1  # float32's rounding, and no deviation
    scale[scale == 0] = 1
    return tuple(_scaled(each, mean, scale) for each in (x, *others))


def _scaled(x: NDArray, mean: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray:
    out = np.empty_like(x)
    for start in range(0, len(x), 1024):
        rows = slice(start, start + 1024)
        out[rows] = (x[rows] - mean) / scale
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
