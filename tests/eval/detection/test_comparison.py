"""Scorers on the same labelled rows."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from kview.eval import DetectionMetrics, NoMetrics
from kview.eval.detection.comparison import LabelledRows, paired_differences
from kview.eval.detection.intervals import resamples
from kview.eval.detection.scoring import detection_metrics


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n).astype(np.int8)
    return random.normal(size=n) + labels, labels


def test_paired_differences_let_what_is_shared_cancel_out():
    scores, labels = drawn(80, seed=2)
    draws = resamples(labels)
    same, other = paired_differences(
        {"a": scores, "b": scores * 2 + 1, "c": -scores},
        labels,
        draws,
        pairs=[("a", "b"), ("a", "c")],
    )
    assert (same.auroc.value, same.auroc.interval) == (0, (0, 0))
    auroc = roc_auc_score(labels, scores)
    assert other.auroc.value == pytest.approx(2 * auroc - 1)
    assert other.auroc.interval is not None
    assert other.auroc.interval[0] > 0


def test_unlabelled_rows_are_left_out_with_their_groups():
    scores, labels = drawn(40, seed=3)
    labels[::5] = -1
    groups = [f"g{i * 7 % 11}" for i in range(40)]
    rows = LabelledRows(labels, groups, count=50, seed=9)
    known = labels >= 0
    draws = resamples(labels[known], groups=list(np.array(groups)[known]), count=50, seed=9)
    assert rows.metrics(scores) == detection_metrics(scores[known], labels[known], draws)
    (difference,) = rows.differences({"a": scores}, {"b": -scores})
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
    assert rows.differences({"a": scores}, {"b": scores}) == ()
    assert rows.n_resamples == 0
