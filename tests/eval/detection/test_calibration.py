"""What scores are worth as probabilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import sem, t
from sklearn.metrics import brier_score_loss, log_loss

from kview.contracts import LabelError
from kview.eval.detection.calibration import calibration, reliability


def drawn(n: int, seed: int, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    chances = random.random(n)
    labels = (random.random(n) < chances).astype(np.int8)
    labels[:2] = (0, 1)
    return (np.round(chances, 1).clip(0.1, 0.9) if ties else chances), labels


@given(n=st.integers(2, 60), seed=st.integers(0, 10_000), ties=st.booleans())
def test_proper_scores_equal_scikit_learn(n, seed, ties):
    chances, labels = drawn(n, seed, ties)
    found = calibration(chances, labels, np.arange(n))
    assert found.brier.value == pytest.approx(brier_score_loss(labels, chances))
    assert found.log_loss.value == pytest.approx(log_loss(labels, chances))


def test_intervals_are_students_of_the_logarithm():
    chances, labels = drawn(50, seed=1)
    losses = (chances - labels) ** 2
    reach = t.ppf(0.975, 49) * sem(losses) / losses.mean()
    expected = losses.mean() * np.exp([-reach, reach])
    assert calibration(chances, labels, np.arange(50)).brier.interval == pytest.approx(expected)


def test_copies_in_a_group_leave_the_intervals_as_they_are():
    chances, labels = drawn(30, seed=2)
    alone = calibration(chances, labels, np.arange(30))
    groups = np.repeat(np.arange(30), 5)
    copied = calibration(np.repeat(chances, 5), np.repeat(labels, 5), groups)
    assert copied.brier.interval == pytest.approx(alone.brier.interval)
    assert copied.log_loss.interval == pytest.approx(alone.log_loss.interval)


@given(n=st.integers(2, 80), seed=st.integers(0, 10_000))
def test_the_order_of_rows_changes_nothing(n, seed):
    chances, labels = drawn(n, seed, ties=True)
    found = calibration(chances, labels, np.arange(n))
    order = np.random.default_rng(seed).permutation(n)
    turned = calibration(chances[order], labels[order], np.arange(n))
    assert turned.error == pytest.approx(found.error, abs=1e-12)
    assert [b.count for b in turned.bins] == [b.count for b in found.bins]


def test_the_order_of_rows_changes_no_reported_calibration_error():
    """Through the front door: all chances alike, labels sorted one way and the other."""
    from kview.eval.detection.intervals import resamples
    from kview.eval.detection.outputs import _metrics
    from kview.eval.detection.scoring import detection_metrics

    labels = np.repeat([0, 1], 50)
    found = [
        _metrics(
            detection_metrics(
                np.zeros(100), y, resamples(y, count=20), probabilities=np.full(100, 0.5)
            )
        )["calibration_error"]
        for y in (labels, np.tile([0, 1], 50))
    ]
    assert found == [0, 0]


def test_the_error_is_the_mean_gap_over_bins():
    chances = np.repeat(np.linspace(0.05, 0.95, 10), 10)
    labels = np.concatenate([np.arange(10) <= 10 * p for p in chances[::10]]).astype(int)
    gaps = [abs(p - labels[i * 10 : i * 10 + 10].mean()) for i, p in enumerate(chances[::10])]
    assert calibration(chances, labels, np.arange(100)).error == pytest.approx(np.mean(gaps))
    halves = np.arange(100) // 50
    assert calibration(1.0 - halves, halves, np.arange(100)).error == 1


def test_bins_hold_about_equal_counts_and_ties_together():
    bins = reliability(np.linspace(0, 1, 100), np.arange(100) % 2)
    assert [b.count for b in bins] == [10] * 10
    assert [b.frequency for b in bins] == [0.5] * 10
    tied = reliability(np.array([0.2] * 70 + [0.9] * 30), np.arange(100) % 2)
    assert [(b.count, round(b.probability, 12)) for b in tied] == [(70, 0.2), (30, 0.9)]


def test_certain_and_right_has_no_interval_and_certain_and_wrong_a_finite_loss():
    labels = np.array([0, 1, 0, 1])
    right = calibration(labels.astype(float), labels, np.arange(4))
    assert (right.brier.value, right.brier.interval) == (0, None)
    wrong = calibration(1.0 - labels, labels, np.arange(4))
    assert wrong.brier.value == 1
    assert wrong.log_loss.value == pytest.approx(-np.log(1e-15))
    wild = calibration(np.array([0.0, 1, 0, 0]), labels, np.array([0, 0, 0, 1]))
    assert wild.log_loss.interval is not None
    assert np.isfinite(wild.log_loss.interval).all()


def test_one_group_has_no_interval():
    chances, labels = drawn(10, seed=3)
    assert calibration(chances, labels, np.zeros(10, int)).log_loss.interval is None


def test_there_is_a_probability_for_every_label():
    with pytest.raises(LabelError, match="1 probabilities for 2 labels"):
        calibration(np.array([0.5]), np.array([0, 1]), np.arange(2))
