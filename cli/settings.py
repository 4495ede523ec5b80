"""What `kview train` can be told; written to a run's config.json and read back from it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal, Self

from ..contracts import ConfigError
from ..contracts.settings import Count, NotNegativeInt, Share, settings, settings_from
from ..train import Conditioning, ContrastiveTrainerConfig, LayerAwareContrastiveTrainerConfig


@settings
class DataSettings:
    """Which rows and layers to train on."""

    generation: str | None = None
    """generation.jsonl of a HalluLens store; None: the one beside the store."""

    labels: str | None = None
    """eval_results.json of a HalluLens store; None: the one beside the store."""

    split: Literal["two_way", "three_way", "none"] = "three_way"
    """three_way: 70 % train, 10 % val to choose by, 20 % test. two_way: no val. none: all test."""

    split_seed: NotNegativeInt = 42
    """Seed of the split, which the seed of training leaves as it is."""

    group_by: str | None = None
    """Field whose equal values stay on one side of the split, such as `question`. None: the store's
    own groups and otherwise equal prompts, where these tie rows together. none: nothing."""

    view_layers: Literal["all", "selected"] | tuple[int, ...] | None = None
    """Model layer ids that views are drawn from; all of the store's; or selected: the quarter (K at
    least) whose linear probe does best in cross-validation on train rows. None: selected, or all
    where there are no labels to select by."""

    fixed_layer: NotNegativeInt | None = None
    """Position in view_layers (all, or given) that is always the first view."""

    pad_length: Count | None = None
    """Response tokens kept, T; None: as many as the store holds."""


@settings
class EncoderSettings:
    """The encoder."""

    embedding_dim: Count = 128
    """Size of an embedding, D."""

    dropout: Share = 0.1
    """Share of the hidden units dropped in training."""

    layer_aware: bool = False
    """Tell the encoder each view's layer, and use the layer-aware trainer."""

    conditioning: Conditioning | None = "film_in"
    """How a layer-aware encoder uses the layer."""


@settings
class RunSettings:
    """Everything that decides a run.

    Attributes:
        store: the store, or a folder that holds one.
    """

    store: str
    data: DataSettings = field(default_factory=DataSettings)
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    trainer: ContrastiveTrainerConfig = field(default_factory=ContrastiveTrainerConfig)

    def grouped(self, by: str | None) -> Self:
        """The same settings, which say what rows were grouped by in the end; None for nothing."""
        data = dataclasses.replace(self.data, group_by="none" if by is None else by)
        return dataclasses.replace(self, data=data)

    def seeded(self, seed: int) -> Self:
        """The same settings with another seed of training."""
        return dataclasses.replace(self, trainer=dataclasses.replace(self.trainer, seed=seed))

    def trainer_config(self) -> ContrastiveTrainerConfig:
        """The config of the trainer that the encoder needs.

        Raises:
            ConfigError: a layer-aware setting stands beside a plain encoder.
        """
        encoder, plain = self.encoder, EncoderSettings()
        if encoder.layer_aware:
            return LayerAwareContrastiveTrainerConfig(**self.trainer.to_dict())
        if encoder.conditioning != plain.conditioning:
            raise ConfigError(
                f"conditioning={encoder.conditioning} has no effect on a plain encoder; add "
                "--layer-aware or leave it out"
            )
        return self.trainer

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The settings that a config.json holds.

        Raises:
            ConfigError: a key is no setting, or a value is wrong.
        """
        if not isinstance(values, Mapping) or "store" not in values:
            raise ConfigError(
                "this config.json names no store: its run was trained from Python, and is "
                "evaluated from there (kview.eval.evaluate_detection)"
            )
        noted = ("kview", "fingerprint", "layers", "seeds")  # what a run writes beside its settings
        return settings_from(cls, {n: v for n, v in values.items() if n not in noted})
