"""The program as a whole: its errors, its version."""

import subprocess
import sys
from importlib.metadata import version

import pytest
import torch

from helpers.commands import change, error_of, train
from kview.cli.main import _RUN, main
from kview.cli.train import Train


def test_errors_say_the_way_out(store, tmp_path, capsys):
    assert "needs a STORE and --out RUN" in error_of(capsys, "train")
    assert "is no run folder" in error_of(capsys, "evaluate", str(tmp_path))
    run = tmp_path / "run"
    train(store, run)
    capsys.readouterr()
    again = error_of(capsys, "train", str(store), "--out", str(run))
    assert f"kview train --resume {run}" in again
    assert "add --layer-aware" in error_of(
        capsys, "train", str(store), "--out", str(tmp_path / "b"), "--conditioning", "film_out"
    )
    assert "is no run's config.json" in error_of(
        capsys, "train", "--config", str(tmp_path / "none.json"), "--out", str(tmp_path / "c")
    )


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


def test_alone_it_prints_its_help(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0
    assert "evaluate" in capsys.readouterr().out


def test_a_device_that_is_not_there_is_one_sentence(store, tmp_path, capsys):
    train(store, tmp_path / "run")
    for name in ("xpu", "abacus"):
        error = error_of(capsys, "evaluate", str(tmp_path / "run"), "--device", name)
        assert f"device='{name}' does not work here" in error.splitlines()[-1]


@pytest.mark.parametrize(
    ("raised", "caught"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("something else"), False),
    ],
)
def test_out_of_memory_names_the_setting_to_lower(raised, caught, capsys, monkeypatch):
    def run(_):
        raise raised

    monkeypatch.setitem(_RUN, Train, run)
    if caught:
        error = error_of(capsys, "train", "x", "--out", "y")
        assert error.startswith("kview: out of memory")
        assert "lower --batch-size" in error
    else:
        with pytest.raises(RuntimeError, match="something else"):
            main(["train", "x", "--out", "y"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"store": 5},
        {"data": 3},
        {"layers": 3},
        {"layers": {"ids": ["a", "b"]}},
        {"layers": {"ids": 3}},
        {"fingerprint": 3},
        {"fingerprint": []},
        {"seeds": "many"},
        {"seeds": [-1]},
    ],
)
def test_values_of_a_wrong_type_in_a_runs_config_are_one_sentence(wrong, store, tmp_path, capsys):
    run = tmp_path / "run"
    train(store, run)
    capsys.readouterr()
    change(run / "config.json", **wrong)
    error = error_of(capsys, "evaluate", str(run))
    assert error.count("\n") == 1


def test_version_and_module():
    done = subprocess.run(
        [sys.executable, "-m", "kview.cli", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"kview {version('kview')}\n"
