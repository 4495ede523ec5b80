"""Detectors that are fitted on labelled rows of both classes.

They have `two_class`, by which `evaluate_detection` knows to give them all labelled training rows
in place of a reference set.
"""

from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from ...contracts import ConfigError, EmbeddingBatch, LabelError, boundary
from ...contracts.settings import Count, Positive, checked
from ..unit_vectors import sample_vectors
from .neighbours import nearest
from .reference import fitted

_ROUNDING = 1e-7
"""Deviations of a unit vector's dimension that are float32's rounding, not the data's."""


class TwoClassKNNDetector:
    """How much nearer a sample lies to hallucinated samples than to sound ones.

    The mean Euclidean distance to the k nearest sound samples, less that to the k nearest
    hallucinated ones; all of a class where it has fewer.

    Args:
        k: the neighbours of each class that count.

    Raises:
        ConfigError: k is not positive.

    Examples:
        >>> import torch
        >>> from kview.contracts import EmbeddingBatch
        >>> from kview.eval import TwoClassKNNDetector
        >>> angles = torch.tensor([0.0, 0.1, 3.0, 3.1])
        >>> z_views = torch.stack([angles.cos(), angles.sin()], dim=1)[:, None].repeat(1, 2, 1)
        >>> labelled = EmbeddingBatch(z_views=z_views, halu=torch.tensor([0.0, 0, 1, 1]))
        >>> TwoClassKNNDetector(k=1).fit(labelled).score(labelled).sign()
        tensor([-1., -1.,  1.,  1.], dtype=torch.float64)
    """

    two_class = True

    def __init__(self, k: int = 10) -> None:
        self.k: int = checked(Count, k=k)
        self._classes: tuple[Tensor, Tensor] | None = None

    @boundary
    def fit(self, reference: EmbeddingBatch) -> Self:
        """Takes samples that are labelled 0 or 1.

        Raises:
            LabelError: one class is missing.
        """
        labels = labels_of(reference)
        vectors = sample_vectors(reference.z_views)
        self._classes = vectors[labels == 0], vectors[labels == 1]
        return self

    @boundary
    def score(self, batch: EmbeddingBatch) -> Float[Tensor, " B"]:
        """The differences of mean distances, (B,) float64, -2 to 2.

        Raises:
            NotFittedError: `fit` has not been called.
        """
        classes, vectors = fitted(self._classes, self), sample_vectors(batch.z_views)
        sound, hallucinated = (
            nearest(vectors, of_class, min(self.k, len(of_class))).mean(dim=1)
            for of_class in classes
        )
        return sound - hallucinated


class LogisticDetector:
    """A logistic regression on the samples' vectors: its log-odds of being hallucinated.

    Args:
        strength: the inverse of the penalty on the weights, for dimensions of deviation one.

    Raises:
        ConfigError: the strength is not positive.

    Examples:
        >>> import torch
        >>> from kview.contracts import EmbeddingBatch
        >>> from kview.eval import LogisticDetector
        >>> angles = torch.tensor([0.0, 0.1, 3.0, 3.1])
        >>> z_views = torch.stack([angles.cos(), angles.sin()], dim=1)[:, None].repeat(1, 2, 1)
        >>> labelled = EmbeddingBatch(z_views=z_views, halu=torch.tensor([0.0, 0, 1, 1]))
        >>> LogisticDetector().fit(labelled).score(labelled).sign()
        tensor([-1., -1.,  1.,  1.], dtype=torch.float64)
    """

    two_class = True

    def __init__(self, strength: float = 0.01) -> None:
        self.strength: float = checked(Positive, strength=strength)
        self._weights: tuple[Tensor, float] | None = None

    @boundary
    def fit(self, reference: EmbeddingBatch) -> Self:
        """Takes samples that are labelled 0 or 1.

        Raises:
            LabelError: one class is missing.
            ConfigError: all of its vectors are the same.
        """
        from sklearn.linear_model import LogisticRegression

        labels, vectors = labels_of(reference), sample_vectors(reference.z_views)
        mean, scale = vectors.mean(dim=0), vectors.std(dim=0, correction=0)
        constant = scale <= _ROUNDING
        if bool(constant.all()):
            raise ConfigError(f"all {len(vectors)} reference samples have the same embedding")
        scale[constant] = torch.inf  # it says nothing
        x = ((vectors - mean) / scale).cpu().numpy()
        model = LogisticRegression(C=self.strength, max_iter=2000).fit(x, labels.cpu().numpy())
        weights = torch.from_numpy(model.coef_[0]).to(vectors) / scale
        self._weights = weights, float(model.intercept_[0]) - float(mean @ weights)
        return self

    @boundary
    def score(self, batch: EmbeddingBatch) -> Float[Tensor, " B"]:
        """The log-odds, (B,) float64.

        Raises:
            NotFittedError: `fit` has not been called.
        """
        weights, offset = fitted(self._weights, self)
        return sample_vectors(batch.z_views).to(weights) @ weights + offset


def labels_of(reference: EmbeddingBatch) -> Tensor:
    """The labels (N,) of samples that are all labelled, with both classes.

    Raises:
        LabelError: they are not.
    """
    halu = reference.halu
    if halu is None or halu.unique().tolist() != [0, 1]:
        found = "None" if halu is None else f"labels {halu.unique().tolist()}"
        raise LabelError(
            f"a detector of two classes takes samples labelled 0 and 1, both of them, and got "
            f"{found} for {len(reference)} samples"
        )
    return halu
