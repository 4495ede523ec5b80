"""The two trainers: they own the step; the loop around it is in `loop`."""

import copy
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..contracts import (
    ConfigError,
    ContractError,
    Encoder,
    KViewBatch,
    KViewSource,
    ViewEncoder,
    ZViews,
    boundary,
)
from ..contracts.view_encoder import needs_layer_idx
from ..contracts.views import sample_ids, samples_not_finite
from ..eval import KViewMetrics
from .calibration import Calibrated, calibrate
from .chunked import encode_in_chunks
from .config import ContrastiveTrainerConfig, LayerAwareContrastiveTrainerConfig
from .encoders.layer_statistics import LayerStatistics
from .loop import Loop
from .loss.gather import is_distributed
from .loss.supcon import SupConLoss
from .results import FitResult, StepOutput
from .run.folder import RunFolder

log = logging.getLogger("kview.train")

C = TypeVar("C", bound=ContrastiveTrainerConfig)


class ContrastiveTrainer(Generic[C]):
    """Trains an encoder on K views per sample with the supervised contrastive loss.

    Args:
        encoder: a module x (M, T, H), optionally with `token_mask`, -> (M, D).
        config: the settings.
        run_dir: folder for checkpoints, metrics and weights; None keeps nothing on disk.
        settings: what config.json is to hold; None for the config.

    Where the encoder has `calibrate`, as kview's own have, and the config asks for it, the
    statistics of each layer are measured on the training rows first.

    Attributes:
        layer_statistics: what was measured; None before, and after a resume.

    Raises:
        ConfigError: the config is no trainer's, or the encoder needs `layer_idx`.

    Examples:
        >>> import torch
        >>> from kview.contracts import KViewBatch
        >>> from kview.train import (
        ...     ContrastiveTrainer, ContrastiveTrainerConfig, ProgressiveCompressor)
        >>> config = ContrastiveTrainerConfig(num_views=3)
        >>> trainer = ContrastiveTrainer(ProgressiveCompressor(16, 8), config)
        >>> batch = KViewBatch(
        ...     hashkey=["a", "b"], halu=torch.tensor([0.0, 1]), input_length=torch.tensor([9, 7]),
        ...     views_activations=torch.randn(2, 3, 5, 16))
        >>> output = trainer.training_step(batch)
        >>> output.loss.backward()
        >>> sorted(output.metrics)
        ['intra_cos', 'intra_inter_margin']
    """

    takes_layers: ClassVar[bool] = False
    """Whether the encoder is told each view's layer."""

    config_type: ClassVar[type[ContrastiveTrainerConfig]] = ContrastiveTrainerConfig

    def __init__(
        self,
        encoder: nn.Module,
        config: C,
        *,
        run_dir: str | os.PathLike[str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(config, self.config_type):
            raise ConfigError(
                f"{type(self).__name__} takes a {self.config_type.__name__}, not a "
                f"{type(config).__name__}"
            )
        self.encoder = encoder
        self.config = config
        self.settings = {"trainer": config.to_dict()} if settings is None else settings
        self.folder = None if run_dir is None else RunFolder(run_dir)
        self.loss_fn = _loss(config, across_processes=True)
        self.val_loss_fn = _loss(config, across_processes=False)
        self.layer_statistics: LayerStatistics | None = None
        self.views = ViewEncoder(encoder)
        if needs_layer_idx(encoder) != self.takes_layers:
            takes, other = (
                ("takes no layer_idx, or can do without one", ContrastiveTrainer)
                if self.takes_layers
                else ("takes layer_idx", LayerAwareContrastiveTrainer)
            )
            raise ConfigError(f"{type(encoder).__name__} {takes}; train it with {other.__name__}")

    @boundary
    def training_step(self, batch: KViewBatch) -> StepOutput:
        """The loss and the metrics of one batch.

        Args:
            batch: this process's samples, K = config.num_views, on the encoder's device.

        Raises:
            ContractError: the batch breaks its contract, has another K or not the `view_indices`
                that are needed, or the encoder's embeddings are not finite.
        """
        self._require_views(batch)
        z_views = self._encode(batch)  # (B, K, D)
        _require_finite(z_views, batch)
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
        found = metrics.compute()
        named = {"intra_cos": found.intra_cos}
        if found.intra_inter_margin is not None:
            named["intra_inter_margin"] = found.intra_inter_margin
        return StepOutput(loss=loss, metrics=named, num_samples=found.n_samples)

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
            val_source: rows for the validation metrics and for choosing the best epoch.
            resume_from: a run folder or a checkpoint to go on from. On the CPU the end has the same
                bits as that of a run that was never interrupted.
            progress: show a progress bar.

        Raises:
            ConfigError: the sources disagree with the config, or a setting needs what is not there.
            CheckpointError: the checkpoint is damaged, or of another config or other data.
        """
        loop = Loop(
            self,
            self.config,
            train_source,
            val_source,
            folder=self.folder,
            settings=self.settings,
            progress=progress,
        )
        return loop.run(None if resume_from is None else Path(resume_from))

    def prepare(self, train_source: KViewSource) -> None:
        """Calibrates the encoder on the training rows, if it can be and the config says so.

        Raises:
            ConfigError: the encoder knows layers, but cannot be calibrated.
        """
        if not self.config.calibrate:
            return
        if isinstance(self.encoder, Calibrated):
            found: object = calibrate(self.encoder, train_source, self.config)
            if not isinstance(found, LayerStatistics):
                raise ConfigError(
                    f"{type(self.encoder).__name__}.calibrate gave {type(found).__name__}; it must "
                    "give the LayerStatistics that it took (see measure_layers)"
                )
            self.layer_statistics = found
            if not self.layer_statistics.layer_ids:
                log.warning(
                    "the batches do not say which layer a view is of (view_indices is None), so "
                    "one mean and one deviation standardise all layers; layers differ by more"
                )
            return
        name = type(self.encoder).__name__
        if self.takes_layers:
            raise ConfigError(
                f"{name} cannot be calibrated; set calibrate=False for an encoder of your own"
            )
        log.warning(
            "%s has no calibrate() and sees activations as they are stored, where a few huge "
            "dimensions can drown the rest; kview.train.LayerStandardization puts them on one "
            "scale, and calibrate=False says that this is meant",
            name,
        )

    def through(
        self, module: Encoder, layer_ids: Sequence[int]
    ) -> Callable[[KViewBatch], StepOutput]:
        """`training_step` for the loop, as `loop.Step` says."""
        wrapped = copy.copy(self)
        wrapped.views = ViewEncoder(self.encoder, layer_ids=layer_ids, module=module)
        return wrapped.training_step

    def _encode(self, batch: KViewBatch) -> ZViews:
        chunk = self.config.train_forward_chunk_views
        if chunk is None or not torch.is_grad_enabled():
            return self.views(batch)
        return encode_in_chunks(self.views, batch, chunk)

    def _require_views(self, batch: KViewBatch) -> None:
        asked, given = self.config.num_views, batch.num_views
        if given != asked:
            rule = f"K = num_views = {asked} of the config"
            raise ContractError.of(
                "training_step", "views_activations", "axis K", rule, f"K = {given}"
            )
        if self.takes_layers and batch.view_indices is None:
            rule = "Int (B, K), for the encoder must know each view's layer"
            raise ContractError.of("training_step", "view_indices", "missing", rule, "None")


class LayerAwareContrastiveTrainer(ContrastiveTrainer[LayerAwareContrastiveTrainerConfig]):
    """Trains an encoder that is told each view's layer.

    Args:
        encoder: a module x (M, T, H), `layer_idx` (M,), optionally `token_mask` (M, T), -> (M, D).

    The others are as in `ContrastiveTrainer`.

    Raises:
        ConfigError: the config is a plain trainer's, or the encoder takes no `layer_idx`, or cannot
            be calibrated as asked.

    Examples:
        >>> import tempfile
        >>> from kview.data import ActivationDataset, ActivationStore, write_synthetic_store
        >>> from kview.train import (LayerAwareContrastiveTrainer,
        ...     LayerAwareContrastiveTrainerConfig, LayerAwareProgressiveCompressor)
        >>> encoder = LayerAwareProgressiveCompressor(16, 8, num_layers=6)
        >>> config = LayerAwareContrastiveTrainerConfig(max_epochs=1, accelerator="cpu")
        >>> trainer = LayerAwareContrastiveTrainer(encoder, config)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_synthetic_store(
        ...         f"{folder}/s", num_rows=64, num_layers=6, hidden_size=16, max_tokens=3)
        ...     with ActivationStore.open(f"{folder}/s") as store:
        ...         result = trainer.fit(ActivationDataset(store, num_views=4))
        >>> len(result.history), trainer.layer_statistics.layer_ids
        (1, (0, 1, 2, 3, 4, 5))
    """

    takes_layers = True
    config_type = LayerAwareContrastiveTrainerConfig
    config: LayerAwareContrastiveTrainerConfig


def _loss(config: ContrastiveTrainerConfig, *, across_processes: bool) -> SupConLoss:
    return SupConLoss(
        temperature=config.temperature,
        base_temperature=config.base_temperature,
        same_sample_weight=config.same_sample_weight,
        same_class_weight=config.same_class_weight,
        across_processes=across_processes,
    )


def _require_finite(z_views: Tensor, batch: KViewBatch) -> None:
    if bad := samples_not_finite(z_views.detach(), batch.hashkey):
        raise ContractError.of(
            "training_step",
            "z_views",
            "not finite",
            "finite embeddings (look at the activations with kview verify, lower lr, or set "
            "clip_norm)",
            f"NaN or infinity for {len(bad)} of {len(batch)} samples, the first {bad[:5]}",
        )
