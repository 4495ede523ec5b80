"""Checkpoints that are whole or not there, and that hold plain values and tensors only."""

import pickle
import struct
import zipfile
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch

from ...contracts import CheckpointError
from ..atomic_file import write_atomically

_UNREADABLE = (
    *(RuntimeError, EOFError, ValueError, OSError, LookupError, TypeError, AttributeError),
    *(ArithmeticError, AssertionError, pickle.UnpicklingError, struct.error, zipfile.BadZipFile),
)

KEYS = frozenset(
    (
        *("epoch", "step", "global_step", "model_state_dict", "optimizer_state_dict"),
        *("scaler_state_dict", "temperature", "lr", "best_loss", "best_epoch", "running"),
        *("metrics_bytes", "config", "encoder", "fingerprint", "num_threads", "world_size"),
    )
)
"""What a checkpoint holds."""


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a checkpoint so that a kill at any moment leaves the old one or the new one."""
    write_atomically(path, lambda file: torch.save(dict(state), file))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint onto the CPU, with `weights_only=True`.

    Raises:
        CheckpointError: the file is missing, damaged, or no checkpoint of ours.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; a run keeps its in checkpoints/last.ckpt")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {error}") from error
    missing = KEYS - set(state) if isinstance(state, dict) else KEYS
    if missing:
        raise CheckpointError(
            f"{path} is no checkpoint of kview: it lacks {', '.join(sorted(missing))}"
        )
    return state


def differing(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], *, free: Set[str] = frozenset()
) -> list[str]:
    """Where two mappings differ outside of `free`, as `name: here X, in the checkpoint Y`."""
    return [
        f"{n}: here {ours.get(n, 'absent')!r}, in the checkpoint {theirs.get(n, 'absent')!r}"
        for n in sorted((set(ours) | set(theirs)) - free)
        if ours.get(n) != theirs.get(n) or (n in ours) != (n in theirs)
    ]


def require_same_run(
    state: Mapping[str, Any], identity: Mapping[str, Mapping[str, Any]], *, free: Set[str]
) -> None:
    """Refuses a checkpoint of another run.

    Args:
        state: the checkpoint.
        identity: this run's `config`, `encoder` and `fingerprint`.
        free: the settings in which the two may differ.

    Raises:
        CheckpointError: naming what differs.
    """
    unlike = differing(identity["config"], state["config"], free=free)
    for name in ("fingerprint", "encoder"):
        unlike += differing(identity[name], state[name])
    if unlike:
        raise CheckpointError(
            f"the checkpoint is of another run: {'; '.join(unlike)}; resume with the settings "
            "and the data it was made with, or start a new run"
        )
