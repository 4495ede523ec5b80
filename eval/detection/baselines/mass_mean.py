"""The mass-mean direction: from the mean of sound rows to that of hallucinated ones."""

import numpy as np

from .layer_direction import LayerDirection
from .layer_features import LayerFeatures, cv_auroc


def mass_mean(features: LayerFeatures) -> LayerDirection:
    """The difference of the classes' means (Marks and Tegmark 2023).

    On standardised activations, which whitens each dimension by itself: a causal model's few huge
    dimensions would else be all of it.
    """
    x, y, parts = features.x, features.y, features.parts
    each = [rows for rows, _ in parts] + [np.arange(len(y))]
    directions = np.stack(
        [x[rows][y[rows]].mean(axis=0) - x[rows][~y[rows]].mean(axis=0) for rows in each], axis=1
    )  # (H, folds + 1)
    held_out = (x @ directions[:, :-1]).astype(np.float64)
    return LayerDirection(
        layer=features.layer,
        cv_auroc=cv_auroc(held_out, y, parts),
        weights=directions[:, -1],
    )
