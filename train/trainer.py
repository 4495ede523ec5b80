"""The two trainers: they own the step; the loop around it is in `loop`."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..contracts import (
    ConfigError,
    ContractError,
    KViewBatch,
    KViewSource,
    ViewEncoder,
    Violation,
    ZViews,
    boundary,
)
from ..eval import KViewMetrics, sample_ids
from .chunked import StepOutput, encode_in_chunks, require_finite
from .config import ContrastiveTrainerConfig, LayerAwareContrastiveTrainerConfig
from .encoders.layer_aware import LayerAwareProgressiveCompressor
from .encoders.layer_statistics import Calibration
from .loop import Loop
from .loss.gather import is_distributed
from .loss.supcon import SupConLoss
from .results import FitResult
from .run.folder import RunFolder


class ContrastiveTrainer:
    """Trains an encoder on K views a sample with the supervised contrastive loss.

    Args:
        encoder: a module x (M, T, H), optionally with `token_mask`, -> (M, D).
        config: the settings.
        run_dir: folder for checkpoints, figures and weights; None keeps nothing on disk.
        settings: what config.json is to hold; None for the config.

    Raises:
        ConfigError: the encoder asks for `layer_idx`, which this trainer has not.
    """

    config: ContrastiveTrainerConfig

    def __init__(
        self,
        encoder: nn.Module,
        config: ContrastiveTrainerConfig,
        *,
        run_dir: str | os.PathLike[str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.encoder = encoder
        self.settings = {"trainer": config.to_dict()} if settings is None else settings
        self.config = config
        self.folder = None if run_dir is None else RunFolder(run_dir)
        self.loss_fn = _loss(config, across_processes=True)
        self.val_loss_fn = _loss(config, across_processes=False)
        self.views = ViewEncoder(encoder)
        self.where = "training_step"
        self._require_fitting_encoder()

    @boundary
    def training_step(self, batch: KViewBatch) -> StepOutput:
        """The loss and the metrics of one batch.

        Args:
            batch: this process's samples, K = config.num_views, on the encoder's device.

        Raises:
            ContractError: the batch breaks its contract or has another K, or the encoder's
                embeddings are not finite.
        """
        self._require_views(batch)
        z_views = self._encode(batch)  # (B, K, D)
        require_finite(z_views, batch, self.where)
        loss = self.loss_fn(
            z_views,
            batch.halu if self.config.use_labels else None,
            sample_ids=sample_ids(batch.hashkey).to(z_views.device),
        )
        metrics = KViewMetrics()
        metrics.update(z_views.detach())
        if is_distributed():
            state = metrics.state
            dist.all_reduce(state)
            metrics = KViewMetrics(state, num_views=batch.num_views)
        figures = metrics.compute()
        named = {"intra_cos": figures.intra_cos}
        if figures.intra_inter_margin is not None:
            named["intra_inter_margin"] = figures.intra_inter_margin
        return StepOutput(loss=loss, metrics=named, num_samples=figures.n_samples)

    def fit(
        self,
        train_source: KViewSource,
        val_source: KViewSource | None = None,
        resume_from: str | os.PathLike[str] | None = None,
        *,
        progress: bool = False,
    ) -> FitResult:
        """Trains to the end of `config.max_epochs`, or until it stops early.

        Args:
            train_source: the training rows.
            val_source: rows for the validation figures and for choosing the best epoch.
            resume_from: a run folder or a checkpoint to go on from. On the CPU the end has the same
                bits as that of a run that was never interrupted.
            progress: show a progress bar.

        Raises:
            ConfigError: the sources disagree with the config, or a setting needs what is not there.
            CheckpointError: the checkpoint is damaged, or of another config or other data.
        """
        return Loop(self, train_source, val_source, progress).run(
            None if resume_from is None else Path(resume_from)
        )

    def prepare(self, train_source: KViewSource) -> None:
        """Called once by a fresh fit, before the first step."""

    def use(self, module: Callable[..., Tensor], source: KViewSource) -> None:
        """Encodes through a wrapped form of the encoder from here on, for a source's layers."""
        self.views = ViewEncoder(self.encoder, layer_ids=source.layer_ids, module=module)

    def _encode(self, batch: KViewBatch) -> ZViews:
        chunk = self.config.train_forward_chunk_views
        if chunk is None or not torch.is_grad_enabled():
            return self.views(batch)
        return encode_in_chunks(self.views, batch, chunk)

    def _require_views(self, batch: KViewBatch) -> None:
        if batch.num_views != self.config.num_views:
            violation = Violation(
                ("views_activations",),
                "axis K",
                f"K = num_views = {self.config.num_views} of the config",
                f"K = {batch.num_views}",
            )
            raise ContractError(f"training_step: {violation}", (violation,))

    def _require_fitting_encoder(self) -> None:
        if "layer_idx" in self.views.keywords:
            raise ConfigError(
                f"{type(self.encoder).__name__} takes layer_idx; train it with "
                "LayerAwareContrastiveTrainer"
            )


class LayerAwareContrastiveTrainer(ContrastiveTrainer):
    """Trains an encoder that is told each view's layer.

    Where the encoder has `calibrate` and the config asks for it, its statistics of each layer are
    measured on the training rows first.

    Args:
        encoder: a module x (M, T, H), `layer_idx` (M,), optionally `token_mask` (M, T), -> (M, D).
        config: the settings.
        run_dir: folder for checkpoints, figures and weights; None keeps nothing on disk.
        settings: what config.json is to hold; None for the config.

    Raises:
        ConfigError: the encoder takes no `layer_idx`, or cannot be calibrated as asked.
    """

    def __init__(
        self,
        encoder: nn.Module,
        config: LayerAwareContrastiveTrainerConfig,
        *,
        run_dir: str | os.PathLike[str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(encoder, config, run_dir=run_dir, settings=settings)
        self.calibrates = config.calibrate
        self.calibration_batches = config.calibration_batches
        self.calibration: Calibration | None = None

    def prepare(self, train_source: KViewSource) -> None:
        """Calibrates the encoder on the first epoch's batches."""
        if not self.calibrates:
            return
        encoder = self.encoder
        if not isinstance(encoder, LayerAwareProgressiveCompressor):
            raise ConfigError(
                f"{type(encoder).__name__} cannot be calibrated; set calibrate=False for an "
                "encoder of your own"
            )
        batches = train_source.batches(
            epoch=0, batch_size=self.config.batch_size, num_workers=self.config.num_workers
        )
        self.calibration = encoder.calibrate(
            batches, max_batches=self.calibration_batches, layer_ids=train_source.layer_ids
        )

    def _require_views(self, batch: KViewBatch) -> None:
        super()._require_views(batch)
        if batch.view_indices is None:
            violation = Violation(("view_indices",), "missing", "Int (B, K)", "None")
            raise ContractError(
                "training_step: view_indices is None, and a layer-aware encoder must know each "
                "view's layer",
                (violation,),
            )

    def _require_fitting_encoder(self) -> None:
        if "layer_idx" not in self.views.keywords:
            raise ConfigError(
                f"{type(self.encoder).__name__} takes no layer_idx; train it with "
                "ContrastiveTrainer"
            )


def _loss(config: ContrastiveTrainerConfig, *, across_processes: bool) -> SupConLoss:
    return SupConLoss(
        temperature=config.temperature,
        base_temperature=config.base_temperature,
        same_sample_weight=config.same_sample_weight,
        same_class_weight=config.same_class_weight,
        across_processes=across_processes,
    )
