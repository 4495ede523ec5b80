"""Detectors that others wrote, and what may go wrong with them."""

import numpy as np
import pytest
import torch

from kview.contracts import ConfigError
from kview.eval import (
    DetectionMetrics,
    NoMetrics,
    default_detectors,
    evaluate_detection,
    evaluation_json,
    write_evaluation,
    write_report,
)
from kview.eval.detection.foreign import require_names


class Own:
    """A detector that gives what it is made with, or raises it."""

    two_class = False

    def __init__(self, gives):
        self.gives = gives

    def fit(self, reference):
        return self

    def score(self, batch):
        scores = self.gives(batch)
        if isinstance(scores, Exception):
            raise scores
        return scores


def some(value):
    def scores(batch):
        scores = torch.linspace(0, 1, len(batch.hashkey))
        scores[1] = value
        return scores

    return scores


@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize(
    ("gives", "reason"),
    [
        (lambda batch: KeyError("no such key"), "KeyError: 'no such key'"),
        (lambda batch: ConfigError("k is odd"), "the detector failed: k is odd"),
        (some(float("nan")), "NaN or infinity for 1 of"),
        (some(float("inf")), "NaN or infinity for 1 of"),
        (lambda batch: torch.ones(3), "gave (3,) for"),
        (lambda batch: None, "AttributeError"),
    ],
)
def test_a_detector_that_fails_is_named_and_the_others_go_on(
    gives, reason, validated, source_of, encoder, tmp_path
):
    train, test, val = source_of(60, seed=1), source_of(40, seed=2), source_of(30, seed=3)
    found = evaluate_detection(
        encoder,
        train=train,
        test=test,
        val=val if validated else None,
        detectors={
            "knn": Own(gives),
            **{n: d for n, d in default_detectors().items() if n != "knn"},
        },
        n_resamples=10,
    )
    assert list(found.failures) == ["knn"]
    assert reason in found.failures["knn"]
    assert isinstance(found.detectors["cosine"].metrics, DetectionMetrics)
    assert found.choice.name != "knn"
    assert found.verdict.difference is not None
    assert reason in evaluation_json(found)["detectors"]["knn"]["reason"]
    write_evaluation(tmp_path, found)
    write_report(tmp_path, evaluation=found, metrics=[], config={}, data_summary={})


def test_where_all_detectors_fail_the_baselines_are_left(source_of, encoder):
    train, test = source_of(60, seed=1), source_of(40, seed=2)
    own = {"own": Own(lambda batch: ValueError("no"))}
    found = evaluate_detection(encoder, train=train, test=test, detectors=own, n_resamples=10)
    assert list(found.failures) == ["own"]
    assert isinstance(found.baselines["probe"].metrics, DetectionMetrics)
    assert found.verdict.difference is None


def test_what_cannot_be_said_is_no_failure(source_of, encoder):
    train, test = source_of(60, seed=1), source_of(40, seed=2)
    train.labels = np.zeros(60, np.int8)
    found = evaluate_detection(encoder, train=train, test=test, n_resamples=10)
    assert isinstance(found.detectors["logistic"].metrics, NoMetrics)
    assert not found.failures


@pytest.mark.parametrize("name", ["a/b", "<b>", "", "a b", "x" * 101, "../up", "a\nb"])
def test_names_that_cannot_stand_in_a_file_are_refused(name, source_of, encoder):
    train, test = source_of(60, seed=1), source_of(40, seed=2)
    with pytest.raises(ConfigError, match="names are letters"):
        evaluate_detection(encoder, train=train, test=test, detectors={name: Own(some(0.0))})
    require_names(["knn", "two_class_knn", "k-5", "v1.2", "größe"])
