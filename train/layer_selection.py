"""Which layers to draw views from: those whose linear probe tells the training labels best."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from ..contracts import ConfigError, KViewSource
from ..contracts.settings import Count, checked
from ..eval.detection.baselines.layer_features import cv_auroc
from ..eval.detection.folds import Folds, labelled_folds, require_group_per_row
from ..eval.embedding import layer_means
from ..eval.progress import Progress, silent

_RIDGE = 0.1
"""The penalty, as a share of the mean squared length of a standardised row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSelection:
    """The layers that were chosen, and by what.

    Attributes:
        layers: the model's layer ids, ascending.
        auroc: of the probe on each layer, in cross-validation on training rows.
    """

    layers: tuple[int, ...]
    auroc: dict[int, float]


def select_layers(
    train: KViewSource,
    *,
    count: int,
    groups: Sequence[str] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> LayerSelection:
    """The `count` layers whose probe does best in cross-validation on training rows.

    The probe is ridge regression of the label on the standardised mean over tokens, with every
    fold's prediction in closed form. Its cost grows with the cube of the labelled rows: of many
    rows, give a thousand.

    Args:
        train: the training rows, every layer a view, in any order.
        count: layers to keep.
        groups: the rows' groups, which folds keep whole; None where each row is its own.
        seed: of the folds.
        progress: called with what is being done, how much of it is done, and how much there is.

    Raises:
        LabelError: there are fewer than two labelled rows, or groups of them, of a class; or not a
            group for each row.
        ConfigError: a layer is no view of the source, or there are fewer than `count`.
        ContractError: activations are not finite.
    """
    if checked(Count, count=count) > len(train.layer_ids):
        raise ConfigError(f"count={count} exceeds the {len(train.layer_ids)} layers of the source")
    require_group_per_row(groups, len(train))
    labels = np.asarray(train.labels)
    known = labels >= 0
    y = labels[known] == 1
    parts = labelled_folds(labels, seed, groups)
    means = layer_means(train, partial(progress, "reading layers"))
    x = means[torch.from_numpy(known)]  # (n, L, H)
    auroc = {}
    for place, layer in enumerate(train.layer_ids):
        predicted = _held_out_predictions(x[:, place], y, parts)
        auroc[layer] = cv_auroc(np.repeat(predicted[:, None], len(parts), axis=1), y, parts)
        progress("selecting layers", place + 1, len(train.layer_ids))
    best = sorted(auroc, key=lambda layer: (-auroc[layer], layer))[:count]
    return LayerSelection(layers=tuple(sorted(best)), auroc=auroc)


def _held_out_predictions(
    x: torch.Tensor, y: NDArray[np.bool_], parts: Folds
) -> NDArray[np.float64]:
    """Every row's prediction by ridge regression on the other folds: (n,).

    With G = (K + c I)^-1 for the centred Gram matrix K, the errors of a fold S that is left out are
    G_SS^-1 (G y)_S: block deletion of the hat matrix (Rao et al. 2008, "On the dangers of
    cross-validation", and elsewhere).
    """
    x = x.double()
    x = (x - x.mean(0)) / x.std(0, correction=0).clamp(min=1e-12)
    gram = x @ x.T  # (n, n)
    n = len(gram)
    scale = gram.diagonal().mean()
    target = torch.from_numpy(y - y.mean())
    gram.diagonal().add_(_RIDGE * scale + 1e-9)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    solved = inverse @ target
    predicted = np.empty(n)
    for _, out in parts:
        rows = torch.from_numpy(out)
        error = torch.linalg.solve(inverse[rows][:, rows], solved[rows])
        predicted[out] = (target[rows] - error).numpy()
    return predicted
