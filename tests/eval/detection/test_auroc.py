"""AUROC's placements, their variance, and the interval."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.drawn_scores import drawn_scores
from helpers.oracles import auroc_by_pairs, delong_by_loops
from kview.eval import DetectionMetrics
from kview.eval.detection.auroc import auroc_interval, chance, placements
from kview.eval.detection.comparison import LabelledRows
from kview.eval.detection.intervals import Interval, group_numbers


def interval(scores, labels, groups=None) -> Interval:
    """As an evaluation reports it."""
    metrics = LabelledRows(np.asarray(labels), groups, count=200, seed=0).metrics(
        np.asarray(scores, np.float64)
    )
    assert isinstance(metrics, DetectionMetrics)
    assert metrics.auroc.interval is not None
    return metrics.auroc.interval


@given(n=st.integers(4, 25), seed=st.integers(0, 10_000), ties=st.booleans())
def test_placements_have_the_auroc_as_either_mean(n, seed, ties):
    scores, labels = drawn_scores(n, seed, ties)
    placed = placements(scores, labels, np.arange(n))
    expected = auroc_by_pairs(scores.tolist(), labels.tolist())
    assert placed.mean == pytest.approx(expected)
    assert placed.negative.mean() == pytest.approx(expected)


@given(
    n=st.integers(8, 25),
    n_groups=st.none() | st.integers(4, 8),
    seed=st.integers(0, 10_000),
    ties=st.booleans(),
)
def test_the_variance_is_delongs_and_obuchowskis(n, n_groups, seed, ties):
    scores, labels = drawn_scores(n, seed, ties)
    labels[:4] = (0, 1, 0, 1)  # both classes in two rows, and in two groups
    groups = np.arange(n) if n_groups is None else np.arange(n) % n_groups
    found = chance(placements(scores, labels, groups))
    zeros = [0.0] * n  # an AUROC of 0.5 without variance
    given_groups = None if n_groups is None else groups.tolist()
    _, expected = delong_by_loops(scores.tolist(), zeros, labels.tolist(), given_groups)
    assert found.variance == pytest.approx(max(0, expected), abs=1e-12)


def test_rows_that_are_apart_by_chance_leave_room_below_one():
    low, high = interval(range(10), [0] * 5 + [1] * 5)
    assert high == 1
    assert 0.4 < low < 0.8


def test_rows_that_are_apart_the_wrong_way_leave_room_above_zero():
    low, high = interval(range(10), [1] * 5 + [0] * 5)
    assert low == 0
    assert 0.2 < high < 0.6


def test_intervals_of_twenty_rows_cover():
    random = np.random.default_rng(0)
    labels = np.arange(20) % 2
    for auroc, shift in ((0.75, 0.954), (0.9, 1.812)):
        found = [interval(random.normal(size=20) + shift * labels, labels) for _ in range(250)]
        assert np.mean([low <= auroc <= high for low, high in found]) >= 0.93


def test_intervals_of_ten_groups_of_near_copies_cover():
    random = np.random.default_rng(1)
    labels = np.repeat(np.arange(10) % 2, 8)
    groups = [str(g) for g in np.repeat(np.arange(10), 8)]
    found = []
    for _ in range(200):
        scores = np.repeat(random.normal(size=10), 8) + 0.1 * random.normal(size=80) + 0.96 * labels
        found.append(interval(scores, labels, groups))
    assert np.mean([low <= 0.75 <= high for low, high in found]) >= 0.93


def test_copies_in_groups_say_no_more_than_one_row_each():
    scores, labels = drawn_scores(30, seed=4)
    groups = [str(i) for i in np.repeat(np.arange(30), 6)]
    alone = interval(scores, labels)
    copied = interval(np.repeat(scores, 6), np.repeat(labels, 6), groups)
    assert copied == pytest.approx(alone, abs=0.02)


def test_groups_without_likeness_cost_little():
    scores, labels = drawn_scores(400, seed=5)
    alone, grouped = interval(scores, labels), interval(scores, labels, list("abcdefghij" * 40))
    assert grouped[1] - grouped[0] < 1.5 * (alone[1] - alone[0])


def test_a_class_in_one_group_says_nothing():
    labels = np.array([1, 1, 1, 0, 0, 0])
    groups = group_numbers(list("aaabcd"), 6)
    assert auroc_interval(np.arange(6.0), labels, groups) == (0, 1)


def test_a_few_rows_that_are_always_wrong_widen_the_interval():
    """A variance beyond what scores of two overlapping normals have is taken as it is found."""
    labels = np.array([1] * 20 + [0] * 180)
    random = np.random.default_rng(2)
    scores = random.normal(size=200)
    scores[:16] += 10
    scores[16:20] -= 10  # AUROC 0.8, but two values only: as a share of 20
    low, high = interval(scores, labels)
    assert high - low > 0.3
