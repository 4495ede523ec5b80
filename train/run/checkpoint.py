"""Checkpoints that are whole or not there, and that hold plain values and tensors only."""

import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ...contracts import CheckpointError

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


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Replaces a file in one step: written aside, synced, renamed.

    Args:
        path: the file.
        write: called with the open binary file that will take its place.
    """
    aside = path.with_name(f".{path.name}.tmp")
    try:
        with aside.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder last through a power cut, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


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


def differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """The settings in which two configs differ, as `name: here X, in the checkpoint Y`."""
    names = sorted(set(ours) | set(theirs))
    return [
        f"{n}: here {ours.get(n, 'absent')!r}, in the checkpoint {theirs.get(n, 'absent')!r}"
        for n in names
        if ours.get(n) != theirs.get(n) or (n in ours) != (n in theirs)
    ]
