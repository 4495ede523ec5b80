"""The training loop: epochs, steps and validation."""

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from ..contracts import ConfigError, KViewBatch, KViewSource
from ..contracts.protocols import steps_per_epoch
from ..eval import evaluate
from .fabric import launch
from .progress import Progress
from .results import EpochFigures, FitResult, Running
from .run.recorder import Keeper, Position
from .schedule import learning_rate
from .seeding import seed_step

if TYPE_CHECKING:
    from .trainer import ContrastiveTrainer


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
        self.fabric = launch(self.config, trainer.folder)
        fingerprint = {
            "train": train_source.fingerprint,
            "val": None if val_source is None else val_source.fingerprint,
        }
        self.keeper = Keeper(
            *(trainer.folder, self.fabric, trainer.encoder, self.config),
            fingerprint,
            trainer.settings,
        )
        self.progress = Progress(progress and self.fabric.is_global_zero)
        self.steps = steps_per_epoch(
            len(train_source), self.config.batch_size, self.fabric.world_size
        )
        if self.steps == 0:
            raise ConfigError(
                f"the train source has {len(train_source)} rows, too few for a batch on "
                f"{self.fabric.world_size} processes; give it more rows"
            )
        if self.config.accumulate_steps > self.steps:
            raise ConfigError(
                f"accumulate_steps={self.config.accumulate_steps} exceeds the {self.steps} batches "
                "of an epoch; lower it"
            )
        if self.config.warmup_steps >= self._optimizer_steps():
            raise ConfigError(
                f"warmup_steps={self.config.warmup_steps} never ends in the run's "
                f"{self._optimizer_steps()} optimiser steps; lower it"
            )
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
        state = self.keeper.start(resume_from)
        if state is None:
            self.trainer.prepare(self.train_source)
        optimizer = torch.optim.AdamW(
            encoder.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
        module = cast(nn.Module, torch.compile(encoder)) if config.compile else encoder
        self.module, self.optimizer = self.fabric.setup(module, optimizer)
        if state is not None:
            self.at, self.running = self.keeper.restore(state, self.optimizer)
            self.history = self.keeper.history()
        self.trainer.use(self.module, self.train_source)
        with self.progress:
            while self.at.epoch < config.max_epochs and not self._is_out_of_patience():
                self._epoch()
        for logger in self.fabric.loggers:
            logger.finalize("success")
        self.keeper.export(best=self.monitor is not None)
        return FitResult(
            history=tuple(self.history),
            best_epoch=self.at.epoch - 1 if self.monitor is None else self.at.best_epoch,
            stopped_early=self.at.epoch < config.max_epochs,
        )

    def _epoch(self) -> None:
        began, start_step, restored = time.perf_counter(), self.at.step, self.running.samples
        self.module.train()
        self.progress.epoch(self.at.epoch, self.config.max_epochs, self.steps, start_step)
        for batch in self._batches():
            self._step(self.fabric.to_device(batch))
        if self.at.step != self.steps:
            raise ConfigError(
                f"the train source gave {self.at.step} batches of {self.steps} in epoch "
                f"{self.at.epoch}: its batches() must give steps_per_epoch(len, batch_size, "
                "world_size) of them"
            )
        figures = self._figures()
        seconds = time.perf_counter() - began
        timing = {
            "epoch": figures.epoch,
            "from_step": start_step,
            "seconds": seconds,
            "seconds_waiting_for_data": self.waited,
            "samples_per_second": (self.running.samples - restored) / seconds,
        }
        self.history.append(figures)
        self.progress.figures(figures)
        self.keeper.note_epoch(self.at, figures, timing)
        known = {n: v for n, v in dataclasses.asdict(figures).items() if v is not None}
        self.fabric.log_dict(known, step=figures.epoch)
        improved = self._note_best(figures)
        self.at.epoch, self.at.step = self.at.epoch + 1, 0
        self.running, self.waited = Running(), 0.0
        if improved:
            self.keeper.save_best(self.optimizer, self.at, self.running)
        every = self.config.snapshot_every_epochs
        if every and self.at.epoch % every == 0:
            self.keeper.save_snapshot(self.optimizer, self.at, self.running)
        self.keeper.save_last(self.optimizer, self.at, self.running)

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
        seed_step(config.seed, at.epoch, at.step, self.fabric.global_rank)
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
            self.keeper.save_last(self.optimizer, at, self.running)

    def _figures(self) -> EpochFigures:
        train = self.running.figures(self.at.epoch, self.optimizer.param_groups[0]["lr"])
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
        # one process decides: on a GPU the others' figures may differ in their last bits
        value = self.fabric.broadcast(getattr(figures, self.monitor))
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
