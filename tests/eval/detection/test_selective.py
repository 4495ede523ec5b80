"""AURC and the prediction-rejection ratio, against loops over samples."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from helpers.oracles import selective_by_loops
from kview.eval.detection.intervals import resamples
from kview.eval.detection.scoring import weighted_metrics
from kview.eval.detection.selective import risk_coverage


def metrics(scores, labels) -> tuple[float, float]:
    labels = np.asarray(labels)
    found = weighted_metrics(np.asarray(scores, float), labels, np.empty((0, len(labels))))
    return float(found["aurc"][0]), float(found["prediction_rejection"][0])


def drawn(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 3 % 2
    return random.normal(size=n) + labels, labels


@given(n=st.integers(3, 40), seed=st.integers(0, 1000))
def test_both_equal_the_loops(n, seed):
    scores, labels = drawn(n, seed)
    expected = selective_by_loops(scores.tolist(), labels.tolist())
    assert metrics(scores, labels) == pytest.approx(expected)


def test_ties_are_the_mean_over_all_orders():
    scores, labels = [0.0, 1, 1, 1, 2], [0, 1, 0, 1, 0]
    orders = [[0.0, *(1 + t / 10 for t in order), 2] for order in permutations(range(3))]
    expected = np.mean([selective_by_loops(s, labels) for s in orders], axis=0)
    assert metrics(scores, labels) == pytest.approx(expected)


def test_known_orders():
    labels = np.array([0] * 6 + [1] * 4)
    assert metrics(labels, labels)[1] == pytest.approx(1)
    assert metrics(np.zeros(10), labels) == pytest.approx((0.4, 0))
    aurc, ratio = metrics(-labels, labels)
    assert aurc > 0.4
    assert ratio < 0


def test_every_resample_is_measured_as_its_samples_are():
    scores, labels = drawn(30, seed=3)
    scores = np.round(scores, 1)  # with ties
    draws = resamples(labels, count=20)
    found = weighted_metrics(scores, labels, draws)
    for draw, aurc, ratio in zip(
        draws, found["aurc"][1:], found["prediction_rejection"][1:], strict=True
    ):
        rows = np.repeat(np.arange(30), draw.astype(int))
        assert (aurc, ratio) == pytest.approx(metrics(scores[rows], labels[rows]))


def test_the_curve_has_the_area_that_is_reported():
    scores, labels = drawn(25)
    scores = np.asarray(np.round(scores, 1), np.float64)
    coverage, risk = risk_coverage(scores, labels)
    assert coverage[-1] == 1
    assert risk[-1] == pytest.approx(labels.mean())
    assert risk.mean() == pytest.approx(metrics(scores, labels)[0])


def test_counted_over_all_samples_the_ratio_would_be_that_of_auroc():
    scores, labels = drawn(60)
    left = np.concatenate([[0], np.cumsum(labels[np.argsort(scores)])]) / len(labels)
    share = labels.mean()
    area = np.trapezoid(left, dx=1 / len(labels))
    ratio = (share / 2 - area) / (share / 2 - share**2 / 2)
    assert ratio == pytest.approx(2 * roc_auc_score(labels, scores) - 1)
