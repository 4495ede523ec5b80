"""A direction in one layer's activations that rows are scored along, and the best layer's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROWS = 1024
"""Rows that are copied to float64 at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDirection:
    """Fitted on one layer alone.

    Attributes:
        layer: the model's layer id.
        cv_auroc: the mean AUROC of cross-validation on the training rows.
        weights: of the layer's standardised features, (H,).
        offset: added to every score.
    """

    layer: int
    cv_auroc: float
    weights: NDArray[np.floating]
    offset: float = 0.0

    def scores(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """How far rows lie along it: standardised features (m, H) -> (m,)."""
        weights = self.weights.astype(np.float64)
        rows = np.array_split(x, -(-len(x) // _ROWS))
        return np.concatenate([each.astype(np.float64) @ weights for each in rows]) + self.offset


def best_layer(layers: Sequence[LayerDirection]) -> int:
    """The position of the best in cross-validation on the training rows, the lowest of equals."""
    return max(range(len(layers)), key=lambda i: (layers[i].cv_auroc, -layers[i].layer))
