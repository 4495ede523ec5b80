"""What is kept of a run in its folder, and how a run goes on from it."""

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from ...contracts import CheckpointError, ConfigError
from ..config import OPERATIONAL, ContrastiveTrainerConfig
from ..encoders.weights_file import save_encoder
from ..monitor import exports_best
from ..results import EpochMetrics, RunningSums
from .checkpoint import differing, load_checkpoint, require_same_run, save_checkpoint
from .folder import BEST, RunFolder, append_line, cut_to

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Position:
    """How far a run is.

    Attributes:
        epoch: epochs done.
        step: batches done in the epoch under way.
        global_step: optimiser steps done.
        best_loss: best value of the monitored metric, negated where more is better.
        best_epoch: the epoch it came from, -1 before the first.
        metrics_bytes: size of metrics.jsonl.
        running: sums over the steps of the epoch under way.
    """

    epoch: int = 0
    step: int = 0
    global_step: int = 0
    best_loss: float = float("inf")
    best_epoch: int = -1
    metrics_bytes: int = 0
    running: RunningSums = field(default_factory=RunningSums)


class Recorder:
    """Keeps a run's metrics, checkpoints and weights; does nothing where there is no folder.

    Args:
        folder: the run's folder, or None.
        fabric: only its first process writes.
        encoder: what is trained.
        config: the settings, which a checkpoint must share.
        fingerprint: the data's, which a checkpoint must share.
        settings: what config.json is to hold beside the fingerprint.
    """

    def __init__(
        self,
        folder: RunFolder | None,
        fabric: Fabric,
        encoder: nn.Module,
        config: ContrastiveTrainerConfig,
        fingerprint: Mapping[str, str | None],
        settings: Mapping[str, Any],
    ) -> None:
        self.folder, self.fabric, self.encoder = folder, fabric, encoder
        self.config = config
        self.settings = {"kview": version("kview"), **settings, "fingerprint": dict(fingerprint)}
        self.identity = {
            "config": config.to_dict(),
            # the encoder's class and, where it has one, its config
            "encoder": {"class": type(encoder).__name__, **getattr(encoder, "config", {})},
            "fingerprint": dict(fingerprint),
        }
        self.exports_best = exports_best(config)
        self._best: dict[str, Any] | None = None  # best weights of a run that has no folder
        # what changes the last bits of a result without being a setting
        self.machine = {"num_threads": torch.get_num_threads(), "world_size": fabric.world_size}

    def start(self, resume_from: Path | None) -> dict[str, Any] | None:
        """Readies the folder; gives the checkpoint to go on from, or None to begin.

        Raises:
            CheckpointError: the checkpoint is damaged, or of another run.
            ConfigError: the folder holds a run that is not to be resumed.
        """
        path = _checkpoint_in(resume_from) if resume_from else None
        state = load_checkpoint(path) if path else None
        if state is not None:
            require_same_run(state, self.identity, free=self._free_settings())
            for change in differing(self.machine, {name: state[name] for name in self.machine}):
                logger.warning("the resumed run may differ in its last bits: %s", change)
        if self.folder is None:
            if path is not None and state is not None and self.exports_best:
                self._best = _best_beside(path, state)
            return state
        if resume_from is None and self.folder.is_taken:
            raise ConfigError(
                f"{self.folder.path} holds a run already; resume it (resume_from, "
                "kview train --resume) or choose another folder"
            )
        if path is not None and path.parent.resolve() != self.folder.checkpoints.resolve():
            raise ConfigError(
                f"resume_from={path} is no checkpoint of run_dir={self.folder.path}; a run goes on "
                "in its own folder"
            )
        if self.fabric.is_global_zero:
            self.folder.write_config(self.settings)
            cut_to(self.folder.metrics, state["metrics_bytes"] if state else 0)
        self.fabric.barrier()
        return state

    def history(self) -> list[EpochMetrics]:
        """The metrics of the epochs behind."""
        lines = [] if self.folder is None else self.folder.read_metrics()
        return [EpochMetrics(**line) for line in lines]

    def note_epoch(self, at: Position, metrics: EpochMetrics, timing: Mapping[str, float]) -> None:
        """Appends an epoch's lines; `at` learns the new size of metrics.jsonl."""
        if self.folder is not None and self.fabric.is_global_zero:
            at.metrics_bytes = append_line(self.folder.metrics, dataclasses.asdict(metrics))
            append_line(self.folder.timings, timing)

    def save_last(self, optimizer: Any, at: Position) -> None:
        """Replaces checkpoints/last.ckpt."""
        if self.folder is not None:
            self._save(self.folder.last, optimizer, at)

    def save_epoch(self, optimizer: Any, at: Position, *, improved: bool) -> None:
        """Writes the checkpoints that are due after an epoch, best.ckpt where it `improved`.

        Snapshots beyond `keep_snapshots` are deleted. Without a folder, the best weights are kept
        in memory where they are to be exported.
        """
        if self.folder is None:
            if improved and self.exports_best:
                weights = self.encoder.state_dict()
                self._best = {n: w.to("cpu", copy=True) for n, w in weights.items()}
            return
        every, keep = self.config.snapshot_every_epochs, self.config.keep_snapshots
        if improved:
            self._save(self.folder.best, optimizer, at)
        if every and at.epoch % every == 0:
            self._save(self.folder.snapshot(at.epoch), optimizer, at)
            if keep is not None and self.fabric.is_global_zero:
                for old in self.folder.snapshots()[:-keep]:
                    old.unlink()
        self._save(self.folder.last, optimizer, at)

    def export(self) -> None:
        """Leaves in the encoder what the run exports, and writes it to encoder.safetensors.

        Raises:
            CheckpointError: the best epoch's checkpoint cannot be read.
        """
        if self.exports_best:
            best = self._best
            if self.folder is not None:  # every process reads it: all are to hold these weights
                best = load_checkpoint(self.folder.best)["model_state_dict"]
            if best is not None:
                self.encoder.load_state_dict(best)
        if self.folder is not None and self.fabric.is_global_zero:
            save_encoder(self.encoder, self.folder.encoder)

    def restore(self, state: Mapping[str, Any], optimizer: Any) -> Position:
        """Puts weights, optimiser and loss scaler back; gives where the run was.

        Raises:
            CheckpointError: the weights are not the encoder's.
        """
        try:
            self.encoder.load_state_dict(state["model_state_dict"])
        except RuntimeError as error:
            raise CheckpointError(f"the checkpoint's weights do not fit: {error}") from error
        optimizer.load_state_dict(state["optimizer_state_dict"])
        scaler = self._scaler()
        if scaler is not None and state["scaler_state_dict"] is not None:
            scaler.load_state_dict(state["scaler_state_dict"])
        values = {f.name: state[f.name] for f in dataclasses.fields(Position)}
        return Position(**{**values, "running": RunningSums(**state["running"])})

    def _save(self, path: Path, optimizer: Any, at: Position) -> None:
        if self.fabric.is_global_zero:
            scaler = self._scaler()
            state = {
                **dataclasses.asdict(at),
                "model_state_dict": self.encoder.state_dict(),
                "optimizer_state_dict": optimizer.state_dict(),
                "scaler_state_dict": None if scaler is None else scaler.state_dict(),
                "temperature": self.config.temperature,
                "lr": optimizer.param_groups[0]["lr"],
                **self.identity,
                **self.machine,
            }
            save_checkpoint(path, state)
        self.fabric.barrier()

    def _free_settings(self) -> frozenset[str]:
        """What a resume may change: with a constant rate, a longer run is the same run."""
        return OPERATIONAL | ({"max_epochs"} if self.config.lr_schedule == "constant" else set())

    def _scaler(self) -> Any:
        return getattr(self.fabric.strategy.precision, "scaler", None)


def _checkpoint_in(path: Path) -> Path | None:
    """The checkpoint that a path means; None for a run that was stopped before its first."""
    if not path.is_dir():
        return path
    run = RunFolder(path)
    if not run.last.is_file() and run.encoder.is_file():
        raise CheckpointError(
            f"{path} holds a finished run without {run.last.relative_to(path)}: it can be "
            "evaluated, and nothing is left to go on from; to train anew, delete "
            f"{run.encoder.name}"
        )
    if not run.last.is_file() and run.checkpoints.is_dir():
        return None
    return run.last


def _best_beside(path: Path, state: Mapping[str, Any]) -> dict[str, Any] | None:
    """The best weights that a checkpoint knows of, from the folder that it lies in."""
    if state["best_epoch"] < 0:
        return None
    return load_checkpoint(path.parent / BEST)["model_state_dict"]
