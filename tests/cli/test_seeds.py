"""Runs that are trained several times on one split."""

import json
import shutil
from statistics import mean, stdev

import pytest

from helpers.commands import error_of, train
from kview.cli.main import main


def read(path):
    return json.loads(path.read_text())


def test_the_seed_moves_training_and_not_the_split(store, tmp_path):
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    train(store, one, "--seed", "1")
    train(store, two, "--seed", "2")
    train(store, three, "--seed", "1", "--split-seed", "2")
    prints = [read(run / "config.json")["fingerprint"]["train"] for run in (one, two, three)]
    for run in (one, two, three):
        main(["evaluate", str(run)])
    rows = [
        [line.split(",")[0] for line in (run / "predictions.csv").read_text().splitlines()]
        for run in (one, two, three)
    ]
    assert rows[0] == rows[1] != rows[2]
    assert len(set(prints)) == 3
    losses = [(run / "metrics.jsonl").read_text() for run in (one, two)]
    assert losses[0] != losses[1]


@pytest.fixture(scope="module")
def seeded(store, tmp_path_factory):
    run = tmp_path_factory.mktemp("seeded") / "run"
    train(store, run, "--seed", "5", "--seeds", "2", "--lr-schedule", "constant")
    return run


def test_each_training_has_a_folder_and_is_the_run_of_its_seed(store, seeded, tmp_path):
    assert sorted(path.name for path in seeded.iterdir() if path.is_dir()) == ["seed-5", "seed-6"]
    train(store, tmp_path / "alone", "--seed", "6", "--lr-schedule", "constant")
    alone = (tmp_path / "alone" / "metrics.jsonl").read_bytes()
    assert (seeded / "seed-6" / "metrics.jsonl").read_bytes() == alone


def test_evaluate_tells_mean_and_spread_over_training(seeded, capsys):
    main(["evaluate", str(seeded)])
    found = read(seeded / "evaluation.json")
    each = [read(seeded / f"seed-{seed}" / "evaluation.json") for seed in (5, 6)]
    assert found["seeds"] == [5, 6]
    assert found["chosen"] == [one["chosen"] for one in each]
    knn = [one["detectors"]["knn"]["auroc"] for one in each]
    chosen = [one["detectors"][one["chosen"]]["auroc"] for one in each]
    best = [one["baselines"][one["best_baseline"]["name"]]["auroc"] for one in each]
    for name, values in (("knn", knn), ("chosen", chosen), ("best_baseline", best)):
        assert found["auroc"][name]["values"] == values
        assert found["auroc"][name]["mean"] == pytest.approx(mean(values))
        assert found["auroc"][name]["deviation"] == pytest.approx(stdev(values))
    assert f"{mean(knn):.3f}" in capsys.readouterr().out
    page = (seeded / "report.html").read_bytes()
    assert all(f'href="seed-{seed}/report.html"'.encode() in page for seed in (5, 6))
    assert all(one["verdict"]["sentence"][:40].encode() in page for one in each)
    (seeded / "report.html").unlink()
    main(["report", str(seeded)])
    assert (seeded / "report.html").read_bytes() == page


def test_a_resume_goes_on_with_the_trainings_that_are_left(seeded, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(seeded, run)
    shutil.rmtree(run / "seed-6")
    kept = (run / "seed-5" / "encoder.safetensors").stat().st_mtime_ns
    main(["train", "--resume", str(run)])
    for name in ("metrics.jsonl", "encoder.safetensors"):
        ours, theirs = ((r / "seed-6" / name).read_bytes() for r in (run, seeded))
        assert ours == theirs
    assert len((run / "seed-5" / "metrics.jsonl").read_text().splitlines()) == 2
    assert kept <= (run / "seed-5" / "encoder.safetensors").stat().st_mtime_ns


def test_a_training_that_is_missing_is_named_and_the_others_are_evaluated(seeded, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(seeded, run)
    (run / "seed-5" / "encoder.safetensors").unlink()
    assert "seed-5" in error_of(capsys, "evaluate", str(run))
    assert read(run / "evaluation.json")["seeds"] == [6]


def test_seeds_go_with_a_new_run_only(store, seeded, tmp_path, capsys):
    for flags in (["--seeds", "2"], []):
        message = error_of(capsys, "train", str(store), "--out", str(seeded), *flags)
        assert f"kview train --resume {seeded}" in message
    assert "leave out" in error_of(capsys, "train", "--resume", str(seeded), "--seeds", "3")
    message = error_of(capsys, "train", str(store), "--out", str(tmp_path / "r"), "--seeds", "0")
    assert "seeds=0" in message
