"""Scores as probabilities."""

import numpy as np
import pytest
import torch

from kview.contracts import EmbeddingBatch
from kview.eval.detection.held_out import held_out_scores, probabilities
from kview.eval.detection.intervals import resamples
from kview.eval.detection.scoring import calibration_error


def test_probabilities_follow_the_frequencies():
    random = np.random.default_rng(0)
    scores = random.normal(size=4000)
    labels = (random.random(4000) < 1 / (1 + np.exp(-(2 * scores - 1)))).astype(int)
    found = probabilities(scores[:2000], labels[:2000], scores[2000:])
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-(2 * scores[2000:] - 1))), atol=0.06)
    error = calibration_error(found, labels[2000:], resamples(labels[2000:], count=200))
    assert error.value < 0.05
    assert error.interval is not None
    assert error.interval[0] <= error.interval[1]


def test_the_error_is_the_mean_gap_over_bins():
    chances = np.repeat(np.linspace(0.05, 0.95, 10), 10)
    labels = np.concatenate([np.arange(10) <= 10 * p for p in chances[::10]]).astype(int)
    gaps = [abs(p - labels[i * 10 : i * 10 + 10].mean()) for i, p in enumerate(chances[::10])]
    error = calibration_error(chances, labels, resamples(labels, count=0))
    assert error.value == pytest.approx(np.mean(gaps))
    halves = np.arange(100) // 50
    assert calibration_error(1.0 - halves, halves, resamples(halves, count=0)).value == 1


def test_no_row_is_scored_by_a_detector_that_was_fitted_on_it():
    class Memory:
        def fit(self, reference):
            self.seen = set(reference.hashkey)
            self.labels = set(reference.halu.tolist())
            return self

        def score(self, batch):
            assert self.seen.isdisjoint(batch.hashkey)
            assert self.labels == {0}
            return torch.tensor([float(key) for key in batch.hashkey])

    n = 20
    train = EmbeddingBatch(
        z_views=torch.randn(n, 2, 3),
        hashkey=[str(i) for i in range(n)],
        halu=torch.arange(n) % 3 - 1.0,
    )
    scores, labels = held_out_scores(Memory(), train, "not_hallucinated", seed=0)
    known = [i for i in range(n) if i % 3 != 0]
    assert scores.tolist() == known
    assert labels.tolist() == [i % 3 - 1 for i in known]
