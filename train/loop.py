"""The training loop: epochs, steps, validation, checkpoints, resume."""

import dataclasses
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning_fabric import Fabric

from ..contracts import CheckpointError, ConfigError, KViewBatch, KViewSource
from ..contracts.steps import steps_per_epoch
from ..eval.evaluator import evaluate
from .checkpoint import differing, load_checkpoint, save_checkpoint
from .config import OPERATIONAL
from .export import save_encoder
from .progress import Progress
from .run import RunFolder, append_line, cut_to
from .schedule import learning_rate
from .step import StepOutput

if TYPE_CHECKING:
    from .contrastive import ContrastiveTrainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochFigures:
    """One line of metrics.jsonl.

    Attributes:
        epoch: from 0.
        lr: learning rate of the epoch's last step.
        train_loss: mean over the epoch's steps, weighted by samples.
        train_intra_cos: likewise, of the mean cosine of the views of a sample.
        train_intra_inter_margin: likewise, of its margin over other samples; None if no step had
            two samples.
        val_loss: on the whole val set after the epoch; None without one.
        val_intra_cos: likewise.
        val_intra_inter_margin: likewise.
    """

    epoch: int
    lr: float
    train_loss: float
    train_intra_cos: float
    train_intra_inter_margin: float | None
    val_loss: float | None = None
    val_intra_cos: float | None = None
    val_intra_inter_margin: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """What a fit gives.

    Attributes:
        history: the figures of every epoch.
        best_epoch: the epoch that `monitor` chose, or the last one.
        stopped_early: whether patience ran out before `max_epochs`.
    """

    history: tuple[EpochFigures, ...]
    best_epoch: int
    stopped_early: bool


@dataclass(slots=True)
class Running:
    """Sums over an epoch's steps, for means weighted by samples."""

    samples: int = 0
    loss: float = 0.0
    intra_cos: float = 0.0
    margin: float = 0.0
    margin_samples: int = 0

    def add(self, output: StepOutput) -> None:
        n = output.num_samples
        self.samples += n
        self.loss += n * float(output.loss.detach())
        self.intra_cos += n * output.metrics["intra_cos"]
        if "intra_inter_margin" in output.metrics:
            self.margin += n * output.metrics["intra_inter_margin"]
            self.margin_samples += n

    @property
    def mean_margin(self) -> float | None:
        return self.margin / self.margin_samples if self.margin_samples else None


@dataclass(slots=True)
class Position:
    """How far a run is.

    Attributes:
        epoch: epochs done.
        step: batches done in the epoch under way.
        global_step: optimiser steps done.
        best_loss: best value of the monitored figure, negated where more is better.
        best_epoch: the epoch it came from, -1 before the first.
        metrics_bytes: size of metrics.jsonl.
    """

    epoch: int = 0
    step: int = 0
    global_step: int = 0
    best_loss: float = float("inf")
    best_epoch: int = -1
    metrics_bytes: int = 0


class Loop:
    """One fit. Everything random in it is a function of (seed, epoch, step, rank).

    Args:
        trainer: owns the step, the encoder, the config and the run folder.
        train_source: the training rows.
        val_source: the validation rows, or None.
        progress: show a progress bar.

    Raises:
        ConfigError: the sources disagree with the config, or a setting needs what is not there.
    """

    def __init__(
        self,
        trainer: "ContrastiveTrainer",
        train_source: KViewSource,
        val_source: KViewSource | None,
        progress: bool,
    ) -> None:
        self.trainer, self.config = trainer, trainer.config
        self.train_source, self.val_source = train_source, val_source
        self.monitor = self._monitor()
        for source in filter(None, (train_source, val_source)):
            self._require_agreement(source)
        self.fabric = _fabric(trainer)
        self.fabric.launch()
        self.folder = trainer.folder
        self.progress = Progress(progress and self.fabric.is_global_zero)
        self.steps = steps_per_epoch(
            len(train_source), self.config.batch_size, self.fabric.world_size
        )
        if self.steps == 0:
            raise ConfigError(f"the train source has {len(train_source)} rows: too few for a step")
        self.at = Position()
        self.running = Running()
        self.history: list[EpochFigures] = []
        self.waited = 0.0

    def run(self, resume_from: Path | None) -> FitResult:
        """Trains to the end and leaves the process's random state as it found it."""
        with torch.random.fork_rng():
            return self._run(resume_from)

    def _run(self, resume_from: Path | None) -> FitResult:
        encoder, config = self.trainer.encoder, self.config
        state = self._start(resume_from)
        if state is None:
            self.trainer.prepare(self.train_source, self.fabric.device)
        else:
            encoder.load_state_dict(state["model_state_dict"])
        optimizer = torch.optim.AdamW(
            encoder.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
        module = torch.compile(encoder) if config.compile else encoder
        self.module, self.optimizer = self.fabric.setup(module, optimizer)
        if state is not None:
            self._restore(state)
        self.trainer.use(self.module, self.train_source)
        with self.progress:
            while self.at.epoch < config.max_epochs and not self._is_out_of_patience():
                self._epoch()
        self._export()
        last = self.at.epoch - 1
        return FitResult(
            history=tuple(self.history),
            best_epoch=self.at.best_epoch if self.monitor else last,
            stopped_early=self.at.epoch < config.max_epochs,
        )

    def _epoch(self) -> None:
        began, start_step = time.perf_counter(), self.at.step
        self.module.train()
        self.progress.epoch(self.at.epoch, self.config.max_epochs, self.steps, start_step)
        for batch in self._batches():
            self._step(self.fabric.to_device(batch))
        figures = self._figures()
        seconds = time.perf_counter() - began
        self.history.append(figures)
        self.progress.figures(figures)
        if self.folder is not None and self.fabric.is_global_zero:
            line = dataclasses.asdict(figures)
            self.at.metrics_bytes = append_line(self.folder.metrics, line)
            timing = {
                "epoch": figures.epoch,
                "seconds": seconds,
                "seconds_waiting_for_data": self.waited,
                "samples_per_second": self.running.samples / seconds,
                "from_step": start_step,
            }
            append_line(self.folder.timings, timing)
        improved = self._note_best(figures)
        self.at.epoch, self.at.step = self.at.epoch + 1, 0
        self.running, self.waited = Running(), 0.0
        if improved:
            self._save("best")
        every = self.config.snapshot_every_epochs
        if every and self.at.epoch % every == 0:
            self._snapshot()
        self._save("last")

    def _batches(self) -> Iterator[KViewBatch]:
        """The rest of the epoch's batches; counts the time spent waiting for them."""
        batches = self.train_source.batches(
            epoch=self.at.epoch,
            batch_size=self.config.batch_size,
            start_step=self.at.step,
            rank=self.fabric.global_rank,
            world_size=self.fabric.world_size,
            balanced=self.config.balanced_sampling,
            num_workers=self.config.num_workers,
            pin_memory=self.config.pin_memory,
        )
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - asked
            if batch is None:
                return
            yield batch

    def _step(self, batch: KViewBatch) -> None:
        config, at = self.config, self.at
        _seed(config.seed, at.epoch, at.step, self.fabric.global_rank)
        self.trainer.where = f"epoch {at.epoch} step {at.step}"
        group = at.step // config.accumulate_steps
        group_size = min(config.accumulate_steps, self.steps - group * config.accumulate_steps)
        ends_group = at.step + 1 == group * config.accumulate_steps + group_size
        rate = learning_rate(at.global_step, self._optimizer_steps(), config)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate
        with self.fabric.no_backward_sync(self.module, enabled=not ends_group):
            output = self.trainer.training_step(batch)
            self.fabric.backward(output.loss / group_size)
        self.running.add(output)
        at.step += 1
        self.progress.step(output)
        if not ends_group:
            return
        if config.clip_norm is not None:
            self.fabric.clip_gradients(self.module, self.optimizer, max_norm=config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        at.global_step += 1
        every = config.checkpoint_every_steps
        if every and at.global_step % every == 0 and at.step < self.steps:
            self._save("last")

    def _figures(self) -> EpochFigures:
        run = self.running
        train = EpochFigures(
            epoch=self.at.epoch,
            lr=self.optimizer.param_groups[0]["lr"],
            train_loss=run.loss / run.samples,
            train_intra_cos=run.intra_cos / run.samples,
            train_intra_inter_margin=run.mean_margin,
        )
        if self.val_source is None:
            return train
        # every rank looks at the whole val set, so that all of them agree on when to stop
        val = evaluate(
            self.trainer.encoder,
            self.val_source,
            batch_size=self.config.batch_size,
            loss_fn=self.trainer.val_loss_fn,
            device=self.fabric.device,
            use_labels=self.config.use_labels,
            ignore_label=self.config.ignore_label,
        )
        return dataclasses.replace(
            train,
            val_loss=val.loss,
            val_intra_cos=val.intra_cos,
            val_intra_inter_margin=val.intra_inter_margin,
        )

    def _note_best(self, figures: EpochFigures) -> bool:
        if self.monitor is None:
            return False
        value = getattr(figures, self.monitor)
        if value is None:
            raise ConfigError(
                f"monitor={self.monitor} has no value in epoch {figures.epoch}: its set has a "
                "single sample; monitor another figure"
            )
        value = value if self.monitor.endswith("_loss") else -value
        if value < self.at.best_loss:
            self.at.best_loss, self.at.best_epoch = value, figures.epoch
            return True
        return False

    def _is_out_of_patience(self) -> bool:
        patience = self.config.early_stopping_patience
        return patience is not None and self.at.epoch - 1 - self.at.best_epoch >= patience

    def _optimizer_steps(self) -> int:
        return self.config.max_epochs * -(-self.steps // self.config.accumulate_steps)

    # -- checkpoints

    def _save(self, name: str) -> None:
        if self.folder is not None:
            self._save_to({"last": self.folder.last, "best": self.folder.best}[name])

    def _save_to(self, path: Path) -> None:
        if self.fabric.is_global_zero:
            save_checkpoint(path, self._state())
        self.fabric.barrier()

    def _snapshot(self) -> None:
        if self.folder is None:
            return
        self._save_to(self.folder.snapshot(self.at.epoch))
        keep = self.config.keep_snapshots
        if keep is not None and self.fabric.is_global_zero:
            for old in self.folder.snapshots()[:-keep]:
                old.unlink()

    def _state(self) -> dict[str, Any]:
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        return {
            **dataclasses.asdict(self.at),
            "model_state_dict": self.trainer.encoder.state_dict(),
            "optimizer_state_dict": self.optimizer.state_dict(),
            "scaler_state_dict": None if scaler is None else scaler.state_dict(),
            "running": dataclasses.asdict(self.running),
            "temperature": self.config.temperature,
            "lr": self.optimizer.param_groups[0]["lr"],
            "config": self.config.to_dict(),
            "fingerprint": self._fingerprint(),
            "num_threads": torch.get_num_threads(),
            "world_size": self.fabric.world_size,
        }

    def _fingerprint(self) -> dict[str, str | None]:
        val = self.val_source
        return {
            "train": self.train_source.fingerprint,
            "val": None if val is None else val.fingerprint,
        }

    def _start(self, resume_from: Path | None) -> dict[str, Any] | None:
        """The checkpoint to go on from, or None for a run that starts from the beginning."""
        path = resume_from
        if path is not None and path.is_dir():
            run = RunFolder(path)
            # a run that was stopped before its first checkpoint starts again
            path = run.last if run.last.is_file() or not run.config.is_file() else None
        state = None if path is None else load_checkpoint(path)
        if state is not None:
            self._require_same_run(state)
        if self.folder is not None and self.fabric.is_global_zero:
            if resume_from is None and self.folder.last.exists():
                raise ConfigError(
                    f"{self.folder.path} holds a run already; resume it (resume_from, "
                    "kview train --resume) or choose another folder"
                )
            self.folder.create()
            cut_to(self.folder.metrics, state["metrics_bytes"] if state else 0)
            lines = self.folder.read_metrics()
            self.history = [EpochFigures(**line) for line in lines]
        return state

    def _require_same_run(self, state: dict[str, Any]) -> None:
        # a longer run is the same run, unless the learning rate's fall is spread over its length
        free = OPERATIONAL | ({"max_epochs"} if self.config.lr_schedule == "constant" else set())
        ours, theirs = (
            {name: value for name, value in config.items() if name not in free}
            for config in (self.config.to_dict(), state["config"])
        )
        unlike = differing(ours, theirs) + differing(self._fingerprint(), state["fingerprint"])
        if unlike:
            raise CheckpointError(
                f"the checkpoint is of another run: {'; '.join(unlike)}; resume with the settings "
                "and data it was made with, or start a new run"
            )
        here = {"num_threads": torch.get_num_threads(), "world_size": self.fabric.world_size}
        for change in differing(here, {name: state[name] for name in here}):
            logger.warning("resuming will not give the same bits: %s", change)

    def _restore(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer_state_dict"])
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        if scaler is not None and state["scaler_state_dict"] is not None:
            scaler.load_state_dict(state["scaler_state_dict"])
        self.at = Position(**{f.name: state[f.name] for f in dataclasses.fields(Position)})
        self.running = Running(**state["running"])

    def _export(self) -> None:
        """Writes encoder.safetensors: the best weights where a figure chooses, else the last."""
        if self.folder is None or not self.fabric.is_global_zero:
            return
        encoder = self.trainer.encoder
        if self.monitor is None:
            save_encoder(encoder, self.folder.encoder)
            return
        last = {name: value.clone() for name, value in encoder.state_dict().items()}
        encoder.load_state_dict(load_checkpoint(self.folder.best)["model_state_dict"])
        save_encoder(encoder, self.folder.encoder)
        encoder.load_state_dict(last)

    # -- agreement of config and sources

    def _monitor(self) -> str | None:
        config = self.config
        monitor = config.monitor or ("val_loss" if self.val_source is not None else None)
        if monitor is not None and monitor.startswith("val_") and self.val_source is None:
            raise ConfigError(
                f"monitor={monitor} needs a val_source; pass one, or monitor train_loss"
            )
        if config.early_stopping_patience is not None and monitor is None:
            raise ConfigError(
                "early_stopping_patience has no effect without a val_source or monitor='train_loss'"
            )
        return monitor

    def _require_agreement(self, source: KViewSource) -> None:
        config = self.config
        asked = (config.num_views, config.view_sampling_with_replacement)
        given = (source.num_views, source.views_repeat)
        if asked != given:
            raise ConfigError(
                f"the config asks for num_views={asked[0]}, "
                f"view_sampling_with_replacement={asked[1]}, the source gives "
                f"num_views={given[0]}, views_repeat={given[1]}; make them agree"
            )


def _fabric(trainer: "ContrastiveTrainer") -> Fabric:
    config = trainer.config
    return Fabric(
        accelerator=config.accelerator,
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", config.devices)),
        num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", 1)),
        precision=config.precision,
    )


def _seed(*parts: int) -> None:
    """Seeds torch's generators with a function of the parts, so that steps can be repeated."""
    mixed = 0
    for part in parts:  # splitmix64's finaliser over the parts
        mixed = (mixed + part + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        mixed ^= mixed >> 31
    torch.manual_seed(mixed)
