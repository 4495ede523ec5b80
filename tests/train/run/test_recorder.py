"""A run that is killed with SIGKILL and resumed ends with the bits of one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from helpers.killed_fit import fit
from helpers.paths import HELPERS, TESTS
from kview.train.run.checkpoint import load_checkpoint
from kview.train.run.folder import RunFolder


@pytest.mark.parametrize("kind", ["plain", "layer_aware"])
@pytest.mark.parametrize("moment", ["in an epoch", "in a checkpoint's write"])
def test_resume_after_kill_is_bit_exact(kind, moment, tmp_path):
    kill_and_compare(kind, moment, tmp_path, random.Random(f"{kind} {moment}"))


@pytest.mark.soak
@pytest.mark.parametrize("number", range(20))
def test_resume_after_many_kills_is_bit_exact(number, tmp_path):
    chance = random.Random(number)
    moment = chance.choice(["in an epoch", "in a checkpoint's write"])
    kill_and_compare(chance.choice(["plain", "layer_aware"]), moment, tmp_path, chance)


def kill_and_compare(kind: str, moment: str, folder: Path, chance: random.Random) -> None:
    whole = RunFolder(folder / "whole")
    expected = fit(kind, whole.path)
    killed = RunFolder(folder / "killed")
    kill_fit(kind, killed, moment, chance)
    before = load_checkpoint(killed.last)
    assert before["epoch"] < 4
    assert fit(kind, killed.path, resume=True) == expected
    assert killed.metrics.read_bytes() == whole.metrics.read_bytes()
    for name in ("last", "best"):
        ours, theirs = (load_checkpoint(getattr(run, name)) for run in (whole, killed))
        assert_same(ours, theirs)


def kill_fit(kind: str, run: RunFolder, moment: str, chance: random.Random) -> None:
    """Starts a fit in a process of its own, and kills it at the moment, but never before a step."""
    command = [sys.executable, str(HELPERS / "killed_fit.py"), kind, str(run.path)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(TESTS),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    process = subprocess.Popen(command, env=environment)
    try:
        wait_until(process, lambda: run.last.exists())
        time.sleep(chance.uniform(0, 0.6))
        if moment == "in a checkpoint's write":
            wait_until(process, lambda: any(run.checkpoints.glob("*.next")))
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL


def wait_until(process: subprocess.Popen, holds) -> None:
    while not holds():
        assert process.poll() is None, "the fit ended before it could be killed"
        time.sleep(0.0005)


def assert_same(ours, theirs) -> None:
    assert type(ours) is type(theirs)
    if isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs)
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_same(ours[key], theirs[key])
    elif isinstance(ours, list):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert_same(a, b)
    else:
        assert ours == theirs
