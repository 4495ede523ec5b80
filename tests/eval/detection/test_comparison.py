"""Scorers on the same labelled rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from helpers.oracles import delong_by_loops, holm_by_steps
from kview.contracts import ConfigError
from kview.eval import DetectionMetrics, NoMetrics
from kview.eval.detection.auroc import chance, placements
from kview.eval.detection.comparison import LabelledRows, delong, holm, paired_differences
from kview.eval.detection.intervals import resamples
from kview.eval.detection.scoring import detection_metrics, weighted_metrics


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n).astype(np.int8)
    labels[:4] = (0, 1, 0, 1)
    return random.normal(size=n) + labels, labels


@given(n=st.integers(30, 60), grouped=st.booleans(), seed=st.integers(0, 1000))
def test_delongs_test_equals_the_reference(n, grouped, seed):
    first, labels = drawn(n, seed)
    second = np.round(first + np.random.default_rng(seed + 1).normal(size=n) * 2, 1)
    groups = np.arange(n) // 2 if grouped else np.arange(n)
    a, b = (placements(s, labels, groups) for s in (first, second))
    found, p = delong(a, b)
    difference, variance = delong_by_loops(
        first.tolist(), second.tolist(), labels.tolist(), groups.tolist() if grouped else None
    )
    least = sum(1 / len(np.unique(groups[labels == label])) ** 2 for label in (0, 1)) / 4
    error = np.sqrt(max(variance, least))
    degrees = chance(a.less(b)).degrees
    assert found.value == pytest.approx(difference, abs=1e-12)
    assert p == pytest.approx(2 * t.sf(abs(difference) / error, degrees))
    assert found.interval is not None
    reach = t.ppf(0.975, degrees) * error
    assert found.interval == pytest.approx(
        (max(-1, difference - reach), min(1, difference + reach)), abs=1e-9
    )
    assert (p < 0.05) == (found.interval[0] > 0 or found.interval[1] < 0)


def test_the_reference_variance_is_what_resampling_finds():
    """The reference itself, against draws of whole groups."""
    first, labels = drawn(300, seed=4)
    random = np.random.default_rng(5)
    groups = np.arange(300) // 3
    shared = random.normal(size=100)[groups]
    first, second = first + shared, first - shared
    _, variance = delong_by_loops(first.tolist(), second.tolist(), labels.tolist(), groups.tolist())
    draws = resamples(labels, groups=groups, count=2000)
    found = [weighted_metrics(s, labels, draws)["auroc"][1:] for s in (first, second)]
    assert np.var(found[0] - found[1]) == pytest.approx(variance, rel=0.15)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holms_correction_equals_the_reference(p):
    assert holm(p) == pytest.approx(holm_by_steps(p))


def test_paired_differences_let_what_is_shared_cancel_out():
    scores, labels = drawn(80, seed=2)
    same, other = paired_differences(
        {"a": scores, "b": scores * 2 + 1, "c": -scores},
        labels,
        np.arange(80),
        pairs=[("a", "b"), ("a", "c")],
        primary=("a", "c"),
    )
    assert (same.auroc.value, same.p, same.primary) == (0, 1, False)
    auroc = roc_auc_score(labels, scores)
    assert other.auroc.value == pytest.approx(2 * auroc - 1)
    assert other.auroc.interval is not None
    assert other.auroc.interval[0] > 0
    assert (other.p_adjusted, other.primary) == (other.p, True)


def test_scorers_that_make_no_error_may_still_differ():
    labels = np.arange(20) // 10
    first, second = np.arange(20.0), np.arange(20.0) * labels
    rows = LabelledRows(labels, None, count=50, seed=0)
    (difference,) = rows.differences({"a": first}, {"b": second}, primary=("a", "b"))
    assert difference.auroc.interval is not None
    low, high = difference.auroc.interval
    assert low < -0.1
    assert high > 0.1
    assert difference.p == 1


def test_a_class_in_one_group_tells_no_difference():
    scores, labels = np.arange(6.0), np.array([0, 0, 0, 1, 1, 1])
    rows = LabelledRows(labels, ["a", "b", "c", "d", "d", "d"], count=50, seed=0)
    (difference,) = rows.differences({"a": scores}, {"b": -scores}, primary=("a", "b"))
    assert (difference.auroc.interval, difference.p) == ((-1, 1), 1)


def test_one_comparison_is_primary_and_null_runs_seldom_claim_another():
    """Four comparisons of scores that say nothing: one in twenty runs may claim something."""
    random = np.random.default_rng(0)
    primary_claims, other_claims = 0, 0
    for _ in range(200):
        labels = random.integers(0, 2, 60)
        detectors = {name: random.normal(size=60) for name in "abc"}
        baselines = {name: random.normal(size=60) for name in "xy"}
        found = LabelledRows(labels, None, count=0, seed=0).differences(
            detectors, baselines, primary=("a", "x")
        )
        (primary,) = [d for d in found if d.primary]
        assert (primary.first, primary.second, len(found)) == ("a", "x", 4)
        primary_claims += primary.p_adjusted < 0.05
        other_claims += min(d.p_adjusted for d in found if not d.primary) < 0.05
    assert primary_claims / 200 < 0.09
    assert other_claims / 200 < 0.09


def test_the_primary_comparison_must_be_one_that_is_made():
    scores, labels = drawn(20, seed=0)
    rows = LabelledRows(labels, None, count=0, seed=0)
    with pytest.raises(ConfigError, match="none of the comparisons"):
        rows.differences({"a": scores}, {"b": -scores}, primary=("b", "a"))


def test_unlabelled_rows_are_left_out_with_their_groups():
    scores, labels = drawn(40, seed=3)
    labels[::5] = -1
    groups = [f"g{i * 7 % 11}" for i in range(40)]
    rows = LabelledRows(labels, groups, count=50, seed=9)
    known = labels >= 0
    numbers = np.unique(np.array(groups)[known], return_inverse=True)[1]
    draws = resamples(labels[known], groups=numbers, count=50, seed=9)
    expected = detection_metrics(scores[known], labels[known], draws, groups=numbers)
    assert rows.metrics(scores) == expected
    assert rows.n_groups == len(set(np.array(groups)[known]))
    (difference,) = rows.differences({"a": scores}, {"b": -scores}, primary=("a", "b"))
    assert (difference.first, difference.second) == ("a", "b")
    found = rows.metrics(scores)
    assert isinstance(found, DetectionMetrics)
    assert difference.auroc.value == pytest.approx(2 * found.auroc.value - 1)


def test_one_class_has_a_reason_and_no_differences():
    rows = LabelledRows(np.array([0, 0, -1]), None, count=50, seed=0)
    scores = np.arange(3.0)
    assert rows.metrics(scores) == NoMetrics(
        reason="all 2 labelled samples are not hallucinated; metrics need both classes"
    )
    assert rows.differences({"a": scores}, {"b": scores}, primary=("a", "b")) == ()
    assert (rows.n_resamples, rows.n_groups) == (0, None)
