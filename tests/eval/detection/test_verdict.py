"""The verdict, on scores of planted AUROCs."""

import numpy as np
import pytest
from scipy.stats import norm

from kview.contracts import ConfigError
from kview.eval import NoMetrics, Verdict
from kview.eval.detection.comparison import LabelledRows
from kview.eval.detection.verdict import verdict


def planted(auroc: float, labels: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Scores whose AUROC among very many rows is the one asked for."""
    return noise + labels * np.sqrt(2) * norm.ppf(auroc)


def verdict_on(
    detector: float, baseline: float, n: int, *, groups: int | None = None, validated: bool = True
) -> Verdict:
    random = np.random.default_rng(1)
    labels = np.arange(n) % 2
    common, mine, theirs = random.normal(size=(3, n))
    noises = [np.sqrt(0.5) * (common + own) for own in (mine, theirs)]
    detectors = {"knn": planted(detector, labels, noises[0])}
    baselines = {"probe": planted(baseline, labels, noises[1])}
    names = None if groups is None else [str(i % groups) for i in range(n)]
    rows = LabelledRows(labels, names, count=0, seed=0)
    differences = rows.differences(detectors, baselines, primary=("knn", "probe"))
    metrics = {name: rows.metrics(s) for name, s in {**detectors, **baselines}.items()}
    return verdict(differences, metrics, n_groups=rows.n_groups, validated=validated)


def test_a_detector_that_is_better_is_said_to_be():
    found = verdict_on(0.95, 0.75, 400)
    assert found.outcome == "better"
    assert found.sentence.startswith("knn is better than the best baseline, probe: AUROC 0.9")
    assert "p < 0.001" in found.sentence


def test_a_baseline_that_nothing_chose_is_not_called_the_best():
    found = verdict_on(0.95, 0.75, 400, validated=False)
    assert "the baseline taken by default, probe" in found.sentence
    assert "best" not in found.sentence


def test_a_detector_that_is_worse_is_no_better():
    found = verdict_on(0.75, 0.95, 400)
    assert found.outcome == "no_better"
    assert found.sentence.startswith("knn is no better than the best baseline, probe: AUROC 0.7")


def test_a_detector_that_is_alike_is_no_better_where_rows_are_many():
    found = verdict_on(0.85, 0.85, 20_000)
    assert found.outcome == "no_better"
    assert found.difference is not None
    assert found.difference.auroc.interval is not None
    assert -0.02 < found.difference.auroc.interval[0] < found.difference.auroc.interval[1] < 0.02


def test_few_rows_cannot_tell_and_the_sentence_says_how_wide_the_interval_is():
    found = verdict_on(0.85, 0.8, 30)
    assert found.outcome == "cannot_tell"
    assert found.difference is not None
    assert found.difference.auroc.interval is not None
    low, high = found.difference.auroc.interval
    assert found.sentence.startswith("Cannot tell whether knn is better than the best baseline")
    assert f"with 30 labelled test rows the interval is {high - low:.3f} wide" in found.sentence


def test_few_groups_are_named():
    found = verdict_on(0.85, 0.85, 40, groups=8)
    assert found.outcome == "cannot_tell"
    assert "40 labelled test rows in 8 groups" in found.sentence


def test_no_labels_cannot_tell_and_the_reason_is_given():
    metrics = {"knn": NoMetrics(reason="none of the 3 samples is labelled")}
    found = verdict((), metrics, n_groups=None, validated=True)
    assert (found.outcome, found.difference) == ("cannot_tell", None)
    assert "none of the 3 samples is labelled" in found.sentence


def test_null_runs_seldom_have_a_better_detector():
    random = np.random.default_rng(3)
    labels = np.arange(80) % 2
    rows = LabelledRows(labels, None, count=0, seed=0)
    outcomes = []
    for _ in range(200):
        a, b = (planted(0.8, labels, noise) for noise in random.normal(size=(2, 80)))
        differences = rows.differences({"a": a}, {"b": b}, primary=("a", "b"))
        metrics = {"a": rows.metrics(a), "b": rows.metrics(b)}
        outcomes.append(verdict(differences, metrics, n_groups=None, validated=True).outcome)
    assert outcomes.count("better") <= 10  # 2.5 % is what is asked for


def test_a_comparison_without_metrics_is_refused():
    rows = LabelledRows(np.array([0, 1, 0, 1]), None, count=0, seed=0)
    scores = np.arange(4.0)
    differences = rows.differences({"a": scores}, {"b": -scores}, primary=("a", "b"))
    with pytest.raises(ConfigError, match="a is compared and has no metrics"):
        verdict(
            differences,
            {"a": NoMetrics(reason="why"), "b": rows.metrics(scores)},
            n_groups=4,
            validated=True,
        )
