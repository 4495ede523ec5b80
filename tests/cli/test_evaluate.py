"""`kview evaluate` and `kview report`."""

import dataclasses
import json
import shutil
import tarfile

import pytest
from safetensors import safe_open

from helpers.commands import error_of, sibling, train
from helpers.foreign_stores import foreign
from helpers.paths import REAL
from kview.cli.main import main
from kview.data import prompt_key, write_synthetic_store

ARCHIVE = REAL / "halueval_qa_minilm.tar.gz"


@pytest.fixture(scope="module")
def evaluated(store, tmp_path_factory):
    run = tmp_path_factory.mktemp("evaluated") / "run"
    train(store, run)
    main(["evaluate", str(run)])
    return run


@pytest.mark.parametrize("flags", [[], ["--layer-aware"], ["--split", "three_way"]])
def test_train_then_evaluate(store, tmp_path, flags, capsys):
    run = tmp_path / "run"
    train(store, run, *flags)
    main(["evaluate", str(run)])
    printed = capsys.readouterr().out
    for name in ("knn", "mahalanobis", "cosine", "length", "probe", str(run / "report.html")):
        assert name in printed.replace("\n", "")
    evaluation = json.loads((run / "evaluation.json").read_text())
    for group, names in {
        "detectors": ("knn", "mahalanobis", "cosine"),
        "baselines": ("length", "probe"),
    }.items():
        for name in names:
            low, high = evaluation[group][name]["interval"]
            assert 0 <= low <= evaluation[group][name]["auroc"] <= high <= 1
    assert evaluation["verdict"]["sentence"] in printed
    assert "note: only 8 labelled groups" in printed
    assert (run / "report.html").read_text().startswith("<!")
    lines = (run / "predictions.csv").read_text().splitlines()
    assert lines[0].startswith("hashkey,split,halu,knn")
    assert len(lines) == 1 + 16


def test_log_probabilities_that_a_store_has_are_baselines(tmp_path, capsys):
    written = foreign(rows=60, top_k=2, write_keys=False)
    entries = [{**e, "key": prompt_key(e["prompt"])} for e in written.entries()]
    folder = dataclasses.replace(written, index=entries).write(tmp_path / "activations.zarr").parent
    lines = [json.dumps({"prompt": e["prompt"], "answer": e["response"]}) for e in entries]
    (folder / "generation.jsonl").write_text("\n".join(lines))
    verdicts = {"halu_test_res": [row % 2 == 0 for row in range(60)], "abstantion": [False] * 60}
    (folder / "eval_results.json").write_text(json.dumps(verdicts))
    run = tmp_path / "run"
    train(folder, run, "--num-views", "2")
    main(["evaluate", str(run)])
    baselines = json.loads((run / "evaluation.json").read_text())["baselines"]
    for name in ("logprob_mean", "logprob_min", "perplexity", "topk_entropy"):
        assert baselines[name]["auroc"] is not None, name
    assert "logprob_mean" in capsys.readouterr().out


def test_another_store_is_scored(store, tmp_path, capsys):
    run, other = tmp_path / "run", tmp_path / "other.zarr"
    train(store, run)
    sibling(other)
    main(["evaluate", str(run), str(other), "--embeddings", "--k", "3"])
    assert "30 test rows" in capsys.readouterr().out
    folder = run / "on-other.zarr"
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert (evaluation["data"]["n_test"], evaluation["data"]["k"]) == (30, 3)
    with safe_open(folder / "embeddings.safetensors", "numpy") as embeddings:
        assert embeddings.get_slice("z_views").get_shape() == [30, 4, 128]


def test_rows_that_were_trained_on_are_not_scored(store, tmp_path, capsys):
    run = tmp_path / "run"
    train(store, run)
    main(["evaluate", str(run), str(store)])
    printed = capsys.readouterr()
    assert "16 test rows" in printed.out
    assert "64 rows of" in printed.err


def test_a_store_of_another_model_is_refused(store, tmp_path, capsys):
    run, other = tmp_path / "run", tmp_path / "other.zarr"
    train(store, run)
    write_synthetic_store(other, num_rows=30, num_layers=5, hidden_size=8, max_tokens=4, seed=2)
    assert "hidden size 8 (the run: 16)" in error_of(capsys, "evaluate", str(run), str(other))


def test_data_that_changed_since_is_not_evaluated(store, tmp_path, capsys):
    run, copy = tmp_path / "run", tmp_path / "copy.zarr"
    shutil.copytree(store, copy)
    train(copy, run)
    shutil.rmtree(copy)
    write_synthetic_store(copy, num_rows=90, num_layers=5, hidden_size=16, max_tokens=4, seed=1)
    assert "is not what it was trained on" in error_of(capsys, "evaluate", str(run))


def test_report_draws_the_same_page_from_what_was_kept(store, tmp_path, capsys):
    run, copy = tmp_path / "run", tmp_path / "copy.zarr"
    shutil.copytree(store, copy)
    train(copy, run)
    main(["evaluate", str(run), "--k", "3", "--reference", "all"])
    names = ("evaluation.json", "predictions.csv", "report.html", "figures/roc.svg")
    before = [(run / name).read_bytes() for name in names]
    (run / "report.html").unlink()
    shutil.rmtree(run / "figures")
    shutil.rmtree(copy)  # neither the store nor the encoder is needed
    (run / "encoder.safetensors").unlink()
    main(["report", str(run)])
    assert [(run / name).read_bytes() for name in names] == before


def test_there_is_nothing_to_report_before_an_evaluation(store, tmp_path, capsys):
    train(store, tmp_path / "run")
    assert "run kview evaluate first" in error_of(capsys, "report", str(tmp_path / "run"))


def test_stores_with_one_name_go_to_folders_of_their_own(store, tmp_path):
    run = tmp_path / "run"
    train(store, run)
    others = [tmp_path / name / "other.zarr" for name in ("a", "b")]
    for other in others:
        other.parent.mkdir()
        sibling(other)
    for other in (*others, *others):
        main(["evaluate", str(run), str(other)])
    folders = sorted(path for path in run.iterdir() if path.name.startswith("on-"))
    assert len(folders) == 2
    assert folders[0].name == "on-other.zarr"
    kept = [json.loads((f / "report.json").read_text())["data_summary"]["store"] for f in folders]
    assert kept == [str(other.resolve()) for other in others]


def test_a_store_that_has_moved_is_pointed_at(store, tmp_path, capsys):
    run, before, after = tmp_path / "run", tmp_path / "before.zarr", tmp_path / "after.zarr"
    shutil.copytree(store, before)
    train(before, run)
    before.rename(after)
    assert "--store-of-run says where to" in error_of(capsys, "evaluate", str(run))
    main(["evaluate", str(run), "--store-of-run", str(after)])
    assert (run / "evaluation.json").is_file()


def test_a_detector_that_fails_is_named_and_the_others_are_written(
    store, tmp_path, capsys, monkeypatch
):
    def broken(*_):
        raise ZeroDivisionError("by zero")

    run = tmp_path / "run"
    train(store, run)
    monkeypatch.setattr("kview.eval.CosineDetector.score", broken)
    said = error_of(capsys, "evaluate", str(run))
    assert f"kview: failed: cosine on {run}" in said
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert "ZeroDivisionError: by zero" in evaluation["detectors"]["cosine"]["reason"]
    assert evaluation["detectors"]["knn"]["auroc"] is not None
    assert (run / "report.html").is_file()


def test_more_views_than_layers_can_be_evaluated_as_they_are_trained(store, tmp_path):
    run = tmp_path / "run"
    train(store, run, "--num-views", "8", "--view-sampling-with-replacement")
    main(["evaluate", str(run)])
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation["data"]["view_layers"] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"schema": "kview-report/1"}', "\udcff"])
def test_a_damaged_evaluation_is_one_sentence(damage, evaluated, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(evaluated, run)
    (run / "report.json").write_bytes(damage.encode(errors="surrogateescape"))
    assert "is damaged" in error_of(capsys, "report", str(run)).splitlines()[-1]


def test_predictions_that_are_cut_off_are_one_sentence(evaluated, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(evaluated, run)
    lines = (run / "predictions.csv").read_text().splitlines()
    (run / "predictions.csv").write_text("\n".join([*lines[:5], lines[5][:20]]))
    error = error_of(capsys, "report", str(run))
    assert "predictions.csv beside it, is damaged" in error.splitlines()[-1]


@pytest.mark.skipif(
    not ARCHIVE.is_file(), reason="the real activations are not beside the checkout"
)
def test_the_real_store_end_to_end(tmp_path, capsys):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    data, run = tmp_path / "halueval_qa_minilm", tmp_path / "run"
    flags = ["--num-views", "4", "--split", "two_way", "--seed", "42"]
    main(["train", str(data), "--out", str(run), *flags])
    main(["evaluate", str(run)])
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation["detectors"]["knn"]["auroc"] >= 0.95
    assert "num_views=8 exceeds the 7 layers available" in error_of(
        capsys, "train", str(data), "--out", str(tmp_path / "b"), "--num-views", "8"
    )
