"""Distances in standard deviations, and those of one class less those of all rows."""

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from ...contracts import ConfigError, EmbeddingBatch, boundary
from ...contracts.settings import NotNegative, checked
from ..unit_vectors import sample_vectors
from .reference import fitted
from .two_class import labels_of


class MahalanobisDetector:
    """Mahalanobis distance of a sample's vector to the reference set's mean and covariance.

    The covariance gets a ridge, relative to its own scale (the mean of its diagonal), since an
    encoder's embeddings seldom span their space. (Lee et al. 2018, "A simple unified framework for
    detecting out-of-distribution samples", with one class.)

    Args:
        ridge: added to the covariance's diagonal, as a multiple of the mean of that diagonal.

    Raises:
        ConfigError: the ridge is negative.

    Examples:
        >>> import torch
        >>> from kview.contracts import EmbeddingBatch
        >>> from kview.eval import MahalanobisDetector
        >>> angles = torch.tensor([-0.1, 0.1, 1.0])
        >>> z_views = torch.stack([angles.cos(), angles.sin()], dim=1)[:, None].repeat(1, 2, 1)
        >>> detector = MahalanobisDetector().fit(EmbeddingBatch(z_views=z_views[:2]))
        >>> (detector.score(EmbeddingBatch(z_views=z_views)) > 2).tolist()
        [False, False, True]
    """

    def __init__(self, ridge: float = 1e-3) -> None:
        self.ridge: float = checked(NotNegative, ridge=ridge)
        self._gaussian: _Gaussian | None = None

    @boundary
    def fit(self, reference: EmbeddingBatch) -> Self:
        """Takes the reference set's mean and covariance.

        Raises:
            ConfigError: it has fewer than two samples, all of its vectors are the same, or its
                covariance is singular and the ridge does not make up for it.
        """
        self._gaussian = _Gaussian.of(sample_vectors(reference.z_views), self.ridge)
        return self

    @boundary
    def score(self, batch: EmbeddingBatch) -> Float[Tensor, " B"]:
        """The distances, (B,) float64, in standard deviations.

        Raises:
            NotFittedError: `fit` has not been called.
        """
        gaussian = fitted(self._gaussian, self)
        return gaussian.squares(sample_vectors(batch.z_views)).sqrt()


class RelativeMahalanobisDetector:
    """How much farther a sample lies from sound samples than from all samples.

    The squared Mahalanobis distance to the sound samples less that to all labelled ones, each by
    its own mean and covariance. What makes any sample unlikely, whatever its class, cancels out.
    (Ren et al. 2021, "A simple fix to Mahalanobis distance for improving near-OOD detection", eq.
    4, with one class.)

    Args:
        ridge: as for `MahalanobisDetector`.

    Raises:
        ConfigError: the ridge is negative.

    Examples:
        >>> import torch
        >>> from kview.contracts import EmbeddingBatch
        >>> from kview.eval import RelativeMahalanobisDetector
        >>> angles = torch.tensor([-0.1, 0.1, 0.9, 1.1])
        >>> z_views = torch.stack([angles.cos(), angles.sin()], dim=1)[:, None].repeat(1, 2, 1)
        >>> labelled = EmbeddingBatch(z_views=z_views, halu=torch.tensor([0.0, 0, 1, 1]))
        >>> RelativeMahalanobisDetector().fit(labelled).score(labelled).sign()
        tensor([-1., -1.,  1.,  1.], dtype=torch.float64)
    """

    two_class = True

    def __init__(self, ridge: float = 1e-3) -> None:
        self.ridge: float = checked(NotNegative, ridge=ridge)
        self._gaussians: tuple[_Gaussian, _Gaussian] | None = None

    @boundary
    def fit(self, reference: EmbeddingBatch) -> Self:
        """Takes samples that are labelled 0 or 1.

        Raises:
            LabelError: one class is missing.
            ConfigError: as `MahalanobisDetector.fit`, of the sound samples.
        """
        vectors = sample_vectors(reference.z_views)
        sound = vectors[labels_of(reference) == 0]
        self._gaussians = _Gaussian.of(sound, self.ridge), _Gaussian.of(vectors, self.ridge)
        return self

    @boundary
    def score(self, batch: EmbeddingBatch) -> Float[Tensor, " B"]:
        """The differences of squared distances, (B,) float64.

        Raises:
            NotFittedError: `fit` has not been called.
        """
        gaussians, vectors = fitted(self._gaussians, self), sample_vectors(batch.z_views)
        of_sound, of_all = (gaussian.squares(vectors) for gaussian in gaussians)
        return of_sound - of_all


@dataclass(frozen=True, slots=True)
class _Gaussian:
    """A mean (D,) and the lower Cholesky factor of a covariance (D, D)."""

    mean: Tensor
    factor: Tensor

    @classmethod
    def of(cls, vectors: Tensor, ridge: float) -> Self:
        """That of some vectors (N, D).

        Raises:
            ConfigError: they are fewer than two, all the same, or their covariance is singular and
                the ridge does not make up for it.
        """
        if len(vectors) < 2:
            raise ConfigError(
                f"a covariance needs at least 2 reference samples and got {len(vectors)}"
            )
        mean = vectors.mean(dim=0)
        centred = vectors - mean
        covariance = centred.T @ centred / len(vectors)  # (D, D)
        scale = covariance.diagonal().mean()
        covariance.diagonal().add_(ridge * scale)
        factor, failed = torch.linalg.cholesky_ex(covariance)
        # A pivot at rounding's height says no more about the data than one below zero.
        smallest = factor.diagonal().square().min()
        if failed or smallest <= 1e-13 * scale or not scale > 0:
            raise ConfigError(
                f"the covariance of {len(vectors)} reference samples in "
                f"{vectors.shape[1]} dimensions is singular with ridge={ridge}; raise the "
                "ridge, or give reference samples that differ"
            )
        return cls(mean, factor)

    def squares(self, vectors: Tensor) -> Tensor:
        """Squared Mahalanobis distances of vectors (B, D) to the mean, (B,)."""
        centred = vectors.to(self.mean.device) - self.mean
        whitened = torch.linalg.solve_triangular(self.factor, centred.T, upper=False)  # (D, B)
        return whitened.square().sum(dim=0)
