"""Scores as probabilities."""

import numpy as np
import pytest

from kview.eval.detection.held_out import labelled_scores, probabilities
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


def test_only_labelled_rows_of_both_classes_say_what_a_score_is_worth():
    scores, labels = np.arange(5.0), np.array([1, -1, 0, -1, 1])
    found = labelled_scores(scores, labels)
    assert found is not None
    assert (found[0].tolist(), found[1].tolist()) == ([0, 2, 4], [1, 0, 1])
    assert labelled_scores(scores, np.array([1, -1, 1, -1, 1])) is None
