"""The baselines that look at one layer after the other, and what all layers together look like."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....contracts import LabelError
from ...progress import Count, uncounted
from ..folds import Folds, labelled_folds, require_classes
from ..layer_means import LayerMeans
from ..scoring import NoMetrics
from .layer_features import LayerFeatures, standardised
from .layer_scores import LayerScores
from .mass_mean import mass_mean
from .probe import Probe, probe


@dataclass(frozen=True, slots=True, kw_only=True)
class ByLayer:
    """What the layers' activations give without an encoder.

    Attributes:
        probes: of every layer; or why there are none.
        mass_means: likewise.
        train: each training row's mean over the view layers, standardised layer by layer, (N, H).
        asked: that of the rows to score, (m, H).
    """

    probes: list[Probe] | NoMetrics
    mass_means: list[LayerScores] | NoMetrics
    train: NDArray[np.floating]
    asked: NDArray[np.floating]


def by_layer(
    layers: Sequence[int],
    train: LayerMeans,
    labels: NDArray[np.integer],
    asked: Sequence[LayerMeans],
    *,
    views: Sequence[int],
    groups: Sequence[str] | None = None,
    seed: int = 0,
    progress: Count = uncounted,
) -> ByLayer:
    """Reads one layer after the other, and fits what one layer alone can say.

    Args:
        layers: the model's layer ids, L.
        train: the training rows' mean activations.
        labels: of the training rows, 1, 0 or -1, (N,).
        asked: the mean activations of the rows to score, part by part.
        views: positions of the view layers.
        groups: the training rows' groups, which folds keep whole; None where each is its own.
        seed: of the folds.
        progress: called with the layers that are done, and with all there are.
    """
    parts = _folds(labels, groups, seed)
    known = labels >= 0
    y = labels[known] == 1
    probes, mass_means, sums = [], [], None
    for position, (x, z) in enumerate(_standardised_layers(len(layers), train, asked)):
        if position in views:
            sums = (x.copy(), z.copy()) if sums is None else (sums[0] + x, sums[1] + z)
        if isinstance(parts, NoMetrics):
            continue
        features = LayerFeatures(layer=layers[position], x=x[known], y=y, asked=z, parts=parts)
        probes.append(probe(features))
        mass_means.append(mass_mean(features))
        progress(position + 1, len(layers))
    assert sums is not None  # there are two view layers at least
    missing = parts if isinstance(parts, NoMetrics) else None
    return ByLayer(
        probes=missing or probes,
        mass_means=missing or mass_means,
        train=sums[0] / len(views),
        asked=sums[1] / len(views),
    )


def _standardised_layers(
    count: int, train: LayerMeans, asked: Sequence[LayerMeans]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    for position in range(count):
        z = np.concatenate([part.of_layer(position) for part in asked])
        x, z = standardised(train.of_layer(position), z)
        yield x, z


def _folds(
    labels: NDArray[np.integer], groups: Sequence[str] | None, seed: int
) -> Folds | NoMetrics:
    """Folds of the labelled training rows, or why there are none."""
    try:
        require_classes(labels)
        return labelled_folds(labels, seed, groups)
    except LabelError as error:
        return NoMetrics(reason=str(error))
