"""Metrics of scores against labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from helpers.drawn_scores import drawn_scores
from kview.contracts import ConfigError, LabelError
from kview.eval.detection.intervals import resamples
from kview.eval.detection.scoring import detection_metrics, weighted_metrics


def fpr95(labels, scores):
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    return fpr[np.argmax(tpr >= 0.95 - 1e-12)]


@given(n=st.integers(2, 60), seed=st.integers(0, 10_000), ties=st.booleans())
def test_metrics_equal_scikit_learn(n, seed, ties):
    scores, labels = drawn_scores(n, seed, ties)
    metrics = detection_metrics(scores, labels, resamples(labels, count=0))
    assert metrics.auroc.value == pytest.approx(roc_auc_score(labels, scores))
    assert metrics.average_precision.value == pytest.approx(average_precision_score(labels, scores))
    assert metrics.fpr95.value == pytest.approx(fpr95(labels, scores))
    assert metrics.average_precision.interval is None
    assert (metrics.n_positive, metrics.n_negative) == ((labels == 1).sum(), (labels == 0).sum())


@given(seed=st.integers(0, 1000), ties=st.booleans())
def test_a_replicate_equals_scikit_learn_on_the_resampled_rows(seed, ties):
    scores, labels = drawn_scores(25, seed, ties)
    draws = resamples(labels, count=20, seed=seed)
    metrics = weighted_metrics(scores, labels, draws)
    rows = [np.repeat(np.arange(25), w.astype(int)) for w in draws]
    for name, metric in (
        ("auroc", roc_auc_score),
        ("average_precision", average_precision_score),
        ("fpr95", fpr95),
    ):
        replicates = [metric(labels[r], scores[r]) for r in rows]
        np.testing.assert_allclose(metrics[name][1:], replicates)


def test_few_samples_are_warned_of():
    scores, labels = drawn_scores(19, seed=0)
    (few, fpr95) = detection_metrics(scores, labels, resamples(labels, count=20)).notes
    assert "only 19 labelled samples" in few
    assert "FPR at 95 % TPR has no interval" in fpr95


def test_few_groups_are_warned_of_however_many_rows():
    scores, labels = drawn_scores(400, seed=0)
    draws = resamples(labels, count=20)
    many = detection_metrics(scores, labels, draws)
    assert many.notes == ()
    assert many.fpr95.interval is not None
    grouped = detection_metrics(scores, labels, draws, groups=np.arange(400) % 19)
    assert "only 19 labelled groups" in grouped.notes[0]
    assert grouped.fpr95.interval is None


def test_what_is_alike_in_all_resamples_has_no_bootstrap_interval():
    labels = np.arange(10) // 5
    metrics = detection_metrics(np.arange(10.0), labels, resamples(labels, count=50))
    assert (metrics.average_precision.value, metrics.average_precision.interval) == (1, None)


def test_scores_that_cannot_be_ranked_are_refused():
    labels = np.array([0, 1])
    draws = resamples(labels, count=10)
    with pytest.raises(ConfigError, match="1 of 2 scores"):
        detection_metrics(np.array([0.0, np.nan]), labels, draws)
    with pytest.raises(LabelError, match="3 scores for 2 labels"):
        detection_metrics(np.zeros(3), labels, draws)
