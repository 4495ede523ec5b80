"""The learning rate as a pure function of the step, so that a resume needs no state for it."""

import math

from .config import ContrastiveTrainerConfig


def learning_rate(step: int, total_steps: int, config: ContrastiveTrainerConfig) -> float:
    """The learning rate of optimiser step `step` (from 0): linear warm-up, then constant or cosine.

    Args:
        step: optimiser steps done before this one.
        total_steps: optimiser steps of the whole run; where the cosine ends.
        config: `lr`, `warmup_steps`, `lr_schedule` and `min_lr`.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    if config.lr_schedule == "constant":
        return config.lr
    progress = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
    return config.min_lr + (config.lr - config.min_lr) * (1 + math.cos(math.pi * progress)) / 2
