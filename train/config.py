"""The trainers' settings: frozen, documented, validated once."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from ..contracts import ConfigError
from ..contracts.settings import (
    Count,
    NotNegative,
    NotNegativeInt,
    Positive,
    settings,
    settings_from,
)

Monitor = Literal["val_loss", "val_intra_cos", "val_intra_inter_margin", "train_loss"]

# They change how a run is carried out, never what comes out of it: a resume may change them.
OPERATIONAL = frozenset(
    (
        *("num_workers", "pin_memory", "checkpoint_every_steps", "snapshot_every_epochs"),
        *("keep_snapshots", "accelerator", "devices", "tensorboard"),
    )
)


@settings
class ContrastiveTrainerConfig:
    """Settings of a contrastive run.

    Raises:
        ConfigError: a value is out of range, or cannot take effect beside the others.

    Examples:
        >>> from kview.train import ContrastiveTrainerConfig
        >>> ContrastiveTrainerConfig(num_views=6, temperature=1).temperature
        1.0
        >>> ContrastiveTrainerConfig(num_views=4, train_forward_chunk_views=4)
        Traceback (most recent call last):
        kview.contracts.errors.ConfigError: train_forward_chunk_views=4 has no effect unless ...
    """

    num_views: Annotated[int, Field(ge=2)] = 4
    """Views per sample, K >= 2: how many layers of a response are contrasted at once."""

    view_sampling_with_replacement: bool = False
    """Draw views with replacement, so that a layer may come twice."""

    batch_size: Count = 64
    """Samples per step, B, over all processes; a step encodes B*K views."""

    max_epochs: Count = 20
    """Passes over the training rows."""

    lr: Positive = 1e-3
    """Peak learning rate of AdamW."""

    weight_decay: NotNegative = 1e-2
    """Decoupled weight decay of AdamW."""

    lr_schedule: Literal["constant", "cosine"] = "cosine"
    """What the learning rate does after the warm-up: stays, or falls to `min_lr` as a cosine."""

    min_lr: NotNegative = 0.0
    """Where the cosine ends."""

    warmup_steps: NotNegativeInt = 0
    """Optimiser steps over which the learning rate rises from zero."""

    temperature: Positive = 0.2
    """Temperature tau of the loss."""

    base_temperature: Positive | None = None
    """The loss is scaled by temperature / base_temperature; None: by one."""

    same_sample_weight: NotNegative = 1.0
    """Weight of the pairs of views of one sample among the positives."""

    same_class_weight: NotNegative = 1.0
    """Weight of the pairs of views of two samples with one label among the positives."""

    use_labels: bool = True
    """Whether samples with one label attract each other; False is SimCLR over K views."""

    calibrate: bool = True
    """Measure each layer's mean and deviation on the training rows first, to standardise by."""

    calibration_batches: Count | None = None
    """Batches to measure on; None: the first epoch's and, of few rows, those of more epochs, until
    each layer has had 1,000 views or each row has had time to show all of its layers."""

    train_forward_chunk_views: Count | None = None
    """Encode this many views of each sample at a time, recomputing them in the backward pass."""

    accumulate_steps: Count = 1
    """Batches per optimiser step; each keeps a contrast set of its own, so it is another loss."""

    clip_norm: Positive | None = None
    """Largest norm of the gradient; None: not clipped."""

    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"] = "32-true"
    """Precision of the encoder, in Fabric's words; the loss computes in at least float32."""

    compile: bool = False
    """Run the encoder through `torch.compile`."""

    balanced_sampling: bool = False
    """Draw the classes evenly; an epoch keeps its number of samples."""

    monitor: Monitor | None = None
    """Metric that chooses the epoch whose weights are exported; None: the last epoch's are, and
    best.ckpt keeps the one of the lowest val_loss where there is a val source."""

    early_stopping_patience: Count | None = None
    """Stop after this many epochs in which `monitor` has not improved; None: never."""

    seed: NotNegativeInt = 42
    """Seed of the order, of dropout and of whatever else is random in training."""

    checkpoint_every_steps: Count | None = None
    """Write checkpoints/last.ckpt every so many optimiser steps; None: after each epoch only."""

    snapshot_every_epochs: Count | None = None
    """Keep a checkpoint of its own every so many epochs; None: none."""

    keep_snapshots: Count | None = None
    """How many of the newest snapshots to keep; None: all."""

    tensorboard: bool = False
    """Log every epoch's metrics for TensorBoard too, into the run's folder (needs tensorboardX)."""

    num_workers: NotNegativeInt = 0
    """Workers that read ahead: threads for a store, processes for a dataset of your own."""

    pin_memory: bool = False
    """Read into pinned memory, for asynchronous copies to a GPU."""

    accelerator: str = "auto"
    """Device, in Fabric's words: auto, cpu, cuda, mps."""

    devices: Count = 1
    """Processes on this machine; under torchrun its own number counts."""

    def __post_init__(self) -> None:
        chunk = self.train_forward_chunk_views
        _require(
            chunk is None or chunk < self.num_views,
            f"train_forward_chunk_views={chunk} has no effect unless it is below "
            f"num_views={self.num_views}; lower it or leave it out",
        )
        _require(
            self.calibrate or self.calibration_batches is None,
            f"calibration_batches={self.calibration_batches} has no effect with calibrate=False",
        )
        _require(
            self.lr_schedule == "cosine" or self.min_lr == 0,
            f"min_lr={self.min_lr} has no effect with lr_schedule='constant'; leave one out",
        )
        for name in ("snapshot_every_epochs", "early_stopping_patience"):
            value = getattr(self, name)
            _require(
                value is None or value <= self.max_epochs,
                f"{name}={value} has no effect in max_epochs={self.max_epochs}; lower it",
            )
        _require(self.min_lr <= self.lr, f"min_lr={self.min_lr} exceeds lr={self.lr}")
        _require(
            self.keep_snapshots is None or self.snapshot_every_epochs is not None,
            "keep_snapshots has no effect without snapshot_every_epochs; set both or neither",
        )
        _require(
            self.same_sample_weight > 0 or self.same_class_weight > 0,
            "same_sample_weight and same_class_weight are both 0: nothing attracts",
        )
        _require(
            self.use_labels or self.same_class_weight == 1.0,
            f"same_class_weight={self.same_class_weight} has no effect with use_labels=False",
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Builds a config from a mapping such as a run's config.json holds.

        Raises:
            ConfigError: a key is no setting, or a value is wrong.
        """
        return settings_from(cls, values)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return dataclasses.asdict(self)


@settings
class LayerAwareContrastiveTrainerConfig(ContrastiveTrainerConfig):
    """Settings of a contrastive run whose encoder is told each view's layer.

    Raises:
        ConfigError: a value is out of range, or cannot take effect beside the others.

    Examples:
        >>> from kview.train import LayerAwareContrastiveTrainerConfig
        >>> config = LayerAwareContrastiveTrainerConfig(calibration_batches=8)
        >>> LayerAwareContrastiveTrainerConfig.from_dict(config.to_dict()) == config
        True
    """


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ConfigError(otherwise)
