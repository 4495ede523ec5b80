"""When the optimiser steps, and at what rate: functions of the step; a resume needs no state."""

import math
from dataclasses import dataclass

from ..contracts import ConfigError
from .config import ContrastiveTrainerConfig


@dataclass(frozen=True, slots=True)
class Schedule:
    """A run's optimiser steps.

    Args:
        config: `max_epochs`, `accumulate_steps`, `checkpoint_every_steps` and the learning rate's.
        batches: batches of an epoch.

    Raises:
        ConfigError: a setting cannot take effect in so many steps.
    """

    config: ContrastiveTrainerConfig
    batches: int

    def __post_init__(self) -> None:
        config, total = self.config, self.total
        if config.accumulate_steps > self.batches:
            raise ConfigError(
                f"accumulate_steps={config.accumulate_steps} exceeds the {self.batches} batches "
                "of an epoch; lower it"
            )
        if config.warmup_steps >= total:
            raise ConfigError(
                f"warmup_steps={config.warmup_steps} never ends in the run's "
                f"{total} optimiser steps; lower it"
            )
        if config.checkpoint_every_steps is not None and config.checkpoint_every_steps > total:
            raise ConfigError(
                f"checkpoint_every_steps={config.checkpoint_every_steps} has no effect in the "
                f"run's {total} optimiser steps; lower it or leave it out"
            )

    @property
    def total(self) -> int:
        """Optimiser steps of the whole run."""
        return self.config.max_epochs * -(-self.batches // self.config.accumulate_steps)

    def group_size(self, batch: int) -> int:
        """The number of batches that share an optimiser step with a batch of the epoch."""
        size = self.config.accumulate_steps
        return min(size, self.batches - batch // size * size)

    def ends_group(self, batch: int) -> bool:
        """Whether the optimiser steps after a batch of the epoch."""
        return (batch + 1) % self.config.accumulate_steps == 0 or batch + 1 == self.batches

    def learning_rate(self, step: int) -> float:
        """The rate of optimiser step `step`, from 0: linear warm-up, then constant or cosine."""
        config, warm_up = self.config, self.config.warmup_steps
        if step < warm_up:
            return config.lr * (step + 1) / warm_up
        if config.lr_schedule == "constant":
            return config.lr
        progress = (step - warm_up) / (self.total - warm_up)
        return config.min_lr + (config.lr - config.min_lr) * (1 + math.cos(math.pi * progress)) / 2
