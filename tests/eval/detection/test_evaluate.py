"""Detection from end to end."""

import csv
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from sklearn.metrics import roc_auc_score

from kview.contracts import ConfigError, LabelError, ViewEncoder
from kview.eval import (
    DetectionMetrics,
    KNNDetector,
    NoMetrics,
    Scored,
    choose_k,
    default_detectors,
    embed,
    evaluate_detection,
    reference_set,
    write_evaluation,
    write_report,
)
from kview.eval.detection.comparison import LabelledRows

VIEWS = (0, 2, 4)
BASELINES = (
    *("length", "probe", "probe_mean", "mass_mean"),
    *("knn_means", "two_class_knn_means", "logistic_means"),
    *("knn_untrained", "two_class_knn_untrained", "logistic_untrained"),
)


def auroc(scored: Scored) -> float:
    assert isinstance(scored.metrics, DetectionMetrics)
    return scored.metrics.auroc.value


def scores_of(scored: Scored) -> np.ndarray:
    assert scored.scores is not None
    return scored.scores


def run(source_of, encoder, *, relabel=None, validated=False, **settings):
    train, test = source_of(60, seed=1), source_of(40, seed=2, prefix="t")
    if validated:
        settings["val"] = source_of(30, seed=3, prefix="v")
    if relabel is not None:
        test.labels = relabel(test.labels)
    return evaluate_detection(
        encoder, train=train, test=test, **{"views": VIEWS, "n_resamples": 50, **settings}
    )


def test_each_split_is_read_once(source_of, encoder):
    reads = []

    def counted(source):
        batches = source.batches

        def count(**reading):
            reads.append(source.hashkeys[0])
            return batches(**reading)

        source.batches = count
        return source

    train, test = source_of(60, seed=1), source_of(40, seed=2, prefix="t")
    val = source_of(30, seed=3, prefix="v")
    evaluate_detection(
        encoder, train=counted(train), test=counted(test), val=counted(val), n_resamples=10
    )
    assert sorted(reads) == ["row0", "t0", "v0"]


def test_scores_are_those_of_embedding_the_views_and_reading_the_layers_apart(source_of, encoder):
    found = run(source_of, encoder)
    train, test = (
        embed(encoder, source_of(n, seed=seed, views=VIEWS)) for n, seed in ((60, 1), (40, 2))
    )
    reference = reference_set(train, "not_hallucinated")
    for name, detector in default_detectors().items():
        fitted = detector.fit(train if getattr(detector, "two_class", False) else reference)
        expected = fitted.score(test).numpy()
        np.testing.assert_allclose(scores_of(found.detectors[name]), expected, rtol=1e-5, atol=1e-6)
    lengths = source_of(40, seed=2).response_lengths
    assert np.abs(scores_of(found.baselines["length"])).tolist() == lengths.tolist()
    all_views = run(source_of, encoder, views=None)
    assert all_views.view_layers == (0, 1, 2, 3, 4)
    assert all_views.embeddings is not None
    assert all_views.embeddings.z_views.shape == (40, 5, 6)


@pytest.mark.parametrize("views", [(0,), (0, 0, 2), (0, 5), (-1, 2)])
def test_views_that_are_not_positions_are_refused(source_of, encoder, views):
    with pytest.raises(ConfigError, match=r"at least two positions from 0 to 4, each once"):
        run(source_of, encoder, views=views)


@pytest.mark.parametrize(
    ("settings", "match"), [({"batch_size": 0}, "batch_size=0"), ({"n_resamples": -1}, "=-1")]
)
def test_settings_out_of_range_are_refused(source_of, encoder, settings, match):
    with pytest.raises(ConfigError, match=match):
        run(source_of, encoder, **settings)


def test_sources_have_to_show_every_layer_and_the_same(source_of, encoder):
    every, other = source_of(20), source_of(20, layers=4)
    with pytest.raises(ConfigError, match="3 views of 5 layers"):
        evaluate_detection(encoder, train=every, test=source_of(20, views=VIEWS))
    with pytest.raises(ConfigError, match="needs the same one"):
        evaluate_detection(encoder, train=every, test=other)


def test_the_signal_is_found_and_beside_it_stand_the_baselines(source_of, encoder):
    found = run(source_of, encoder)
    assert auroc(found.detectors["knn"]) > 0.8
    assert auroc(found.baselines["probe"]) > 0.8
    assert auroc(found.baselines["length"]) < 0.8
    assert (found.n_train, found.n_reference) == (60, 30)
    assert found.view_layers == VIEWS
    chosen = [layer for layer in found.layers if layer.chosen]
    assert len(chosen) == 1
    assert chosen[0].layer >= 2
    assert found.best_baseline is not None
    assert (found.best_baseline.name, found.best_baseline.validated) == ("probe", False)
    others = [name for name in default_detectors() if name != "knn"]
    assert [(d.first, d.second) for d in found.differences] == [
        *(("knn", baseline) for baseline in found.baselines),
        *((detector, "probe") for detector in others),
    ]


def test_the_probe_layer_is_chosen_without_the_test_labels(source_of, encoder):
    first = run(source_of, encoder)
    other = run(source_of, encoder, relabel=lambda labels: 1 - labels)
    assert [p.probe_cv_auroc for p in first.layers] == [p.probe_cv_auroc for p in other.layers]
    for name, scored in first.scored.items():
        np.testing.assert_array_equal(scored.scores, other.scored[name].scores)


def test_what_each_layer_detects_stands_beside_it(source_of, encoder):
    found = run(source_of, encoder, views=(1, 2, 4))
    assert [layer.layer for layer in found.layers] == [0, 1, 2, 3, 4]
    knn = {
        layer.layer: layer.knn.auroc.value
        for layer in found.layers
        if not isinstance(layer.knn, NoMetrics)
    }
    assert list(knn) == [1, 2, 4]
    assert knn[1] < min(knn[2], knn[4])
    z = embed(encoder, source_of(40, seed=2, views=(1, 2, 4))).z_views.double()
    unit = z / z.norm(dim=-1, keepdim=True)
    similarity = torch.einsum("nld,nmd->lm", unit, unit) / 40
    np.testing.assert_allclose(found.layer_map.similarity, similarity.numpy(), atol=1e-6)
    assert found.layer_map.layers == (1, 2, 4)
    assert found.layer_map.points.shape == (40, 3, 2)
    assert 0 < sum(found.layer_map.explained) <= 1


def test_by_default_the_views_are_the_layers_that_the_encoder_knows(source_of, encoder):
    class OfTwo(torch.nn.Module):
        layer_ids = (1, 3)

        def forward(self, x, *, layer_idx, token_mask):
            return encoder(x, token_mask=token_mask)

    encoder.eval()
    assert run(source_of, OfTwo(), views=None).view_layers == (1, 3)
    assert run(source_of, ViewEncoder(OfTwo()), views=None).view_layers == (1, 3)
    assert run(source_of, encoder, views=None).view_layers == (0, 1, 2, 3, 4)


def test_k_is_chosen_on_validation_rows_where_asked(source_of, encoder, tmp_path):
    found = run(source_of, encoder, validated=True, k="validation")
    train = embed(encoder, source_of(60, seed=1, views=VIEWS))
    val = embed(encoder, source_of(30, seed=3, views=VIEWS))
    assert found.k == choose_k(train, val).k
    write_evaluation(tmp_path, found)
    assert json.loads((tmp_path / "evaluation.json").read_text())["data"]["k"] == found.k
    with pytest.raises(LabelError, match="validation rows of both labels"):
        run(source_of, encoder, k="validation")


def test_validation_rows_choose_the_detector(source_of, encoder, tmp_path):
    found = run(source_of, encoder, validated=True)
    val = source_of(30, seed=3, views=VIEWS)
    train = embed(encoder, source_of(60, seed=1, views=VIEWS))
    reference = reference_set(train, "not_hallucinated")
    expected = {}
    for name, detector in default_detectors().items():
        fitted = detector.fit(train if getattr(detector, "two_class", False) else reference)
        expected[name] = roc_auc_score(val.labels, fitted.score(embed(encoder, val)).numpy())
    assert found.choice.val_auroc == pytest.approx(expected)
    assert found.choice.name == max(expected, key=expected.__getitem__)
    write_evaluation(tmp_path, found)
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written["chosen"] == found.choice.name
    assert written["choice"]["validated"] is True
    assert written["data"]["n_val"] == 30


def one_class(source):
    source.labels = np.zeros_like(source.labels)
    return source


def test_without_validation_rows_the_detector_is_knn_and_unchosen(source_of, encoder, tmp_path):
    for found in (
        run(source_of, encoder),
        run(source_of, encoder, val=one_class(source_of(30, seed=3))),
    ):
        assert (found.choice.name, found.choice.validated) == ("knn", False)
        assert "no validation rows of both labels" in found.choice.reason
        for scored in found.scored.values():
            assert isinstance(scored.metrics, DetectionMetrics)
            assert scored.metrics.calibration is None
        write_evaluation(tmp_path, found)
        written = json.loads((tmp_path / "evaluation.json").read_text())
        assert (written["chosen"], written["choice"]["validated"]) == ("knn", False)


def test_what_does_not_fit_is_refused_before_anything_is_read(source_of, encoder):
    with pytest.raises(ConfigError, match="reference"):
        run(source_of, encoder, reference="hallucinated")
    with pytest.raises(LabelError, match="3 groups for 40 rows"):
        run(source_of, encoder, groups=["a"] * 3)
    with pytest.raises(LabelError, match="3 groups for 60 rows"):
        run(source_of, encoder, train_groups=["a"] * 3)
    with pytest.raises(ConfigError, match=r"detectors \['probe'\] have the names of baselines"):
        run(source_of, encoder, detectors={"probe": KNNDetector()})


def test_nothing_is_said_of_two_classes_where_train_has_one(source_of, encoder):
    train, test = one_class(source_of(60, seed=1)), source_of(40, seed=2, prefix="t")
    found = evaluate_detection(encoder, train=train, test=test, n_resamples=10)
    assert isinstance(found.detectors["knn"].metrics, DetectionMetrics)
    for name in ("two_class_knn", "logistic"):
        assert found.detectors[name].scores is None
        metrics = found.detectors[name].metrics
        assert isinstance(metrics, NoMetrics)
        assert "labelled 0 and 1" in metrics.reason


def test_a_detector_of_ones_own_is_judged_like_the_others(source_of, encoder):
    class Constant:
        def fit(self, reference):
            return self

        def score(self, batch):
            return torch.zeros(len(batch), dtype=torch.float64)

    found = run(source_of, encoder, detectors={"constant": Constant()})
    assert list(found.detectors) == ["constant"]
    assert auroc(found.detectors["constant"]) == 0.5


def test_intervals_keep_the_test_rows_groups_together(source_of, encoder):
    groups = [f"g{i * 7 % 11}" for i in range(40)]
    found = run(source_of, encoder, groups=groups)
    knn = found.detectors["knn"]
    expected = LabelledRows(found.labels, groups, 50, found.seed).metrics(scores_of(knn))
    assert isinstance(knn.metrics, DetectionMetrics)
    assert isinstance(expected, DetectionMetrics)
    assert knn.metrics.auroc == expected.auroc
    assert found.grouped


def test_embeddings_are_written_on_request(source_of, encoder, tmp_path):
    found = run(source_of, encoder)
    write_evaluation(tmp_path, found)
    assert found.embeddings is not None
    assert not (tmp_path / "embeddings.safetensors").exists()
    write_evaluation(tmp_path, found, embeddings=True)
    with safe_open(tmp_path / "embeddings.safetensors", framework="pt") as file:
        torch.testing.assert_close(file.get_tensor("z_views"), found.embeddings.z_views)
        assert file.get_tensor("halu").tolist() == found.labels.tolist()
        assert json.loads(file.metadata()["hashkey"]) == list(found.hashkeys)


def test_files_hold_the_metrics_and_a_row_per_sample(source_of, encoder, tmp_path):
    found = run(
        source_of,
        encoder,
        validated=True,
        relabel=lambda y: np.where(np.arange(len(y)) == 3, -1, y),
    )
    write_evaluation(tmp_path, found)
    written = json.loads((tmp_path / "evaluation.json").read_text())
    for name in ("knn", "mahalanobis", "cosine"):
        entry, metrics = written["detectors"][name], found.detectors[name].metrics
        assert isinstance(metrics, DetectionMetrics)
        assert (entry["auroc"], tuple(entry["interval"])) == (
            metrics.auroc.value,
            metrics.auroc.interval,
        )
        assert metrics.calibration is not None
        estimates = {
            "average_precision": metrics.average_precision,
            "fpr95": metrics.fpr95,
            "aurc": metrics.aurc,
            "prediction_rejection": metrics.prediction_rejection,
            "brier": metrics.calibration.brier,
            "log_loss": metrics.calibration.log_loss,
        }
        for other, estimate in estimates.items():
            interval = None if estimate.interval is None else list(estimate.interval)
            assert (entry[other], entry[f"{other}_interval"]) == (estimate.value, interval)
        assert entry["calibration_error"] == metrics.calibration.error
        assert sum(bin["count"] for bin in entry["reliability"]) == 39
        assert set(entry["reliability"][0]) == {"count", "probability", "frequency"}
        assert (entry["n_positive"], entry["n_negative"]) == (19, 20)
        assert entry["notes"] == list(metrics.notes)
    assert [d["primary"] for d in written["differences"]].count(True) == 1
    for d, difference in zip(written["differences"], found.differences, strict=True):
        assert (d["p"], d["p_adjusted"]) == (difference.p, difference.p_adjusted)
    assert written["verdict"] == {
        "outcome": found.verdict.outcome,
        "sentence": found.verdict.sentence,
    }
    assert list(written["baselines"]) == list(found.baselines)
    (chosen,) = [layer.layer for layer in found.layers if layer.chosen]
    assert written["baselines"]["probe"]["layer"] == chosen
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("hashkey", "split", "halu"),
        *default_detectors(),
        *BASELINES,
    ]
    assert [row["hashkey"] for row in rows] == list(found.hashkeys)
    assert rows[3]["halu"] == "-1"
    assert float(rows[3]["knn"]) == scores_of(found.detectors["knn"])[3]


@pytest.mark.parametrize(
    ("relabel", "match"),
    [
        (lambda y: np.full_like(y, -1), "none of the 40 samples is labelled"),
        (lambda y: np.zeros_like(y), "all 40 labelled samples are not hallucinated"),
    ],
)
def test_without_both_classes_there_are_scores_and_a_reason(
    source_of, encoder, tmp_path, relabel, match
):
    found = run(source_of, encoder, relabel=relabel)
    for scored in found.scored.values():
        assert isinstance(scored.metrics, NoMetrics)
        assert match in scored.metrics.reason
        assert np.isfinite(scores_of(scored)).all()
    assert found.differences == ()
    write_evaluation(tmp_path, found)
    entry = json.loads((tmp_path / "evaluation.json").read_text())["detectors"]["knn"]
    assert (entry["auroc"], entry["interval"]) == (None, None)
    assert match in entry["reason"]
    page = write_report(tmp_path, evaluation=found, metrics=[], config={}, data_summary={})
    assert match in page.read_text()
    assert found.verdict.outcome == "cannot_tell"
    assert match in found.verdict.sentence


def test_training_rows_without_labels_need_another_reference(source_of, encoder):
    train, test = source_of(20, seed=1), source_of(20, seed=2)
    train.labels = np.full(20, -1, dtype=np.int8)
    with pytest.raises(LabelError, match='pass reference="all"'):
        evaluate_detection(encoder, train=train, test=test)
    found = evaluate_detection(encoder, train=train, test=test, reference="all", n_resamples=10)
    assert found.n_reference == 20
    assert found.baselines["probe"].scores is None
    missing = found.baselines["probe"].metrics
    assert isinstance(missing, NoMetrics)
    assert "at least two of each" in missing.reason
    knn = found.detectors["knn"]
    assert auroc(knn) == pytest.approx(roc_auc_score(test.labels, scores_of(knn)))
