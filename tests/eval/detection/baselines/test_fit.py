"""All baselines of an evaluation, through `evaluate_detection`."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from kview.contracts import EmbeddingBatch, ResponseLogprobs
from kview.eval import (
    DetectionMetrics,
    KNNDetector,
    LogisticDetector,
    NoMetrics,
    TwoClassKNNDetector,
    embed,
    evaluate_detection,
    reference_set,
)
from kview.eval.detection.untrained import untrained
from kview.eval.embedding import token_means

VIEWS = (1, 4)


def sources(source_of, **settings):
    return {
        "train": source_of(60, seed=1, **settings),
        "test": source_of(40, seed=2, prefix="t", **settings),
        "val": source_of(30, seed=3, prefix="v", **settings),
    }


def evaluated(encoder, rows, **settings):
    return evaluate_detection(encoder, **rows, **{"views": VIEWS, "n_resamples": 20, **settings})


def with_logprobs(source, seed: int, missing: int = 0):
    """The source with log-probabilities of three tokens and two alternatives."""
    batches = source.batches
    random = np.random.default_rng(seed)
    values = torch.from_numpy(random.normal(size=(len(source), 3, 2)) - 2).float()
    values[:missing] = torch.nan

    def batches_with(*, batch_size, **settings):
        for number, batch in enumerate(batches(batch_size=batch_size, **settings)):
            topk = values[number * batch_size :][: len(batch)]
            ids = torch.where(topk.isnan(), -1, 7)
            yield batch.replace(
                logprobs=ResponseLogprobs(
                    token_ids=ids[..., 0],
                    token_logprobs=topk[..., 0],
                    mask=~topk[..., 0].isnan(),
                    topk_token_ids=ids,
                    topk_logprobs=topk,
                )
            )

    source.batches = batches_with
    return source, values


def as_detectors(train, test) -> list[np.ndarray]:
    """The scores of kNN, two-class kNN and logistic, fitted and asked directly."""
    reference = reference_set(train, "not_hallucinated")
    return [
        KNNDetector().fit(reference).score(test).numpy(),
        TwoClassKNNDetector().fit(train).score(test).numpy(),
        LogisticDetector().fit(train).score(test).numpy(),
    ]


def test_detectors_stand_on_standardised_layer_means_too(source_of, encoder):
    rows = sources(source_of)
    found = evaluated(encoder, rows)
    x = {}
    for name, source in rows.items():
        (batch,) = source.batches(epoch=0, batch_size=100)
        x[name] = token_means(batch)[:, list(VIEWS)]
    mean, std = x["train"].mean(dim=0), x["train"].std(dim=0, correction=0)
    train, test = (
        EmbeddingBatch(
            z_views=((x[name] - mean) / std).mean(dim=1, keepdim=True).repeat(1, 2, 1),
            halu=torch.from_numpy(rows[name].labels).float(),
        )
        for name in ("train", "test")
    )
    names = ("knn_means", "two_class_knn_means", "logistic_means")
    for name, expected in zip(names, as_detectors(train, test), strict=True):
        scores = np.asarray(found.baselines[name].scores, np.float64)
        np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-4)


def test_detectors_stand_on_an_untrained_encoder_too(source_of, encoder):
    rows = sources(source_of)
    found = evaluated(encoder, rows, seed=5)
    fresh = untrained(encoder, 5)
    assert not isinstance(fresh, NoMetrics)
    train, test = (embed(fresh, source_of(n, seed=s, views=VIEWS)) for n, s in ((60, 1), (40, 2)))
    names = ("knn_untrained", "two_class_knn_untrained", "logistic_untrained")
    for name, expected in zip(names, as_detectors(train, test), strict=True):
        scores = np.asarray(found.baselines[name].scores, np.float64)
        np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-4)
    without = evaluated(lambda x: x.mean(dim=1), rows)
    for name in names:
        missing = without.baselines[name].metrics
        assert isinstance(missing, NoMetrics)
        assert "no parameters" in missing.reason


def test_log_probabilities_are_baselines_where_the_rows_have_them(source_of, encoder):
    rows = sources(source_of)
    values = {}
    for seed, name in enumerate(rows):
        rows[name], values[name] = with_logprobs(rows[name], seed)
    found = evaluated(encoder, rows, batch_size=7)
    names = ("logprob_mean", "logprob_min", "perplexity", "topk_entropy")
    assert tuple(found.baselines)[-4:] == names
    tokens = values["test"][..., 0].double()
    for name, expected in (
        ("logprob_mean", -tokens.mean(dim=1)),
        ("logprob_min", -tokens.amin(dim=1)),
    ):
        scores = np.asarray(found.baselines[name].scores, np.float64)
        np.testing.assert_allclose(scores, expected)
    mean, perplexity = (found.baselines[name].metrics for name in ("logprob_mean", "perplexity"))
    assert isinstance(mean, DetectionMetrics)
    assert isinstance(perplexity, DetectionMetrics)
    assert mean.auroc.value == pytest.approx(perplexity.auroc.value)
    rows["test"] = source_of(40, seed=2, prefix="t")
    assert not set(names) & set(evaluated(encoder, rows).baselines)


def test_rows_without_a_recorded_token_are_said(source_of, encoder):
    rows = sources(source_of)
    for seed, name in enumerate(rows):
        rows[name], _ = with_logprobs(rows[name], seed, missing=3 if name == "test" else 0)
    missing = evaluated(encoder, rows, batch_size=7).baselines["logprob_mean"].metrics
    assert isinstance(missing, NoMetrics)
    assert "3 of 70 rows have no log-probabilities recorded" in missing.reason


def test_validation_rows_choose_the_best_baseline(source_of, encoder):
    rows = sources(source_of)
    rows["val"].response_lengths = 10 * rows["val"].labels.astype(np.int32) + 1
    rows["train"].response_lengths = 10 * rows["train"].labels.astype(np.int32) + 1
    found = evaluated(encoder, rows)
    assert found.best_baseline is not None
    assert found.best_baseline.val_auroc["length"] == 1
    first = max(found.best_baseline.val_auroc, key=found.best_baseline.val_auroc.__getitem__)
    assert found.best_baseline.name == first
    (primary,) = [d for d in found.differences if d.primary]
    assert (primary.first, primary.second) == (found.choice.name, found.best_baseline.name)
    assert f"the best baseline, {found.best_baseline.name}" in found.verdict.sentence
    turned = sources(source_of)
    turned["test"].labels = 1 - turned["test"].labels
    turned["val"].response_lengths = rows["val"].response_lengths
    turned["train"].response_lengths = rows["train"].response_lengths
    assert evaluated(encoder, turned).best_baseline == found.best_baseline


def test_without_validation_rows_the_best_baseline_is_the_probe(source_of, encoder):
    rows = sources(source_of)
    del rows["val"]
    best = evaluated(encoder, rows).best_baseline
    assert best is not None
    assert (best.name, best.validated) == ("probe", False)


def test_baselines_on_validation_rows_are_those_rows_scores(source_of, encoder):
    rows = sources(source_of)
    found = evaluated(encoder, rows)
    swapped = evaluated(encoder, {**rows, "test": rows["val"], "val": rows["test"]})
    assert found.best_baseline is not None
    for name, auroc in found.best_baseline.val_auroc.items():
        scores = swapped.baselines[name].scores
        assert auroc == pytest.approx(roc_auc_score(rows["val"].labels, scores)), name
