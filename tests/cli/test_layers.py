"""The layers that a run draws its views from."""

import json

import pytest

from helpers.commands import change, error_of, train
from kview.cli import layers
from kview.cli.main import main
from kview.data import write_synthetic_store
from kview.train import select_layers


def layers_of(run) -> dict:
    return json.loads((run / "config.json").read_text())["layers"]


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """Sixteen layers, of which three hold the signal."""
    path = tmp_path_factory.mktemp("deep") / "store.zarr"
    write_synthetic_store(
        path,
        num_rows=160,
        num_layers=16,
        hidden_size=16,
        max_tokens=2,
        signal=4.0,
        signal_layers=[4, 9, 10],
    )
    return path


def test_by_default_they_are_selected_recorded_and_used_at_scoring(deep, tmp_path, capsys):
    run = tmp_path / "run"
    train(deep, run, "--num-views", "3", "--group-by", "group")
    kept = layers_of(run)
    assert kept["how"] == "selected"
    assert len(kept["ids"]) == 4
    assert {4, 9, 10} < set(kept["ids"])
    assert len(kept["probe_auroc"]) == 16
    assert f"views from layers {kept['ids']}" in capsys.readouterr().err
    main(["evaluate", str(run)])
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation["data"]["view_layers"] == kept["ids"]
    assert [layer["layer"] for layer in evaluation["layers"]] == list(range(16))
    scored = [layer["layer"] for layer in evaluation["layers"] if layer["knn"]["auroc"] is not None]
    assert scored == kept["ids"]
    assert f"{str(kept['ids'])[1:-1]} ({kept['reason']})" in (run / "report.html").read_text()


def test_of_many_rows_some_labelled_ones_choose(deep, tmp_path, monkeypatch):
    seen = []

    def selected(train, *, groups, **how):
        seen.append((train.labels, list(train.hashkeys), groups))
        return select_layers(train, groups=groups, **how)

    monkeypatch.setattr(layers, "_ROWS", 60)
    monkeypatch.setattr(layers, "select_layers", selected)
    train(deep, tmp_path / "run", "--num-views", "3", "--group-by", "group")
    ((labels, hashkeys, groups),) = seen
    assert len(labels) == len(set(hashkeys)) == 60
    rows = [int(key.rsplit("-", 1)[1]) for key in hashkeys]
    assert groups == [f"town {row // 2}" for row in rows]


def test_a_resumed_run_keeps_its_layers_without_choosing_again(deep, tmp_path, monkeypatch):
    run = tmp_path / "run"
    train(deep, run, "--num-views", "3", "--lr-schedule", "constant")
    kept = layers_of(run)

    def again(*_):
        raise AssertionError("chosen again")

    monkeypatch.setattr("kview.cli.train.choose_layers", again)
    main(["train", "--resume", str(run), "--max-epochs", "3"])
    assert layers_of(run) == kept


def test_a_resumed_run_takes_no_other_layers(deep, tmp_path, capsys):
    run = tmp_path / "run"
    train(deep, run, "--num-views", "3")
    before = (run / "config.json").read_text()
    message = error_of(capsys, "train", "--resume", str(run), "--view-layers", "all")
    assert "view_layers=all here and None in the run" in message
    assert (run / "config.json").read_text() == before


@pytest.mark.parametrize(
    ("flags", "ids", "how", "reason"),
    [
        (["--view-layers", "all"], list(range(16)), "all", "view_layers is all"),
        (["--view-layers", "2", "9", "10"], [2, 9, 10], "given", "given by view_layers"),
        (["--no-use-labels"], list(range(16)), "all", "does not look at labels"),
        (["--no-calibrate", "--view-layers", "2", "9", "10"], [2, 9, 10], "given", "given"),
        (["--fixed-layer", "3"], list(range(16)), "all", "a fixed_layer is a position among all"),
    ],
)
def test_they_can_be_all_or_given(deep, tmp_path, flags, ids, how, reason):
    run = tmp_path / "run"
    train(deep, run, "--num-views", "3", *flags)
    kept = layers_of(run)
    assert (kept["ids"], kept["how"]) == (ids, how)
    assert reason in kept["reason"]
    main(["evaluate", str(run)])
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation["data"]["view_layers"] == ids


def test_no_more_layers_than_views_are_all_taken(store, tmp_path):
    run = tmp_path / "run"
    train(store, run, "--num-views", "5")
    assert layers_of(run)["reason"] == "there are no more than K=5 layers"


def test_where_labels_are_too_few_all_are_taken_unless_selection_was_asked_for(tmp_path, capsys):
    path = tmp_path / "unlabelled.zarr"
    write_synthetic_store(
        path, num_rows=40, num_layers=6, hidden_size=8, max_tokens=2, unlabelled_share=1.0
    )
    train(path, tmp_path / "run", "--num-views", "2")
    assert layers_of(tmp_path / "run")["how"] == "all"
    assert "takes at least two of each" in layers_of(tmp_path / "run")["reason"]
    message = error_of(
        capsys, "train", str(path), "--out", str(tmp_path / "b"), "--view-layers", "selected"
    )
    assert "0 groups labelled hallucinated" in message


def test_a_position_cannot_be_fixed_among_layers_yet_to_be_chosen(deep, tmp_path, capsys):
    message = error_of(
        capsys,
        *("train", str(deep), "--out", str(tmp_path / "run")),
        *("--view-layers", "selected", "--fixed-layer", "1"),
    )
    assert "view_layers='selected' has yet to choose" in message


def test_a_run_that_names_no_layers_is_refused_with_the_way_out(deep, tmp_path, capsys):
    run = tmp_path / "run"
    train(deep, run, "--num-views", "3")
    change(run / "config.json", layers=None)
    assert "an older kview wrote it" in error_of(capsys, "evaluate", str(run))
