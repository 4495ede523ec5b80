"""What is fitted before any test row is seen, and scores any number of sources after."""

import dataclasses
from typing import get_type_hints

import numpy as np
import pytest
import torch

from kview.contracts import ConfigError, LabelError
from kview.eval import (
    FittedDetection,
    KNNDetector,
    evaluate_detection,
    fit_detection,
    score_detection,
)

VIEWS = (0, 2, 4)


def fitted_on(source_of, encoder, **settings) -> FittedDetection:
    rows = {"train": source_of(60, seed=1), "val": source_of(30, seed=3, prefix="v")}
    return fit_detection(encoder, **{**rows, "views": VIEWS, **settings})


def held(value: object, seen: set[int]) -> list[object]:
    """Everything that a value holds, itself included."""
    if id(value) in seen or isinstance(value, torch.Tensor | np.ndarray | str | torch.nn.Module):
        return []
    seen.add(id(value))
    if dataclasses.is_dataclass(value):
        inside = [getattr(value, field.name) for field in dataclasses.fields(value)]
    elif isinstance(value, dict):
        inside = list(value.values())
    elif isinstance(value, list | tuple):
        inside = list(value)
    else:
        inside = list(vars(value).values()) if hasattr(value, "__dict__") else []
    return [value, *(each for part in inside for each in held(part, seen))]


def test_fitting_is_given_no_test_rows_and_keeps_no_rows(source_of, encoder):
    hints = get_type_hints(fit_detection)
    sources = [name for name, hint in hints.items() if "KViewSource" in str(hint)]
    assert sources == ["train", "val"]
    everything = held(fitted_on(source_of, encoder), set())
    assert any(isinstance(value, KNNDetector) for value in everything)  # else nothing was looked at
    assert not [v for v in everything if hasattr(v, "batches") or hasattr(v, "of_layer")]


def test_it_is_what_evaluating_in_one_call_does(source_of, encoder):
    val, groups = source_of(30, seed=3, prefix="v"), [f"g{i % 13}" for i in range(40)]
    test = source_of(40, seed=2, prefix="t")
    whole = evaluate_detection(
        encoder,
        train=source_of(60, seed=1),
        val=val,
        test=test,
        views=VIEWS,
        groups=groups,
        n_resamples=20,
        seed=4,
    )
    fitted = fitted_on(source_of, encoder, seed=4)
    score_detection(fitted, test=source_of(20, seed=8), n_resamples=0)  # leaves what is fitted
    parts = score_detection(fitted, test=test, groups=groups, n_resamples=20)
    assert list(parts.scored) == list(whole.scored)
    for name, scored in parts.scored.items():
        np.testing.assert_array_equal(scored.scores, whole.scored[name].scores)
        assert scored.metrics == whole.scored[name].metrics
    for field in ("choice", "best_baseline", "differences", "verdict", "layers", "n_val", "k"):
        assert getattr(parts, field) == getattr(whole, field), field


def test_choices_are_the_same_whatever_is_scored(source_of, encoder):
    fitted = fitted_on(source_of, encoder, k="validation")
    first, second = (
        score_detection(fitted, test=source_of(20, seed=seed), n_resamples=0) for seed in (8, 9)
    )
    assert (first.choice, first.best_baseline, first.k) == (
        *(second.choice, second.best_baseline, second.k),
    )
    assert first.choice.validated


def test_what_does_not_fit_is_refused(source_of, encoder):
    with pytest.raises(ConfigError, match=r"\['perplexity'\] have the names of baselines"):
        fitted_on(source_of, encoder, detectors={"perplexity": KNNDetector()})
    fitted = fitted_on(source_of, encoder)
    with pytest.raises(ConfigError, match="needs the same one"):
        score_detection(fitted, test=source_of(20, layers=4))
    with pytest.raises(LabelError, match="3 groups for 20 rows"):
        score_detection(fitted, test=source_of(20), groups=["a"] * 3)


def test_what_cannot_score_the_test_rows_is_not_chosen(source_of, encoder):
    class Picky:
        def fit(self, reference):
            return self

        def score(self, batch):
            if len(batch) == 20:
                raise ValueError("not these")
            return torch.from_numpy(source_of(30, seed=3).labels).double()

    fitted = fitted_on(source_of, encoder, detectors={"knn": KNNDetector(), "picky": Picky()})
    found = score_detection(fitted, test=source_of(20, seed=8), n_resamples=0)
    assert found.failures == {"picky": "the detector failed: ValueError: not these"}
    assert found.choice.name == "knn"
    assert "picky" not in found.choice.val_auroc
    other = score_detection(fitted, test=source_of(30, seed=9), n_resamples=0)
    assert other.choice.name == "picky"
