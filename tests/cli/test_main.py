"""The commands as a user runs them."""

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from helpers.paths import REAL
from kview.cli.main import main
from kview.data import write_synthetic_store

ARCHIVE = REAL / "halueval_qa_minilm.tar.gz"


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "store.zarr"
    write_synthetic_store(path, num_rows=80, num_layers=5, hidden_size=16, max_tokens=4, seed=1)
    return path


def train(store: Path, run: Path, *flags: str) -> None:
    main(
        ["train", str(store), "--out", str(run), "--max-epochs", "2", "--batch-size", "16", *flags]
    )


def error_of(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 1
    return capsys.readouterr().err


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
    assert (run / "report.html").read_text().startswith("<!")
    lines = (run / "predictions.csv").read_text().splitlines()
    assert lines[0].startswith("hashkey,split,halu,knn")
    assert len(lines) == 1 + 16


def test_a_runs_own_config_makes_the_same_run(store, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    train(store, one, "--dropout", "0.3", "--num-views", "3")
    main(["train", "--config", str(one / "config.json"), "--out", str(two)])
    assert (one / "metrics.jsonl").read_bytes() == (two / "metrics.jsonl").read_bytes()
    assert json.loads((one / "config.json").read_text()) == json.loads(
        (two / "config.json").read_text()
    )


def test_flags_change_what_a_config_says(store, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    train(store, one, "--num-views", "3")
    main(["train", "--config", str(one / "config.json"), "--out", str(two), "--num-views", "2"])
    assert json.loads((two / "config.json").read_text())["trainer"]["num_views"] == 2


def test_resume_needs_nothing_but_the_run(store, tmp_path):
    run = tmp_path / "run"
    train(store, run)
    before = (run / "metrics.jsonl").read_bytes()
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()  # stopped before its first checkpoint
    main(["train", "--resume", str(run)])
    assert (run / "metrics.jsonl").read_bytes() == before
    main(["train", "--resume", str(run)])  # done already: nothing to do
    assert (run / "metrics.jsonl").read_bytes() == before


def test_too_many_views_is_one_clear_sentence(store, tmp_path, capsys):
    message = error_of(
        capsys, "train", str(store), "--out", str(tmp_path / "run"), "--num-views", "8"
    )
    assert message == (
        "kview: num_views=8 exceeds the 5 layers available (relevant_layers=0..4); lower num_views "
        "or pass view_sampling_with_replacement=True\n"
    )
    assert not (tmp_path / "run").exists()


def test_errors_say_the_way_out(store, tmp_path, capsys):
    assert "needs a STORE and --out RUN" in error_of(capsys, "train")
    assert "is no run folder" in error_of(capsys, "evaluate", str(tmp_path))
    run = tmp_path / "run"
    train(store, run)
    capsys.readouterr()
    again = error_of(capsys, "train", str(store), "--out", str(run))
    assert f"kview train --resume {run}" in again
    assert "add --layer-aware" in error_of(
        capsys, "train", str(store), "--out", str(tmp_path / "b"), "--no-calibrate"
    )
    assert "is no run's config.json" in error_of(
        capsys, "train", "--config", str(tmp_path / "none.json"), "--out", str(tmp_path / "c")
    )


def test_another_store_is_scored(store, tmp_path, capsys):
    run, other = tmp_path / "run", tmp_path / "other.zarr"
    train(store, run)
    sibling(other)
    main(["evaluate", str(run), str(other), "--embeddings", "--k", "3"])
    assert "30 test rows" in capsys.readouterr().out
    folder = run / "on-other.zarr"
    assert json.loads((folder / "evaluation.json").read_text())["detectors"]["knn"]["auroc"]
    assert (folder / "embeddings.safetensors").is_file()


def test_rows_that_were_trained_on_are_not_scored(store, tmp_path, capsys):
    run = tmp_path / "run"
    train(store, run)
    main(["evaluate", str(run), str(store)])
    printed = capsys.readouterr()
    assert "16 test rows" in printed.out
    assert "64 rows of" in printed.err


def test_a_matrix_of_runs_and_stores(store, tmp_path, capsys):
    for name in ("one", "two"):
        train(store, tmp_path / name)
    sibling(tmp_path / "other.zarr")
    runs = [str(tmp_path / name) for name in ("one", "two")]
    stores = ["--stores", str(tmp_path / "other.zarr")]
    main(["evaluate", "--matrix", *runs, *stores, "--out", str(tmp_path / "matrix")])
    cells = json.loads((tmp_path / "matrix" / "matrix.json").read_text())["cells"]
    assert [(c["run"], c["store"]) for c in cells] == [
        (run, where) for run in ("one", "two") for where in ("its own test rows", "other.zarr")
    ]
    assert "other.zarr" in capsys.readouterr().out
    assert (tmp_path / "matrix" / "matrix.html").is_file()
    assert "needs --out DIR" in error_of(capsys, "evaluate", "--matrix", *runs)
    assert "no effect without --matrix" in error_of(capsys, "evaluate", runs[0], *stores)


def sibling(path: Path) -> None:
    """Another store of the same model: other rows, and the name of the first one's model."""
    write_synthetic_store(path, num_rows=30, num_layers=5, hidden_size=16, max_tokens=4, seed=2)
    meta = path / "zarr.json"
    meta.write_text(meta.read_text().replace("synthetic (seed 2)", "synthetic (seed 1)"))


def test_a_store_of_another_model_is_refused(store, tmp_path, capsys):
    run, other = tmp_path / "run", tmp_path / "other.zarr"
    train(store, run)
    write_synthetic_store(other, num_rows=30, num_layers=5, hidden_size=8, max_tokens=4, seed=2)
    assert "hidden size 8 (the run: 16)" in error_of(capsys, "evaluate", str(run), str(other))


def test_the_demo_beats_its_baselines(tmp_path, capsys):
    run = tmp_path / "demo"
    main(["demo", "--out", str(run)])
    evaluation = json.loads((run / "evaluation.json").read_text())
    knn = evaluation["detectors"]["knn"]["auroc"]
    assert knn > 0.8
    assert knn > evaluation["baselines"]["probe"]["auroc"]
    assert knn > evaluation["baselines"]["length"]["auroc"]
    assert str(run / "report.html") in capsys.readouterr().out


def change(path: Path, **settings: object) -> None:
    """Writes other values into the parts of a config.json."""
    config = json.loads(path.read_text())
    for part, values in settings.items():
        config[part] = values if not isinstance(values, dict) else {**config[part], **values}
    path.write_text(json.dumps(config))


def test_flags_beside_resume_take_effect_or_are_refused(store, tmp_path, capsys):
    run = tmp_path / "run"
    train(store, run, "--lr-schedule", "constant")
    error = error_of(capsys, "train", "--resume", str(run), "--lr", "0.5")
    assert "lr: here 0.5, in the checkpoint 0.001" in error
    assert json.loads((run / "config.json").read_text())["trainer"]["lr"] == 0.001
    main(["train", "--resume", str(run), "--max-epochs", "3"])
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3
    assert json.loads((run / "config.json").read_text())["trainer"]["max_epochs"] == 3


def test_a_changed_encoder_is_refused_on_resume(store, tmp_path, capsys):
    run = tmp_path / "run"
    train(store, run)
    change(run / "config.json", encoder={"dropout": 0.7})
    assert "dropout: here 0.7" in error_of(capsys, "train", "--resume", str(run))


def test_data_that_changed_since_is_not_evaluated(store, tmp_path, capsys):
    run, copy = tmp_path / "run", tmp_path / "copy.zarr"
    shutil.copytree(store, copy)
    train(copy, run)
    shutil.rmtree(copy)
    write_synthetic_store(copy, num_rows=90, num_layers=5, hidden_size=16, max_tokens=4, seed=1)
    assert "is not what it was trained on" in error_of(capsys, "evaluate", str(run))


def test_report_leaves_the_figures_as_they_were(store, tmp_path, capsys):
    run = tmp_path / "run"
    train(store, run)
    main(["evaluate", str(run), "--k", "3", "--reference", "all"])
    before = [(run / name).read_bytes() for name in ("evaluation.json", "predictions.csv")]
    (run / "report.html").unlink()
    main(["report", str(run)])
    assert (run / "report.html").is_file()
    assert [(run / n).read_bytes() for n in ("evaluation.json", "predictions.csv")] == before


def test_a_matrix_needs_names_that_differ(tmp_path, capsys):
    runs = [str(tmp_path / name / "run") for name in ("a", "b")]
    error = error_of(capsys, "evaluate", "--matrix", *runs, "--out", str(tmp_path / "matrix"))
    assert "['run', 'run'] repeat one" in error


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged: it holds no JSON object"),
        ("{}", "names no store"),
        (
            '{"store": "s", "trainer": {"batch_size": "8"}}',
            "trainer.batch_size='8' should be a valid integer",
        ),
        ('{"store": "s", "trainer": []}', "trainer=[] should be an object"),
        (
            '{"store": "s", "encoder": {"depth": 3}}',
            "encoder.depth is no setting; known are embedding_dim",
        ),
    ],
)
def test_a_damaged_config_is_one_sentence(content, message, tmp_path, capsys):
    (tmp_path / "config.json").write_text(content)
    error = error_of(capsys, "evaluate", str(tmp_path))
    assert message in error
    assert error.count("\n") == 1


def test_errors_of_the_system_are_one_sentence(store, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    error = error_of(capsys, "train", str(store), "--out", str(tmp_path / "file"))
    assert error.splitlines()[-1].startswith("kview: ")
    assert "Traceback" not in error
    flags = ["--out", str(tmp_path / "run"), "--accelerator", "abacus"]
    assert "accelerator='abacus'" in error_of(capsys, "train", str(store), *flags)


def test_version_and_module():
    done = subprocess.run(
        [sys.executable, "-m", "kview.cli", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("kview 0.")


def test_two_processes_train_like_one(store, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    flags = ["--accelerator", "cpu", "--dropout", "0"]
    train(store, one, *flags)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "kview.cli", "train", str(store), "--out", str(two)]
    command += ["--max-epochs", "2", "--batch-size", "16", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ours, theirs = (
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (one, two)
    )
    for a, b in zip(ours, theirs, strict=True):
        assert numbers(a) == pytest.approx(numbers(b), rel=1e-4)


def numbers(line: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in line.items() if value is not None}


@pytest.mark.skipif(
    not ARCHIVE.is_file(), reason="the real activations are not beside the checkout"
)
def test_the_real_store_end_to_end(tmp_path, capsys):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    data, run = tmp_path / "halueval_qa_minilm", tmp_path / "run"
    main(
        [
            "train",
            str(data),
            "--out",
            str(run),
            "--num-views",
            "4",
            "--split",
            "two_way",
            "--seed",
            "42",
        ]
    )
    main(["evaluate", str(run)])
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation["detectors"]["knn"]["auroc"] >= 0.95
    assert "num_views=8 exceeds the 7 layers available" in error_of(
        capsys, "train", str(data), "--out", str(tmp_path / "b"), "--num-views", "8"
    )
