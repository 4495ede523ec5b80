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
        run_dir: folder for checkpoints, metrics and weights; None keeps nothing on disk.
        resume_from: a run folder or a checkpoint to go on from.
        settings: what config.json is to hold; None for the config.
        progress: show a progress bar.

    Raises:
        ConfigError: settings, encoder and sources do not go together.
        CheckpointError: the checkpoint is damaged, or of another config or other data.

    Examples:
        >>> import tempfile
        >>> from kview.data import ActivationDataset, ActivationStore, write_synthetic_store
        >>> from kview.train import ContrastiveTrainerConfig, ProgressiveCompressor
        >>> from kview.train import load_encoder, train_contrastive
        >>> config = ContrastiveTrainerConfig(max_epochs=2, accelerator="cpu")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_synthetic_store(
        ...         f"{folder}/s", num_rows=64, num_layers=6, hidden_size=16, max_tokens=3)
        ...     with ActivationStore.open(f"{folder}/s") as store:
        ...         source = ActivationDataset(store, num_views=4)
        ...         encoder = ProgressiveCompressor(16, 8)
        ...         result = train_contrastive(encoder, source, config=config, run_dir=folder)
        ...     encoder = load_encoder(folder)
        >>> [epoch.epoch for epoch in result.history]
        [0, 1]
    """
    source = train_source
    if sub_batch_size is not None:
        source = BufferedSource(train_source, sub_batch_size)
    trainer = make_trainer(encoder, config, run_dir=run_dir, settings=settings)
    return trainer.fit(source, val_source, resume_from, progress=progress)
