"""Detectors that are fitted on both classes."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from kview.contracts import ConfigError, EmbeddingBatch, LabelError, NotFittedError
from kview.eval import LogisticDetector, TwoClassKNNDetector


def labelled(n: int = 30, seed: int = 0) -> EmbeddingBatch:
    z = torch.randn(n, 3, 5, generator=torch.Generator().manual_seed(seed))
    halu = torch.arange(n) % 2.0
    z[..., 0] += 2 + halu.unsqueeze(-1)
    z[..., 1] += 2 * halu.unsqueeze(-1)
    return EmbeddingBatch(z_views=z, halu=halu)


def vectors(batch: EmbeddingBatch) -> np.ndarray:
    unit = torch.nn.functional.normalize(batch.z_views.double(), dim=-1).mean(1)
    return torch.nn.functional.normalize(unit, dim=-1).numpy()


@pytest.mark.parametrize("k", [1, 4, 100])
def test_two_class_knn_is_the_difference_of_mean_distances(k):
    train, test = labelled(), labelled(12, seed=1)
    x, y = vectors(train), train["halu"].numpy()
    expected = []
    for query in vectors(test):
        near = [np.sort(np.linalg.norm(x[y == c] - query, axis=1))[:k].mean() for c in (0, 1)]
        expected.append(near[0] - near[1])
    found = TwoClassKNNDetector(k).fit(train).score(test)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_logistic_is_a_regression_on_standardised_vectors(strength):
    train, test = labelled(), labelled(12, seed=1)
    x, z = vectors(train), vectors(test)
    mean, scale = x.mean(0), x.std(0)
    model = LogisticRegression(C=strength, max_iter=2000)
    model.fit((x - mean) / scale, train["halu"].numpy())
    expected = model.decision_function((z - mean) / scale)
    found = LogisticDetector(strength).fit(train).score(test)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("make", [TwoClassKNNDetector, LogisticDetector])
def test_both_classes_are_needed(make):
    batch = labelled()
    for halu, said in ((None, "None"), (torch.ones(30), r"\[1.0\]"), (batch["halu"] - 1, "-1.0")):
        with pytest.raises(LabelError, match=f"both of them, and got .*{said}"):
            make().fit(batch.replace(halu=halu))
    with pytest.raises(NotFittedError, match="call fit"):
        make().score(batch)


def test_settings_and_embeddings_that_tell_nothing_are_refused():
    with pytest.raises(ConfigError, match="k=0"):
        TwoClassKNNDetector(0)
    with pytest.raises(ConfigError, match="strength=0"):
        LogisticDetector(0)
    same = labelled().replace(z_views=torch.ones(30, 3, 5))
    with pytest.raises(ConfigError, match="the same embedding"):
        LogisticDetector().fit(same)
