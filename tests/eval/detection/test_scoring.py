"""Metrics of scores, and their intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from kview.contracts import ConfigError, LabelError
from kview.eval.detection.scoring import (
    Estimate,
    detection_metrics,
    no_metrics_reason,
    resamples,
)


def drawn(n: int, seed: int, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n).astype(np.int8)
    labels[:2] = (0, 1)
    scores = random.normal(size=n) + labels
    return (np.round(scores) if ties else scores), labels


def width(estimate: Estimate) -> float:
    assert estimate.interval is not None
    return estimate.interval[1] - estimate.interval[0]


def fpr95(labels, scores):
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    return fpr[np.argmax(tpr >= 0.95 - 1e-12)]


@given(n=st.integers(2, 60), seed=st.integers(0, 10_000), ties=st.booleans())
def test_metrics_equal_scikit_learn(n, seed, ties):
    scores, labels = drawn(n, seed, ties)
    metrics = detection_metrics(scores, labels, resamples(labels, count=0))
    assert metrics.auroc.value == pytest.approx(roc_auc_score(labels, scores))
    assert metrics.average_precision.value == pytest.approx(average_precision_score(labels, scores))
    assert metrics.fpr95.value == pytest.approx(fpr95(labels, scores))
    assert metrics.auroc.interval is None
    assert (metrics.n_positive, metrics.n_negative) == ((labels == 1).sum(), (labels == 0).sum())


@given(seed=st.integers(0, 1000), ties=st.booleans())
def test_a_replicate_equals_scikit_learn_on_the_resampled_rows(seed, ties):
    scores, labels = drawn(25, seed, ties)
    draws = resamples(labels, count=20, seed=seed)
    metrics = detection_metrics(scores, labels, draws)
    rows = [np.repeat(np.arange(25), w.astype(int)) for w in draws]
    for name, metric in (
        ("auroc", roc_auc_score),
        ("average_precision", average_precision_score),
        ("fpr95", fpr95),
    ):
        replicates = [metric(labels[r], scores[r]) for r in rows]
        expected = np.percentile(replicates, (2.5, 97.5))
        assert getattr(metrics, name).interval == pytest.approx(tuple(expected))


def test_groups_stay_together():
    labels = np.array([0, 1] * 6)
    groups = list("abacabadacab")
    draws = resamples(labels, groups=groups, count=50)
    for row in draws:
        counts = {group: {row[i] for i in range(12) if groups[i] == group} for group in "abcd"}
        assert all(len(times) == 1 for times in counts.values())
        assert sum(times.pop() for times in counts.values()) == 4


def test_grouped_intervals_are_wider_where_rows_repeat():
    scores, labels = drawn(60, seed=3)
    many = np.repeat(scores, 10), np.repeat(labels, 10)
    groups = [str(i) for i in np.repeat(np.arange(60), 10)]
    alone = detection_metrics(*many, resamples(many[1])).auroc
    grouped = detection_metrics(*many, resamples(many[1], groups=groups)).auroc
    assert alone.value == grouped.value
    assert width(grouped) > 2 * width(alone)


def test_intervals_are_seeded():
    scores, labels = drawn(30, seed=1)
    metrics = [detection_metrics(scores, labels, resamples(labels, seed=s)) for s in (0, 0, 1)]
    assert metrics[0] == metrics[1] != metrics[2]


def test_resamples_hold_both_classes():
    labels = np.array([1] + [0] * 20)
    draws = resamples(labels, count=200)
    assert 0 < len(draws) < 200
    assert (draws[:, 0] > 0).all()
    with pytest.raises(ConfigError, match="both classes"):
        resamples(np.array([0, 1]), count=1, seed=3)


def test_one_class_and_no_labels_have_a_reason():
    assert no_metrics_reason(np.array([0, 1, -1])) is None
    assert "none of the 2 samples" in str(no_metrics_reason(np.array([-1, -1])))
    assert "all 2 labelled samples are hallucinated" in str(no_metrics_reason(np.array([1, 1, -1])))
    with pytest.raises(LabelError, match="all 2 labelled"):
        resamples(np.array([0, 0]))
    with pytest.raises(LabelError, match="0 or 1"):
        resamples(np.array([0, 1, -1]))


def test_scores_that_cannot_be_ranked_are_refused():
    labels = np.array([0, 1])
    draws = resamples(labels, count=10)
    with pytest.raises(ConfigError, match="1 of 2 scores"):
        detection_metrics(np.array([0.0, np.nan]), labels, draws)
    with pytest.raises(LabelError, match="3 scores for 2 labels"):
        detection_metrics(np.zeros(3), labels, draws)
    with pytest.raises(ConfigError, match="1 groups for 2 samples"):
        resamples(labels, groups=["a"])
