"""Detectors: scores of samples from their embeddings, higher for more likely hallucinated.

A sample's vector is the renormalised mean of its unit views, so no score depends on the length of
the embeddings. A detector is fitted on a reference set that the caller chooses (`reference_set`).
"""

from typing import Self

from jaxtyping import Float
from torch import Tensor

from ...contracts import ConfigError, EmbeddingBatch, boundary
from ...contracts.settings import Count, checked
from ..unit_vectors import sample_vectors, unit_views
from .neighbours import nearest
from .reference import fitted


class KNNDetector:
    """Mean Euclidean distance of a sample's vector to its k nearest in the reference set.

    Exact, in tiles, on the device of the embeddings. (Sun et al. 2022, "Out-of-distribution
    detection with deep nearest neighbors", whose score is the k-th distance.)

    Args:
        k: the neighbours that count.

    Raises:
        ConfigError: k is not positive.

    Examples:
        >>> import torch
        >>> from kview.contracts import EmbeddingBatch
        >>> from kview.eval import KNNDetector
        >>> angles = torch.tensor([0.0, 0.1, 0.2, 3.0])
        >>> z_views = torch.stack([angles.cos(), angles.sin()], dim=1)[:, None].repeat(1, 2, 1)
        >>> detector = KNNDetector(k=1).fit(EmbeddingBatch(z_views=z_views[:3]))
        >>> detector.score(EmbeddingBatch(z_views=z_views)).round(decimals=2)
        tensor([0.0000, 0.0000, 0.0000, 1.9700], dtype=torch.float64)
    """

    def __init__(self, k: int = 10) -> None:
        self.k: int = checked(Count, k=k)
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
        reference = fitted(self._reference, self)
        return nearest(sample_vectors(batch.z_views), reference, self.k).mean(dim=1)


class CosineDetector:
    """One minus the intra-sample cosine: how much a sample's views disagree.

    It compares a sample with itself alone, so `fit` has nothing to take.

    Examples:
        >>> import torch
        >>> from kview.contracts import EmbeddingBatch
        >>> from kview.eval import CosineDetector
        >>> z_views = torch.tensor([[[1.0, 0.0], [2.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
        >>> batch = EmbeddingBatch(z_views=z_views)  # views alike, and at a right angle
        >>> CosineDetector().fit(batch).score(batch)
        tensor([0., 1.], dtype=torch.float64)
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
