"""`train_contrastive`: the trainers' one-call front door."""

import os
from collections.abc import Mapping
from typing import Any

from torch import nn

from ..contracts import KViewSource
from .buffered_source import BufferedSource
from .config import ContrastiveTrainerConfig, LayerAwareContrastiveTrainerConfig
from .results import FitResult
from .trainer import ContrastiveTrainer, LayerAwareContrastiveTrainer


def make_trainer(
    encoder: nn.Module,
    config: ContrastiveTrainerConfig,
    *,
    run_dir: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> ContrastiveTrainer:
    """The trainer that a config is for: layer-aware for a layer-aware config."""
    if isinstance(config, LayerAwareContrastiveTrainerConfig):
        return LayerAwareContrastiveTrainer(encoder, config, run_dir=run_dir, settings=settings)
    return ContrastiveTrainer(encoder, config, run_dir=run_dir, settings=settings)


def train_contrastive(
    encoder: nn.Module,
    train_source: KViewSource,
    val_source: KViewSource | None = None,
    *,
    config: ContrastiveTrainerConfig,
    sub_batch_size: int | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    resume_from: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> FitResult:
    """Trains an encoder on a source of K-view batches.

    Args:
        encoder: takes x (M, T, H) and, for a layer-aware config, `layer_idx` (M,); gives (M, D).
        train_source: the training rows.
        val_source: the validation rows, or None.
        config: the settings; their class chooses the trainer.
        sub_batch_size: samples that the source is read in at a time, joined to `config.batch_size`,
            over which the loss runs; it must divide it. None: read whole batches.
        run_dir: folder for checkpoints, figures and weights; None keeps nothing on disk.
        resume_from: a run folder or a checkpoint to go on from.
        settings: what config.json is to hold; None for the config.
        progress: show a progress bar.

    Raises:
        ConfigError: settings, encoder and sources do not go together.
        CheckpointError: the checkpoint is damaged, or of another config or other data.
    """
    source = train_source
    if sub_batch_size is not None:
        source = BufferedSource(train_source, sub_batch_size)
    trainer = make_trainer(encoder, config, run_dir=run_dir, settings=settings)
    return trainer.fit(source, val_source, resume_from, progress=progress)
