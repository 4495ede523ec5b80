"""Detectors: scores of samples from their embeddings, higher for more likely hallucinated.

A sample's vector is the renormalised mean of its unit views, so no score depends on the length of
the embeddings. A detector is fitted on a reference set that the caller chooses (`reference_set`).
"""

from functools import partial
from typing import Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor

from ...contracts import ConfigError, EmbeddingBatch, LabelError, NotFittedError, boundary
from ..unit_vectors import sample_vectors, unit_views

Reference = Literal["not_hallucinated", "all"]
"""Which training samples a detector is fitted on."""

_TILE = 1 << 24
"""Similarities held at once: 64 MiB in float32."""

_BLOCK = 128
"""Similarities of which only the largest is looked at first."""

_ROWS = 64
"""Queries whose neighbours are measured at once: they stay in cache."""


@boundary
def reference_set(train: EmbeddingBatch, reference: Reference) -> EmbeddingBatch:
    """The training samples that detectors are fitted on, as `reference_rows` chooses them."""
    return select(train, reference_rows(train, reference))


def reference_rows(train: EmbeddingBatch, reference: Reference) -> list[int]:
    """Which of the training samples detectors are fitted on.

    Args:
        train: all training samples.
        reference: `not_hallucinated` for those labelled 0, `all` for all, unlabelled ones too.

    Raises:
        LabelError: none is labelled 0.
    """
    if reference == "all":
        return list(range(len(train)))
    rows = [] if train.halu is None else (train.halu == 0).nonzero().flatten().tolist()
    if not rows:
        raise LabelError(
            f"none of the {len(train)} training samples is labelled 0 (not hallucinated), which "
            'reference="not_hallucinated" needs; label them, or pass reference="all"'
        )
    return rows


def select(batch: EmbeddingBatch, rows: list[int]) -> EmbeddingBatch:
    """Some samples of a batch, in the order of `rows`."""
    return EmbeddingBatch(
        z_views=batch.z_views[rows],
        hashkey=None if batch.hashkey is None else [batch.hashkey[b] for b in rows],
        halu=None if batch.halu is None else batch.halu[rows],
    )


class KNNDetector:
    """Mean Euclidean distance of a sample's vector to its k nearest in the reference set.

    Exact, in tiles, on the device of the embeddings. (Sun et al. 2022, "Out-of-distribution
    detection with deep nearest neighbors", whose score is the k-th distance.)

    Args:
        k: the neighbours that count.

    Raises:
        ConfigError: k is not positive.
    """

    def __init__(self, k: int = 10) -> None:
        if k < 1:
            raise ConfigError(f"k={k}; at least one neighbour has to count")
        self.k = k
        self._reference: Tensor | None = None

    @boundary
    def fit(self, reference: EmbeddingBatch) -> Self:
        """Takes the reference set.

        Raises:
            ConfigError: it has fewer than k + 1 samples.
        """
        if len(reference) < self.k + 1:
            raise ConfigError(
                f"k={self.k} needs a reference set of at least {self.k + 1} samples and got "
                f"{len(reference)}; lower k or widen the reference set"
            )
        self._reference = sample_vectors(reference.z_views)
        return self

    @boundary
    def score(self, batch: EmbeddingBatch) -> Float[Tensor, " B"]:
        """The mean distances, (B,) float64, 0 to 2.

        Raises:
            NotFittedError: `fit` has not been called.
        """
        reference = _fitted(self._reference, self)
        return nearest(sample_vectors(batch.z_views), reference, self.k).mean(dim=1)


class MahalanobisDetector:
    """Mahalanobis distance of a sample's vector to the reference set's mean and covariance.

    The covariance gets a ridge, relative to its own scale (the mean of its diagonal), since an
    encoder's embeddings seldom fill their space. (Lee et al. 2018, "A simple unified framework for
    detecting out-of-distribution samples", with one class.)

    Args:
        ridge: added to the covariance's diagonal, as a multiple of the mean of that diagonal.

    Raises:
        ConfigError: the ridge is negative.
    """

    def __init__(self, ridge: float = 1e-3) -> None:
        if ridge < 0:
            raise ConfigError(f"ridge={ridge}; it is added to variances and cannot be negative")
        self.ridge = ridge
        self._mean: Tensor | None = None
        self._factor: Tensor | None = None

    @boundary
    def fit(self, reference: EmbeddingBatch) -> Self:
        """Takes the reference set's mean and covariance.

        Raises:
            ConfigError: it has fewer than two samples, all of its vectors are the same, or its
                covariance is singular and the ridge does not make up for it.
        """
        if len(reference) < 2:
            raise ConfigError(
                f"a covariance needs at least 2 reference samples and got {len(reference)}"
            )
        vectors = sample_vectors(reference.z_views)
        mean = vectors.mean(dim=0)
        centred = vectors - mean
        covariance = centred.T @ centred / len(reference)  # (D, D)
        scale = covariance.diagonal().mean()
        covariance.diagonal().add_(self.ridge * scale)
        factor, failed = torch.linalg.cholesky_ex(covariance)
        # A pivot at rounding's height says no more about the data than one below zero.
        smallest = factor.diagonal().square().min()
        if failed or smallest <= 1e-13 * scale or not scale > 0:
            raise ConfigError(
                f"the covariance of {len(reference)} reference samples in "
                f"{vectors.shape[1]} dimensions is singular with ridge={self.ridge}; raise the "
                "ridge, or give reference samples that differ"
            )
        self._mean, self._factor = mean, factor
        return self

    @boundary
    def score(self, batch: EmbeddingBatch) -> Float[Tensor, " B"]:
        """The distances, (B,) float64, in standard deviations.

        Raises:
            NotFittedError: `fit` has not been called.
        """
        mean, factor = _fitted(self._mean, self), _fitted(self._factor, self)
        centred = sample_vectors(batch.z_views).to(mean.device) - mean
        whitened = torch.linalg.solve_triangular(factor, centred.T, upper=False)  # (D, B)
        return whitened.norm(dim=0)


class CosineDetector:
    """One minus the intra-sample cosine: how much a sample's views disagree.

    It compares a sample with itself alone, so `fit` has nothing to take.
    """

    @boundary
    def fit(self, reference: EmbeddingBatch) -> Self:
        """Returns itself."""
        return self

    @boundary
    def score(self, batch: EmbeddingBatch) -> Float[Tensor, " B"]:
        """One minus the mean cosine of each sample's view pairs, (B,) float64, 0 to 2."""
        K = batch.z_views.shape[1]
        sums = unit_views(batch.z_views).sum(dim=1)  # (B, D)
        return 1 - (sums.square().sum(dim=1) - K) / (K * (K - 1))


def nearest(queries: Tensor, reference: Tensor, k: int) -> Tensor:
    """Distances to the k nearest unit vectors, ascending: (B, D), (N, D) -> (B, k) float64.

    Neighbours are found by float32 cosines, in tiles; a distance made from such a cosine would lose
    half its digits when it is small, so those to the k found are computed anew.
    """
    queries, narrow = queries.to(reference.device), reference.float().T  # (D, N)
    N = len(reference)
    rows = max(1, min(len(queries), _TILE // N))
    # one buffer, for fresh pages cost as much as the search; what pads it to whole blocks is -inf
    cosines = narrow.new_full((rows, -(-N // _BLOCK) * _BLOCK), -torch.inf)
    distances = []
    for tile in queries.split(rows):
        torch.mm(tile.float(), narrow, out=cosines[: len(tile), :N])
        found = _largest(cosines[: len(tile)], k)
        distances += map(partial(_distances, reference), tile.split(_ROWS), found.split(_ROWS))
    return torch.cat(distances).sort(dim=1).values


def _largest(cosines: Tensor, k: int) -> Tensor:
    """Where each row's k largest are, (b, k): all in the k blocks whose maxima are largest."""
    blocks = cosines.unflatten(1, (-1, _BLOCK))  # (b, blocks, _BLOCK)
    if blocks.shape[1] <= k:
        return cosines.topk(k, dim=1, sorted=False).indices
    best = blocks.amax(dim=2).topk(k, dim=1, sorted=False).indices  # (b, k)
    values = blocks.take_along_dim(best.unsqueeze(2), dim=1).flatten(1)  # (b, k * _BLOCK)
    inside = values.topk(k, dim=1, sorted=False).indices
    return best.gather(1, inside // _BLOCK) * _BLOCK + inside % _BLOCK


def _distances(reference: Tensor, queries: Tensor, found: Tensor) -> Tensor:
    """Distances to the reference vectors found, (b, k)."""
    near = reference.index_select(0, found.flatten()).view(*found.shape, -1)  # (b, k, D)
    return near.sub_(queries.unsqueeze(1)).norm(dim=-1)


def _fitted(value: Tensor | None, detector: object) -> Tensor:
    if value is None:
        raise NotFittedError(
            f"{type(detector).__name__} has no reference set yet; call fit(...) before score(...)"
        )
    return value
