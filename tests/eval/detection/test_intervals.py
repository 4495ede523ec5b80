"""Resamples, and the intervals that they give."""

import numpy as np
import pytest

from helpers.drawn_scores import drawn_scores
from kview.contracts import ConfigError, LabelError
from kview.eval import Estimate
from kview.eval.detection.intervals import bootstrap, group_numbers, no_metrics_reason, resamples
from kview.eval.detection.scoring import detection_metrics


def width(estimate: Estimate) -> float:
    assert estimate.interval is not None
    return estimate.interval[1] - estimate.interval[0]


def test_groups_stay_together():
    labels = np.array([0, 1] * 6)
    groups = list("abacabadacab")
    draws = resamples(labels, groups=groups, count=50)
    for row in draws:
        counts = {group: {row[i] for i in range(12) if groups[i] == group} for group in "abcd"}
        assert all(len(times) == 1 for times in counts.values())
        assert sum(times.pop() for times in counts.values()) == 4


def test_grouped_intervals_are_wider_where_rows_repeat():
    scores, labels = drawn_scores(60, seed=3)
    many = np.repeat(scores, 10), np.repeat(labels, 10)
    groups = [str(i) for i in np.repeat(np.arange(60), 10)]
    alone = detection_metrics(*many, resamples(many[1]))
    draws = resamples(many[1], groups=groups)
    grouped = detection_metrics(*many, draws, groups=group_numbers(groups, 600))
    for name in ("auroc", "average_precision"):
        assert getattr(alone, name).value == getattr(grouped, name).value
        assert width(getattr(grouped, name)) > 2 * width(getattr(alone, name))


def test_intervals_are_seeded():
    scores, labels = drawn_scores(30, seed=1)
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


def test_there_is_a_group_for_every_sample():
    with pytest.raises(ConfigError, match="1 groups for 2 samples"):
        resamples(np.array([0, 1]), groups=["a"])


def test_percentiles_lie_further_out_for_few_samples():
    values = np.concatenate([[0.0], np.random.default_rng(0).normal(size=4000)])
    many, few = bootstrap(values, 10_000), bootstrap(values, 9)
    assert many.interval == pytest.approx(tuple(np.percentile(values[1:], (2.5, 97.5))), abs=0.02)
    assert few.interval == pytest.approx((-2.38, 2.38), abs=0.2)  # 2.26 * sqrt(10 / 9)


def test_bias_correction_moves_percentiles_against_the_bias():
    values = np.concatenate([[0.0], 1 + np.random.default_rng(0).normal(size=4000)])
    plain, moved = bootstrap(values, 10_000), bootstrap(values, 10_000, bias_corrected=True)
    assert plain.interval is not None
    assert moved.interval == pytest.approx(np.subtract(plain.interval, 2), abs=0.4)


def test_below_its_bound_a_metric_is_unsure_on_the_scale_of_what_is_missing():
    missing = 0.05 * np.exp(np.random.default_rng(0).uniform(-1, 1, size=4000))
    values = np.concatenate([[0.95], 1 - missing])
    plain, bounded = bootstrap(values, 9), bootstrap(values, 9, most=1)
    assert plain.interval is not None
    assert bounded.interval is not None
    assert bounded.interval[1] == plain.interval[1]
    assert plain.interval[0] > 1 - 0.05 * np.e
    assert bounded.interval[0] == pytest.approx(1 - 0.05 * np.exp(2.38 * 0.683), abs=0.01)


def test_there_is_no_interval_without_replicates_or_freedom():
    assert bootstrap(np.array([0.5]), 10).interval is None
    assert bootstrap(np.array([0.5, 0.4, 0.6]), 0).interval is None
    assert bootstrap(np.array([0.5, 0.4, 0.4]), 10).interval is None
