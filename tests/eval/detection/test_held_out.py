"""Scores as probabilities."""

import numpy as np

from kview.eval.detection.calibration import calibration
from kview.eval.detection.held_out import labelled_scores, probabilities


def test_probabilities_follow_the_frequencies():
    random = np.random.default_rng(0)
    scores = random.normal(size=4000)
    labels = (random.random(4000) < 1 / (1 + np.exp(-(2 * scores - 1)))).astype(int)
    found = probabilities(scores[:2000], labels[:2000], scores[2000:])
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-(2 * scores[2000:] - 1))), atol=0.06)
    assert calibration(found, labels[2000:], np.arange(2000)).error < 0.05


def test_only_labelled_rows_of_both_classes_say_what_a_score_is_worth():
    scores, labels = np.arange(5.0), np.array([1, -1, 0, -1, 1])
    found = labelled_scores(scores, labels)
    assert found is not None
    assert (found[0].tolist(), found[1].tolist()) == ([0, 2, 4], [1, 0, 1])
    assert labelled_scores(scores, np.array([1, -1, 1, -1, 1])) is None
