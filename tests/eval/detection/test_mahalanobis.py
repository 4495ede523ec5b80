"""Mahalanobis distances, and those of one class less those of all."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import EmpiricalCovariance

from kview.contracts import ConfigError, EmbeddingBatch, LabelError, NotFittedError
from kview.eval import MahalanobisDetector, RelativeMahalanobisDetector


def embeddings(n: int, seed: int = 0, D: int = 4, **fields) -> EmbeddingBatch:
    z = torch.randn(n, 3, D, generator=torch.Generator().manual_seed(seed))
    z[..., 0] += 2  # so that no mean of views comes near zero
    return EmbeddingBatch(z_views=z, **fields)


def vectors(batch: EmbeddingBatch) -> np.ndarray:
    unit = torch.nn.functional.normalize(batch.z_views.double(), dim=-1)
    return torch.nn.functional.normalize(unit.mean(dim=1), dim=-1).numpy()


def squares_by_scikit_learn(x: np.ndarray, asked: np.ndarray, ridge: float) -> np.ndarray:
    covariance = EmpiricalCovariance().fit(x)
    scale = np.trace(covariance.covariance_) / x.shape[1]
    padded = covariance.covariance_ + ridge * scale * np.eye(x.shape[1])
    covariance.precision_ = np.linalg.inv(padded)
    return covariance.mahalanobis(asked)


@given(n=st.integers(20, 40), seed=st.integers(0, 1000))
def test_relative_distances_are_those_of_scikit_learn(n, seed):
    labels = torch.arange(n) % 2.0
    reference, batch = embeddings(n, seed=seed, halu=labels), embeddings(6, seed=seed + 1)
    x, asked = vectors(reference), vectors(batch)
    sound = squares_by_scikit_learn(x[::2], asked, 0.01)
    expected = sound - squares_by_scikit_learn(x, asked, 0.01)
    scores = RelativeMahalanobisDetector(ridge=0.01).fit(reference).score(batch)
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-6, atol=1e-8)
    one_class = MahalanobisDetector(ridge=0.01).fit(EmbeddingBatch(z_views=reference.z_views[::2]))
    np.testing.assert_allclose(one_class.score(batch).numpy() ** 2, sound, rtol=1e-6)


def test_what_is_unlikely_in_every_class_cancels_out():
    random = torch.Generator().manual_seed(0)
    z = torch.randn(400, 1, 6, generator=random) * torch.tensor([0.0, 0.05, 0.3, 0.3, 0.3, 0.3])
    labels = torch.arange(400) % 2.0
    z[..., 0] = 3
    z[:, 0, 1] += labels * 0.3  # one direction tells, the others are large and say nothing
    train, test = (
        EmbeddingBatch(z_views=part.repeat(1, 2, 1), halu=y)
        for part, y in zip(z.split(200), labels.split(200), strict=True)
    )
    relative = RelativeMahalanobisDetector().fit(train).score(test)
    plain = MahalanobisDetector().fit(EmbeddingBatch(z_views=train.z_views[::2])).score(test)
    order = labels[:200].bool()
    gap = [(s[order].mean() - s[~order].mean()) / s[~order].std() for s in (relative, plain)]
    assert gap[0] > gap[1]


def test_it_takes_both_classes_and_two_sound_samples():
    with pytest.raises(NotFittedError, match="RelativeMahalanobisDetector"):
        RelativeMahalanobisDetector().score(embeddings(3))
    with pytest.raises(LabelError, match="two classes"):
        RelativeMahalanobisDetector().fit(embeddings(5, halu=torch.zeros(5)))
    with pytest.raises(ConfigError, match="at least 2 reference samples and got 1"):
        RelativeMahalanobisDetector().fit(embeddings(3, halu=torch.tensor([0.0, 1, 1])))
    with pytest.raises(ConfigError, match="ridge=-1"):
        RelativeMahalanobisDetector(ridge=-1)
