"""Training on two processes is training on one: the loss and the steps are the global batch's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers.fit_ranks import fit
from helpers.paths import HELPERS, TESTS
from kview.train import load_encoder
from kview.train.run.checkpoint import load_checkpoint
from kview.train.run.folder import RunFolder


def torchrun(folder: Path, processes: int, **arguments: object) -> list[torch.Tensor]:
    """The weights of `fit_ranks.fit(folder, **arguments)` on so many processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}"]
    command += [str(HELPERS / "fit_ranks.py"), str(folder), json.dumps(arguments)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(load_checkpoint(RunFolder(folder).last)["model_state_dict"].values())


@pytest.mark.parametrize(
    "settings", [{}, {"train_forward_chunk_views": 3, "accumulate_steps": 2, "clip_norm": 1.0}]
)
def test_twenty_steps_on_two_processes_end_in_one_processes_weights(settings, tmp_path):
    expected = fit(None, settings)
    found = torchrun(tmp_path, 2, settings=settings)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)  # a step moves by up to 1e-3


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_standardise_by_the_statistics_of_one(processes, tmp_path):
    fit(tmp_path / "one", {"max_epochs": 1})
    torchrun(tmp_path / "several", processes, settings={"max_epochs": 1})
    one, several = (load_encoder(tmp_path / name).state_dict() for name in ("one", "several"))
    for name in ("mean", "std", "known_ids"):
        assert torch.equal(one[f"standardize.{name}"], several[f"standardize.{name}"])
    assert len(one["standardize.mean"]) == 8
    for name, weights in one.items():
        torch.testing.assert_close(several[name], weights, rtol=0, atol=1e-7)


@pytest.mark.parametrize("processes", [1, 2])
def test_recomputation_replays_the_forwards_dropout(processes, tmp_path):
    arguments = {"settings": {"train_forward_chunk_views": 3}, "dropout": 0.5}
    weights = [
        torchrun(tmp_path / str(recompute), processes, recompute=recompute, **arguments)
        for recompute in (True, False)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
