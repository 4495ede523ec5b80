"""The training loop: epochs, steps and validation."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import nn

from ..contracts import ConfigError, Encoder, KViewBatch, KViewSource
from ..contracts.protocols import steps_per_epoch
from ..eval import ContrastiveLoss, evaluate
from .config import ContrastiveTrainerConfig, Monitor
from .fabric import launch
from .monitor import badness, monitored, out_of_patience
from .progress import Progress
from .results import EpochMetrics, FitResult, RunningSums, StepOutput
from .run.folder import RunFolder
from .run.recorder import Position, Recorder
from .schedule import Schedule
from .seeding import seed_step


class Step(Protocol):
    """What the loop trains: an encoder, the step that it is trained by, and its validation loss."""

    @property
    def encoder(self) -> nn.Module:
        """Whose parameters are trained."""
        ...

    @property
    def val_loss_fn(self) -> ContrastiveLoss:
        """The loss of one process's whole contrast set."""
        ...

    def prepare(self, train_source: KViewSource) -> None:
        """Called once by a fresh fit, before the first step."""
        ...

    def through(
        self, module: Encoder, layer_ids: Sequence[int]
    ) -> Callable[[KViewBatch], StepOutput]:
        """The step of one batch that encodes through `module`, a wrapped form of the encoder.

        Args:
            module: takes what the encoder takes.
            layer_ids: the model's layer ids at the positions that `view_indices` name.
        """
        ...


class Loop:
    """One fit. Everything random in it is a function of (seed, epoch, step, rank).

    Args:
        step: what is trained.
        config: the settings.
        train_source: the training rows.
        val_source: the validation rows, or None.
        folder: the run's folder, or None.
        settings: what config.json is to hold.
        progress: show a progress bar.

    Raises:
        ConfigError: the sources disagree with the config, or a setting needs what is not there.
    """

    def __init__(
        self,
        step: Step,
        config: ContrastiveTrainerConfig,
        train_source: KViewSource,
        val_source: KViewSource | None,
        *,
        folder: RunFolder | None,
        settings: Mapping[str, Any],
        progress: bool,
    ) -> None:
        self.step, self.config = step, config
        self.train_source, self.val_source = train_source, val_source
        self.monitor: Monitor | None = monitored(config, val_source)
        for source in filter(None, (train_source, val_source)):
            _require_agreement(config, source)
        self.fabric = launch(config, folder)
        steps = steps_per_epoch(len(train_source), config.batch_size, self.fabric.world_size)
        if steps == 0:
            raise ConfigError(
                f"the train source has {len(train_source)} rows, too few for a batch on "
                f"{self.fabric.world_size} processes; give it more rows"
            )
        self.schedule = Schedule(config, steps)
        fingerprint = {
            "train": train_source.fingerprint,
            "val": None if val_source is None else val_source.fingerprint,
        }
        self.recorder = Recorder(folder, self.fabric, step.encoder, config, fingerprint, settings)
        self.progress = Progress(progress and self.fabric.is_global_zero)
        self.at = Position()
        self.history: list[EpochMetrics] = []
        self.waited = 0.0

    def run(self, resume_from: Path | None) -> FitResult:
        """Trains to the end and leaves the process's random state as it found it."""
        with torch.random.fork_rng():
            return self._run(resume_from)

    def _run(self, resume_from: Path | None) -> FitResult:
        encoder, config = self.step.encoder, self.config
        state = self.recorder.start(resume_from)
        if state is None:
            self.step.prepare(self.train_source)
        optimizer = torch.optim.AdamW(
            encoder.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
        module = cast(nn.Module, torch.compile(encoder)) if config.compile else encoder
        self.module, self.optimizer = self.fabric.setup(module, optimizer)
        if state is not None:
            self.at = self.recorder.restore(state, self.optimizer)
            self.history = self.recorder.history()
        self.training_step = self.step.through(self.module, self.train_source.layer_ids)
        with self.progress:
            while self.at.epoch < config.max_epochs and not out_of_patience(
                config, self.at.epoch, self.at.best_epoch
            ):
                self._epoch()
        for logger in self.fabric.loggers:
            logger.finalize("success")
        self.recorder.export()
        return FitResult(
            history=tuple(self.history),
            best_epoch=self.at.epoch - 1 if self.monitor is None else self.at.best_epoch,
            stopped_early=self.at.epoch < config.max_epochs,
        )

    def _epoch(self) -> None:
        at, began = self.at, time.perf_counter()
        start_step, restored, self.waited = at.step, at.running.samples, 0.0
        self._train()
        metrics = self._metrics()
        seconds = time.perf_counter() - began
        timing = {
            "epoch": at.epoch,
            "from_step": start_step,
            "seconds": seconds,
            "seconds_waiting_for_data": self.waited,
            "samples_per_second": (at.running.samples - restored) / seconds,
        }
        self.history.append(metrics)
        self.progress.epoch_done(metrics)
        self.recorder.note_epoch(at, metrics, timing)
        known = {n: v for n, v in dataclasses.asdict(metrics).items() if v is not None}
        self.fabric.log_dict(known, step=at.epoch)
        improved = self._note_best(metrics)
        at.epoch, at.step, at.running = at.epoch + 1, 0, RunningSums()
        self.recorder.save_epoch(self.optimizer, at, improved=improved)

    def _train(self) -> None:
        """The epoch's steps, from where the run is."""
        at, steps = self.at, self.schedule.batches
        self.module.train()
        self.progress.epoch(at.epoch, self.config.max_epochs, steps, at.step)
        try:
            for batch in self._batches():
                self._step(self.fabric.to_device(batch))
        except Exception as error:
            error.add_note(f"in epoch {at.epoch}, step {at.step}")
            raise
        if at.step != steps:
            raise ConfigError(
                f"the train source gave {at.step} batches of {steps} in epoch {at.epoch}: its "
                "batches() must give steps_per_epoch(len, batch_size, world_size) of them"
            )

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
        config, at, schedule = self.config, self.at, self.schedule
        seed_step(config.seed, at.epoch, at.step, self.fabric.global_rank)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = schedule.learning_rate(at.global_step)
        ends_group = schedule.ends_group(at.step)
        with self.fabric.no_backward_sync(self.module, enabled=not ends_group):
            output = self.training_step(batch)
            self.fabric.backward(output.loss / schedule.group_size(at.step))
        if ends_group:
            if config.clip_norm is not None:
                self.fabric.clip_gradients(self.module, self.optimizer, max_norm=config.clip_norm)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            at.global_step += 1
        at.running.add(output)
        at.step += 1
        self.progress.step(output)
        every = config.checkpoint_every_steps
        if ends_group and every and at.global_step % every == 0 and at.step < schedule.batches:
            self.recorder.save_last(self.optimizer, at)

    def _metrics(self) -> EpochMetrics:
        train = self.at.running.metrics(self.at.epoch, self.optimizer.param_groups[0]["lr"])
        if self.val_source is None:
            return train
        # every rank looks at the whole val set, so that all of them agree on when to stop
        val = evaluate(
            self.step.encoder,
            self.val_source,
            batch_size=self.config.batch_size,
            loss_fn=self.step.val_loss_fn,
            device=self.fabric.device,
            use_labels=self.config.use_labels,
        )
        return dataclasses.replace(
            train,
            val_loss=val.loss,
            val_intra_cos=val.intra_cos,
            val_intra_inter_margin=val.intra_inter_margin,
        )

    def _note_best(self, metrics: EpochMetrics) -> bool:
        """Whether the epoch is the best so far, which the position then remembers."""
        if self.monitor is None:
            return False
        # one process decides: on a GPU the others' metrics may differ in their last bits
        value = self.fabric.broadcast(badness(metrics, self.monitor))
        improved = value < self.at.best_loss
        if improved:
            self.at.best_loss, self.at.best_epoch = value, metrics.epoch
        return improved


def _require_agreement(config: ContrastiveTrainerConfig, source: KViewSource) -> None:
    asked = (config.num_views, config.view_sampling_with_replacement)
    given = (source.num_views, source.views_repeat)
    if asked != given:
        raise ConfigError(
            f"the config asks for num_views={asked[0]}, "
            f"view_sampling_with_replacement={asked[1]}, the source gives "
            f"num_views={given[0]}, views_repeat={given[1]}; make them agree"
        )
