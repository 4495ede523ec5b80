"""Checkpoints are whole or not there, and say what is wrong with them."""

import contextlib
import pickle

import pytest
import torch

from kview.contracts import CheckpointError
from kview.train.run.checkpoint import (
    KEYS,
    differing,
    load_checkpoint,
    require_same_run,
    save_checkpoint,
)


def state() -> dict[str, object]:
    return {**dict.fromkeys(KEYS), "model_state_dict": {"w": torch.arange(3.0)}, "epoch": 2}


def test_a_checkpoint_comes_back(tmp_path):
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, state())
    loaded = load_checkpoint(path)
    assert loaded["epoch"] == 2
    assert torch.equal(loaded["model_state_dict"]["w"], torch.arange(3.0))
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_failed_write_leaves_the_old_one(tmp_path):
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, state())
    with pytest.raises((AttributeError, pickle.PicklingError), match="local object"):
        save_checkpoint(path, {**state(), "epoch": lambda: 3})
    assert load_checkpoint(path)["epoch"] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*last.ckpt"):
        load_checkpoint(tmp_path / "last.ckpt")


@pytest.mark.parametrize("keep", [0, 10, 500, 1000])
def test_a_truncated_checkpoint_is_named(tmp_path, keep):
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, state())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)


def test_flipped_bytes_never_escape_as_another_error(tmp_path):
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, state())
    sound = path.read_bytes()
    for place in range(0, len(sound), 23):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x55]) + sound[place + 1 :])
        with contextlib.suppress(CheckpointError):  # a flip in padding goes unnoticed
            load_checkpoint(path)


def test_another_file_is_no_checkpoint(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"w": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="is no checkpoint of kview: it lacks"):
        load_checkpoint(path)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    path = tmp_path / "evil.ckpt"
    torch.save({**state(), "epoch": Evil()}, path)
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("a checkpoint ran code",))


def test_what_differs_is_named_with_both_values():
    ours, theirs = {"lr": 1, "seed": 3, "new": 0}, {"lr": 1.0, "seed": 4}
    assert differing(ours, theirs) == [
        "new: here 0, in the checkpoint 'absent'",
        "seed: here 3, in the checkpoint 4",
    ]
    assert differing(ours, theirs, free={"new", "seed"}) == []


def test_only_settings_that_are_free_may_differ():
    identity = {"config": {"devices": 1}, "encoder": {"devices": 1}, "fingerprint": {"train": "a"}}
    free = frozenset({"devices"})
    require_same_run({**identity, "config": {"devices": 2}}, identity, free=free)
    with pytest.raises(CheckpointError, match="devices: here 1, in the checkpoint 2"):
        require_same_run({**identity, "encoder": {"devices": 2}}, identity, free=free)
