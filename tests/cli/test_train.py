"""`kview train`."""

import json
import shutil
import subprocess
import sys

import pytest

from helpers.commands import change, error_of, train
from kview.cli.main import main


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
    (run / "encoder.safetensors").unlink()
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


def test_a_finished_run_without_its_checkpoint_is_not_trained_again(store, tmp_path, capsys):
    run = tmp_path / "run"
    train(store, run)
    (run / "checkpoints" / "last.ckpt").unlink()
    weights = (run / "encoder.safetensors").read_bytes()
    message = error_of(capsys, "train", "--resume", str(run))
    assert "holds a finished run without checkpoints/last.ckpt" in message
    assert "holds a run already" in error_of(capsys, "train", str(store), "--out", str(run))
    assert (run / "encoder.safetensors").read_bytes() == weights


@pytest.mark.parametrize("damage", ["{", "[]", "{}"])
def test_damaged_timings_are_one_sentence(damage, store, tmp_path, capsys):
    run = tmp_path / "run"
    train(store, run)
    (run / "timings.jsonl").write_text(damage + "\n")
    assert "timings.jsonl" in error_of(capsys, "train", "--resume", str(run)).splitlines()[-1]
