"""What cannot be known is not found: labels that say nothing, copies in groups, looking at test."""

import copy
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom

from helpers.sources import MemorySource
from helpers.trainers import make_trainer
from kview.eval import (
    DetectionMetrics,
    Estimate,
    KNNDetector,
    default_detectors,
    evaluate_detection,
    fit_detection,
    score_detection,
)
from kview.eval.detection.folds import folds

ROWS = {"train": 100, "val": 120, "test": 120}
HIDDEN = 64
DRAWS = 20


def chance(n: int) -> float:
    """How far from 0.5 the AUROC of n rows, half of them hallucinated, lies once in a thousand."""
    return 3.3 * np.sqrt((n + 1) / (3 * n * n))


def copies(n_groups: int, seed: int, size: int) -> tuple[MemorySource, list[str]]:
    """Near-copies in groups; a group's label is independent of what it looks like."""
    made = MemorySource(n_groups * size, max_tokens=1, hidden_size=HIDDEN, shift=0, seed=seed)
    made.num_views = len(made.layer_ids)
    random = np.random.default_rng(seed)
    places = np.arange(n_groups * size) // size
    made.labels = random.permutation(np.arange(n_groups, dtype=np.int8) % 2)[places]
    centres = torch.from_numpy(random.normal(size=(n_groups, 1, 1, HIDDEN))).float()
    made.response_lengths = random.integers(1, 40, n_groups * size).astype(np.int32)
    made.x = centres[torch.from_numpy(places)] + 0.1 * made.x
    return made, [f"g{place}" for place in places]


def source(name: str, seed: int) -> MemorySource:
    """Rows whose labels say nothing."""
    return copies(ROWS[name], seed, size=1)[0]


def misses_allowed(draws: int) -> int:
    """How many of some 95 % intervals miss the truth at most, but once in ten thousand times."""
    return int(binom.ppf(0.9999, draws, 0.05))


def holds(estimate: Estimate, truth: float) -> bool:
    low, high = estimate.interval or (estimate.value, estimate.value)
    return low <= truth <= high


@pytest.mark.parametrize("world", [0, 1])
def test_labels_that_say_nothing_let_no_scorer_look_good(world):
    """The encoder has learnt its training rows' labels by heart: no figure may come from them.

    What is fitted once is scored on many test sets, and of each scorer's intervals no more miss
    chance than 95 % intervals do. By figures without an interval, those of validation rows and of
    cross-validation, no more than three standard errors are allowed.
    """
    train, val = (source(name, seed=1000 * world + i) for i, name in enumerate(("train", "val")))
    trainer = make_trainer("plain", hidden_size=HIDDEN, max_epochs=40, lr=1e-2, dropout=0.0)
    seen = copy.copy(train)
    seen.num_views = 4
    trainer.fit(seen)
    fitted = fit_detection(trainer.encoder, train=train, val=val, k="validation")
    learnt = score_detection(fitted, test=train, n_resamples=0).detectors["logistic"].metrics
    assert isinstance(learnt, DetectionMetrics)
    assert learnt.auroc.value > 0.9  # else there would be nothing to leak
    tests = [source("test", seed=1000 * world + 100 + draw) for draw in range(DRAWS)]
    evaluations = [score_detection(fitted, test=test, n_resamples=200) for test in tests]
    missed: Counter[tuple[str, str]] = Counter()
    for found in evaluations:
        missed["verdict", "better"] += found.verdict.outcome == "better"
        probes = {f"probe of layer {each.layer}": each.probe for each in found.layers}
        metrics = {name: scored.metrics for name, scored in found.scored.items()} | probes
        for name, each in metrics.items():
            assert isinstance(each, DetectionMetrics), name
            missed[name, "auroc"] += not holds(each.auroc, 0.5)
            missed[name, "rejection"] += not holds(each.prediction_rejection, 0.0)
            if name in found.scored:
                assert each.calibration is not None
                brier = each.calibration.brier
                missed[name, "brier"] += brier.value < 0.25 and not holds(brier, 0.25)
    assert max(missed.values()) <= misses_allowed(DRAWS), missed.most_common(3)
    found = evaluations[0]
    assert found.best_baseline is not None
    for choice in (found.choice, found.best_baseline):
        for name, auroc in choice.val_auroc.items():
            assert abs(auroc - 0.5) < chance(ROWS["val"]), name
    for layer in found.layers:
        assert layer.probe_cv_auroc is not None
        assert abs(layer.probe_cv_auroc - 0.5) < chance(ROWS["train"])


def test_copies_in_groups_do_not_make_cross_validation_look_good():
    (train, train_groups), (test, groups) = copies(50, seed=1, size=5), copies(80, seed=2, size=5)

    def found(**grouped):
        mean = evaluate_detection(
            lambda x: x.mean(dim=1), train=train, test=test, groups=groups, n_resamples=0, **grouped
        )
        cv = [layer.probe_cv_auroc or 0.0 for layer in mean.layers]
        return cv, [
            layer.probe.auroc.value
            for layer in mean.layers
            if isinstance(layer.probe, DetectionMetrics)
        ]

    cv, on_test = found(train_groups=train_groups)
    assert np.mean(cv) == pytest.approx(np.mean(on_test), abs=0.08)
    assert np.mean(found()[0]) > 0.9  # as it was: folds that cut groups find the copies


def test_folds_keep_groups_whole():
    train, groups = copies(30, seed=3, size=5)
    for fit, out in folds(train.labels, 0, groups):
        assert not {groups[i] for i in fit} & {groups[i] for i in out}


def test_a_detector_cannot_look_at_the_labels_that_it_is_measured_by():
    class Cheat(KNNDetector):
        def score(self, batch):
            return super().score(batch) if batch.halu is None else batch.halu.double()

    rows: Any = {name: source(name, seed) for seed, name in enumerate(ROWS)}
    found = evaluate_detection(
        lambda x: x.mean(dim=1),
        **rows,
        detectors={**default_detectors(), "cheat": Cheat()},
        n_resamples=0,
    )
    honest, cheat = found.detectors["knn"].scores, found.detectors["cheat"].scores
    np.testing.assert_array_equal(honest, cheat)
    assert found.choice.val_auroc["cheat"] == found.choice.val_auroc["knn"]


def test_nothing_is_chosen_by_test_labels():
    rows: Any = {name: source(name, seed) for seed, name in enumerate(ROWS)}

    def chosen():
        found = evaluate_detection(lambda x: x.mean(dim=1), **rows, k="validation", n_resamples=0)
        layers = [(layer.layer, layer.chosen, layer.probe_cv_auroc) for layer in found.layers]
        scores = {name: scored.scores for name, scored in found.scored.items()}
        return (found.choice, found.best_baseline, found.k, layers), scores

    first, scores = chosen()
    rows["test"].labels = 1 - rows["test"].labels
    second, same = chosen()
    assert first == second
    for name, values in scores.items():
        np.testing.assert_array_equal(values, same[name])
