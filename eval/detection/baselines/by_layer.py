"""The baselines that look at one layer after the other, and what all layers together look like."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....contracts import LabelError
from ...progress import Count, uncounted
from ..folds import Folds, labelled_folds, require_classes
from ..layer_means import LayerMeans
from ..scoring import NoMetrics
from .layer_direction import LayerDirection
from .layer_features import LayerFeatures, Scale
from .mass_mean import mass_mean
from .probe import Probe, probe


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLayers:
    """What the training rows' activations give without an encoder: some vectors (H,) per layer.

    Attributes:
        scales: of every layer.
        views: positions of the view layers.
        probes: of every layer; or why there are none.
        mass_means: likewise.
        train: each training row's mean over the view layers, standardised layer by layer, (N, H).
    """

    scales: tuple[Scale, ...]
    views: tuple[int, ...]
    probes: list[Probe] | NoMetrics
    mass_means: list[LayerDirection] | NoMetrics
    train: NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerScores:
    """What fitted layers say of m other rows.

    Attributes:
        probes: scores by each layer's probe, (L, m); or why there are none.
        mass_means: likewise.
        vectors: each row's mean over the view layers, standardised layer by layer, (m, H).
    """

    probes: NDArray[np.float64] | NoMetrics
    mass_means: NDArray[np.float64] | NoMetrics
    vectors: NDArray[np.floating]


def fit_layers(
    layers: Sequence[int],
    train: LayerMeans,
    labels: NDArray[np.integer],
    *,
    views: Sequence[int],
    groups: Sequence[str] | None = None,
    seed: int = 0,
    progress: Count = uncounted,
) -> FittedLayers:
    """Reads one layer after the other, and fits what one layer alone can say.

    Args:
        layers: the model's layer ids, L.
        train: the training rows' mean activations.
        labels: of the training rows, 1, 0 or -1, (N,).
        views: positions of the view layers.
        groups: the training rows' groups, which folds keep whole; None where each is its own.
        seed: of the folds.
        progress: called with the layers that are done, and with all there are.
    """
    parts = _folds(labels, groups, seed)
    known = labels >= 0
    y = labels[known] == 1
    scales, probes, mass_means, vectors = [], [], [], None
    for position, layer in enumerate(layers):
        x = train.of_layer(position)
        scales.append(Scale.of(x))
        x = scales[-1].standardised(x)
        vectors = _with_view(vectors, x, position, views)
        if isinstance(parts, NoMetrics):
            continue
        features = LayerFeatures(layer=layer, x=x[known], y=y, parts=parts)
        probes.append(probe(features))
        mass_means.append(mass_mean(features))
        progress(position + 1, len(layers))
    assert vectors is not None  # there are two view layers at least
    missing = parts if isinstance(parts, NoMetrics) else None
    return FittedLayers(
        scales=tuple(scales),
        views=tuple(views),
        probes=missing or probes,
        mass_means=missing or mass_means,
        train=vectors / len(views),
    )


def score_layers(fitted: FittedLayers, asked: LayerMeans) -> LayerScores:
    """Scores other rows by what was fitted, one layer after the other.

    Args:
        fitted: on the training rows.
        asked: the mean activations of m rows.
    """
    by_probe, by_mass_mean, vectors = [], [], None
    for position, scale in enumerate(fitted.scales):
        x = scale.standardised(asked.of_layer(position))
        vectors = _with_view(vectors, x, position, fitted.views)
        if not isinstance(fitted.probes, NoMetrics):
            by_probe.append(fitted.probes[position].scores(x))
        if not isinstance(fitted.mass_means, NoMetrics):
            by_mass_mean.append(fitted.mass_means[position].scores(x))
    assert vectors is not None  # there are two view layers at least
    return LayerScores(
        probes=fitted.probes if isinstance(fitted.probes, NoMetrics) else np.stack(by_probe),
        mass_means=fitted.mass_means
        if isinstance(fitted.mass_means, NoMetrics)
        else np.stack(by_mass_mean),
        vectors=vectors / len(fitted.views),
    )


def _with_view(
    vectors: NDArray | None, x: NDArray, position: int, views: Sequence[int]
) -> NDArray | None:
    """The sum over the view layers, this one included where it is one."""
    if position not in views:
        return vectors
    return x.copy() if vectors is None else vectors + x


def _folds(
    labels: NDArray[np.integer], groups: Sequence[str] | None, seed: int
) -> Folds | NoMetrics:
    """Folds of the labelled training rows, or why there are none."""
    try:
        require_classes(labels)
        return labelled_folds(labels, seed, groups)
    except LabelError as error:
        return NoMetrics(reason=str(error))
