"""What the encoder makes of each layer: how alike they are, where they lie, what they detect."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...contracts import EmbeddingBatch
from ..embedding import at_views
from ..unit_vectors import unit_views
from .detectors import KNNDetector

_SHOWN = 300
"""Samples whose views are drawn; more hide each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMap:
    """The embeddings of test samples at the view layers, made small enough to be drawn.

    Attributes:
        layers: the model's layer ids of the views, L.
        similarity: mean cosine between a sample's embeddings at two layers, (L, L).
        points: the embeddings of the shown samples in their two main directions, (s, L, 2).
        rows: the shown samples among the test rows, (s,).
        explained: the share of the variance that each direction holds, (2,).
    """

    layers: tuple[int, ...]
    similarity: NDArray[np.float64]
    points: NDArray[np.float64]
    rows: NDArray[np.intp]
    explained: tuple[float, float]


def layer_map(embeddings: EmbeddingBatch, layers: tuple[int, ...], seed: int) -> LayerMap:
    """Maps embeddings of some layers.

    Args:
        embeddings: z_views (n, L, D), a view per layer.
        layers: the model's layer ids, L.
        seed: of the choice of samples to draw.
    """
    unit = unit_views(embeddings.z_views).cpu()  # (n, L, D)
    n, L = unit.shape[:2]
    by_layer = unit.transpose(0, 1).flatten(1)  # (L, n*D)
    similarity = by_layer @ by_layer.T / n
    rows = np.sort(np.random.default_rng(seed).permutation(n)[:_SHOWN])
    points, explained = _principal(unit[rows].flatten(0, 1))
    return LayerMap(
        layers=layers,
        similarity=similarity.numpy(),
        points=points.view(len(rows), L, 2).numpy(),
        rows=rows,
        explained=explained,
    )


def knn_by_layer(
    reference: EmbeddingBatch, test: EmbeddingBatch, k: int
) -> list[NDArray[np.float64]]:
    """kNN scores of test samples from one layer's embeddings alone, for each of L layers.

    Args:
        reference: the reference set's z_views (N, L, D), a view per layer.
        test: the test samples' (n, L, D).
        k: neighbours that count.
    """
    scores = []
    for layer in range(test.z_views.shape[1]):
        alone = (layer, layer)  # the mean of two equal views is that view
        detector = KNNDetector(k).fit(at_views(reference, alone))
        scores.append(detector.score(at_views(test, alone)).cpu().numpy())
    return scores


def _principal(x: torch.Tensor) -> tuple[torch.Tensor, tuple[float, float]]:
    """The two main directions of (m, D), with signs fixed: (m, 2)."""
    centred = x - x.mean(dim=0)
    values, directions = torch.linalg.eigh(centred.T @ centred)  # ascending
    main = (
        directions[:, -2:].flip(-1)
        if x.shape[1] > 1
        else torch.nn.functional.pad(directions, (0, 1))
    )
    main = main * main.gather(0, main.abs().argmax(dim=0, keepdim=True)).sign()
    shares = (values.flip(0) / values.sum().clamp(min=torch.finfo(values.dtype).tiny)).tolist()
    return centred @ main, (shares[0], shares[1] if len(shares) > 1 else 0.0)
