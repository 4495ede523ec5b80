"""The run folder: where a run's config, metrics, checkpoints and weights lie."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...contracts import CheckpointError
from ..atomic_file import write_atomically
from ..encoders.weights_file import ENCODER_FILE

BEST = "best.ckpt"
"""The name of the best epoch's checkpoint."""


class RunFolder:
    """Paths and small files of one run.

    `metrics.jsonl` has a line per epoch, and is the same for every run with one config and one
    data; wall-clock times lie beside it in `timings.jsonl`.

    Args:
        path: the folder; made when something is first written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.metrics = self.path / "metrics.jsonl"
        self.timings = self.path / "timings.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.last = self.checkpoints / "last.ckpt"
        self.best = self.checkpoints / BEST
        self.encoder = self.path / ENCODER_FILE
        self.evaluation = self.path / "evaluation.json"

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Makes the folders and writes config.json."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        text = json.dumps(config, indent=2) + "\n"
        write_atomically(self.config, lambda file: file.write(text.encode()))

    def read_config(self) -> dict[str, Any]:
        """Reads config.json.

        Raises:
            CheckpointError: there is none, so this is no run folder; or it is damaged.
        """
        if not self.config.is_file():
            raise CheckpointError(f"{self.path} is no run folder: it has no config.json")
        try:
            config = json.loads(self.config.read_text())
        except ValueError as error:
            raise CheckpointError(f"{self.config} is damaged: {error}") from error
        if not isinstance(config, dict):
            raise CheckpointError(f"{self.config} is damaged: it holds no JSON object")
        return config

    @property
    def is_taken(self) -> bool:
        """Whether the folder holds a run, finished or under way, that a new one would overwrite."""
        return self.last.exists() or self.encoder.exists()

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl.

        Raises:
            CheckpointError: a line is damaged.
        """
        return _read_lines(self.metrics)

    def read_timings(self) -> list[dict[str, Any]]:
        """The lines of timings.jsonl.

        Raises:
            CheckpointError: a line is damaged.
        """
        return _read_lines(self.timings)

    def snapshot(self, epoch: int) -> Path:
        """Where the snapshot after an epoch lies."""
        return self.checkpoints / f"epoch-{epoch:05d}.ckpt"

    def snapshots(self) -> list[Path]:
        """The snapshots, oldest first."""
        return sorted(self.checkpoints.glob("epoch-*.ckpt"))


def append_line(path: Path, values: Mapping[str, Any]) -> int:
    """Appends one JSON line, synced; returns the file's new size in bytes."""
    with path.open("ab") as file:
        file.write(json.dumps(values).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def cut_to(path: Path, size: int) -> None:
    """Cuts a file back to what a checkpoint knew of it.

    Raises:
        CheckpointError: the file is shorter than that, so lines have been lost.
    """
    have = path.stat().st_size if path.is_file() else 0
    if have < size:
        raise CheckpointError(
            f"{path} has {have} bytes where the checkpoint knows {size}: lines were lost; "
            "restore the file or start the run anew"
        )
    if have > size:
        os.truncate(path, size)


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file, one a line; none where there is no file."""
    if not path.is_file():
        return []
    lines: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            values = json.loads(line)
            if not isinstance(values, dict):
                raise ValueError(f"{values!r} is no JSON object")
        except ValueError as error:
            raise CheckpointError(f"{path} line {number} is damaged: {error}") from error
        lines.append(values)
    return lines
