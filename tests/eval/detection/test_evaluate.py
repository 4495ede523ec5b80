"""Detection from end to end."""

import csv
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from kview.contracts import ConfigError, LabelError
from kview.eval import (
    DetectionFigures,
    NoFigures,
    Scored,
    choose_k,
    embed,
    evaluate_detection,
    evenly_spaced,
    write_report,
)
from kview.eval.detection.scoring import detection_figures, resamples

VIEWS = (0, 2, 4)


def auroc(scored: Scored) -> float:
    assert isinstance(scored.figures, DetectionFigures)
    return scored.figures.auroc.value


def scores_of(scored: Scored) -> np.ndarray:
    assert scored.scores is not None
    return scored.scores


def run(source_of, encoder, *, relabel=None, **settings):
    train, test = source_of(60, seed=1, views=VIEWS), source_of(40, seed=2, views=VIEWS, prefix="t")
    train_layers, test_layers = source_of(60, seed=1), source_of(40, seed=2, prefix="t")
    if relabel is not None:
        for source in (test, test_layers):
            source.labels = relabel(source.labels)
    return evaluate_detection(
        encoder,
        train=train,
        test=test,
        train_layers=train_layers,
        test_layers=test_layers,
        **{"n_resamples": 50, **settings},
    )


def test_embeddings_are_the_rows_in_order_in_eval_mode(source_of, encoder):
    source = source_of(10, views=VIEWS)
    encoder.train()
    whole, cut = embed(encoder, source), embed(encoder, source, batch_size=3)
    assert encoder.training
    assert whole.hashkey == cut.hashkey == source.hashkeys
    torch.testing.assert_close(whole.z_views, cut.z_views)
    assert whole["halu"].tolist() == source.labels.tolist()


def test_views_are_spread_evenly():
    assert evenly_spaced(7, 2) == (0, 6)
    assert evenly_spaced(7, 4) == (0, 2, 4, 6)
    assert evenly_spaced(5, 5) == (0, 1, 2, 3, 4)
    for layers in range(2, 40):
        for k in range(2, layers + 1):
            steps = np.diff(evenly_spaced(layers, k))
            assert len(steps) == k - 1
            assert steps.min() >= 1
            assert steps.max() - steps.min() <= 1
    with pytest.raises(ConfigError, match=r"num_views=8 .* 7 layers"):
        evenly_spaced(7, 8)


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
    assert {(d.first, d.second) for d in found.differences} == {
        (d, b) for d in ("knn", "mahalanobis", "cosine") for b in ("length", "probe")
    }


def test_the_probe_layer_is_chosen_without_the_test_labels(source_of, encoder):
    first = run(source_of, encoder)
    other = run(source_of, encoder, relabel=lambda labels: 1 - labels)
    assert [p.probe_cv_auroc for p in first.layers] == [p.probe_cv_auroc for p in other.layers]
    for name, scored in first.scored.items():
        np.testing.assert_array_equal(scored.scores, other.scored[name].scores)


def test_what_each_layer_detects_stands_beside_it(source_of, encoder):
    found = run(source_of, encoder)
    assert [layer.layer for layer in found.layers] == [0, 1, 2, 3, 4]
    knn = [layer.knn.auroc.value for layer in found.layers if not isinstance(layer.knn, NoFigures)]
    assert max(knn[:2]) < min(knn[2:])
    z = embed(encoder, source_of(40, seed=2)).z_views.double()
    unit = z / z.norm(dim=-1, keepdim=True)
    similarity = torch.einsum("nld,nmd->lm", unit, unit) / 40
    np.testing.assert_allclose(found.layer_map.similarity, similarity.numpy(), atol=1e-6)
    assert found.layer_map.points.shape == (40, 5, 2)
    assert 0 < sum(found.layer_map.explained) <= 1


def test_k_is_chosen_on_train_where_asked(source_of, encoder, tmp_path):
    found = run(source_of, encoder, k="leave_one_out")
    train = embed(encoder, source_of(60, seed=1, views=VIEWS))
    assert found.k == choose_k(train).k
    found.write(tmp_path)
    assert json.loads((tmp_path / "evaluation.json").read_text())["data"]["k"] == found.k


def test_a_detector_of_ones_own_is_judged_like_the_others(source_of, encoder):
    class Constant:
        def fit(self, reference):
            return self

        def score(self, batch):
            return torch.zeros(len(batch), dtype=torch.float64)

    found = run(source_of, encoder, detectors={"constant": Constant()})
    assert list(found.detectors) == ["constant"]
    assert auroc(found.detectors["constant"]) == 0.5


def test_intervals_keep_the_labelled_rows_groups_together(source_of, encoder):
    def relabel(labels):
        return np.where(np.arange(40) % 5 == 0, -1, labels)

    groups = [f"g{i * 7 % 11}" for i in range(40)]
    found = run(source_of, encoder, relabel=relabel, groups=groups)
    known = found.labels >= 0
    draws = resamples(
        found.labels[known], groups=list(np.array(groups)[known]), count=50, seed=found.seed
    )
    scored = found.detectors["knn"]
    assert isinstance(scored.figures, DetectionFigures)
    expected = detection_figures(scores_of(scored)[known], found.labels[known], draws)
    assert scored.figures.auroc == expected.auroc
    assert found.grouped


def test_embeddings_are_written_on_request(source_of, encoder, tmp_path):
    found = run(source_of, encoder)
    found.write(tmp_path)
    assert not (tmp_path / "embeddings.safetensors").exists()
    found.write(tmp_path, embeddings=True)
    with safe_open(tmp_path / "embeddings.safetensors", framework="pt") as file:
        torch.testing.assert_close(file.get_tensor("z_views"), found.embeddings.z_views)
        assert file.get_tensor("halu").tolist() == found.labels.tolist()
        assert json.loads(file.metadata()["hashkey"]) == list(found.hashkeys)


def test_files_hold_the_figures_and_a_row_a_sample(source_of, encoder, tmp_path):
    found = run(source_of, encoder, relabel=lambda y: np.where(np.arange(len(y)) == 3, -1, y))
    found.write(tmp_path)
    written = json.loads((tmp_path / "evaluation.json").read_text())
    for name in ("knn", "mahalanobis", "cosine"):
        entry = written["detectors"][name]
        assert entry["auroc"] == auroc(found.detectors[name])
        low, high = entry["interval"]
        assert low <= entry["auroc"] <= high
        assert {"average_precision", "fpr95", "calibration_error"} < set(entry)
    assert set(written["baselines"]) == {"length", "probe"}
    assert all("interval" in entry for entry in written["baselines"].values())
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("hashkey", "split", "halu"),
        *("knn", "mahalanobis", "cosine", "length", "probe"),
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
        assert isinstance(scored.figures, NoFigures)
        assert match in scored.figures.reason
        assert np.isfinite(scores_of(scored)).all()
    assert found.differences == ()
    found.write(tmp_path)
    entry = json.loads((tmp_path / "evaluation.json").read_text())["detectors"]["knn"]
    assert (entry["auroc"], entry["interval"]) == (None, None)
    assert match in entry["reason"]
    page = write_report(tmp_path, evaluation=found, metrics=[], config={}, data_summary={})
    assert match in page.read_text()


def test_training_rows_without_labels_need_another_reference(source_of, encoder):
    train, test = source_of(20, seed=1, views=VIEWS), source_of(20, seed=2, views=VIEWS)
    layers = source_of(20, seed=1)
    train.labels = layers.labels = np.full(20, -1, dtype=np.int8)
    sources = {"train": train, "test": test, "train_layers": layers}
    sources["test_layers"] = source_of(20, seed=2)
    with pytest.raises(LabelError, match='pass reference="all"'):
        evaluate_detection(encoder, **sources)
    found = evaluate_detection(encoder, **sources, reference="all", n_resamples=10)
    assert found.n_reference == 20
    assert found.baselines["probe"].scores is None
    missing = found.baselines["probe"].figures
    assert isinstance(missing, NoFigures)
    assert "at least two of each" in missing.reason
    assert auroc(found.detectors["knn"]) >= 0
