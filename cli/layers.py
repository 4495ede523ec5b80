"""Which layers a run draws its views from; chosen once, and kept in its config.json."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal, Self

import numpy as np

from ..contracts import CheckpointError, ConfigError, LabelError
from ..contracts.settings import settings, settings_from
from ..data import ActivationParser
from ..train import select_layers
from .console import shown_progress
from .run_data import every_layer, groups_of
from .settings import RunSettings

_ROWS = 1000
"""Labelled train rows that layers are selected on; more would cost more than they would change."""


@settings
class ViewLayers:
    """The layers that views are drawn from.

    Attributes:
        ids: the model's layer ids.
        how: whether they are all of the store's, were selected on train rows, or were given.
        reason: why, in a sentence for people.
        probe_auroc: of every layer's probe in cross-validation on train rows, by layer id, where
            they were selected by it.
    """

    ids: tuple[int, ...]
    how: Literal["all", "selected", "given"]
    reason: str
    probe_auroc: Mapping[str, float] | None = None

    def scored(self, parser: ActivationParser) -> tuple[int, ...]:
        """The layers that are read to score rows: probes compete on all, unless they were given."""
        return self.ids if self.how == "given" else tuple(parser.store.layer_ids)

    def to_dict(self) -> dict[str, Any]:
        """What stands in config.json as `layers`."""
        return {**asdict(self), "ids": list(self.ids)}

    @classmethod
    def of_run(cls, config: Mapping[str, Any]) -> Self:
        """The layers that a run's config.json names.

        Raises:
            CheckpointError: it names none.
        """
        try:
            return settings_from(cls, config["layers"])
        except (KeyError, ConfigError) as error:
            raise CheckpointError(
                "the run's config.json does not say which layers it draws views from (`layers`): "
                "an older kview wrote it, or it is damaged; train the run again"
            ) from error


def kept_layers(settings: RunSettings, config: Mapping[str, Any]) -> ViewLayers:
    """The layers of a run that goes on.

    Raises:
        ConfigError: the settings ask for others than the run's config.json did.
        CheckpointError: config.json names none.
    """
    was = RunSettings.from_dict(config).data.view_layers
    if settings.data.view_layers != was:
        raise ConfigError(
            f"view_layers={settings.data.view_layers} here and {was} in the run: a resumed run "
            "keeps its layers; leave the flag out, or train a new run"
        )
    return ViewLayers.of_run(config)


def choose_layers(settings: RunSettings, parser: ActivationParser) -> ViewLayers:
    """The layers that the settings mean, on the training rows of a parser.

    Raises:
        ConfigError: a position is to be fixed among layers that are not known before.
        LabelError: layers are to be selected, and the training rows have too few labels.
    """
    asked, every = settings.data.view_layers, tuple(parser.store.layer_ids)
    if isinstance(asked, tuple):
        return ViewLayers(ids=asked, how="given", reason="given by view_layers")
    if asked == "all":
        return ViewLayers(ids=every, how="all", reason="view_layers is all")
    if settings.data.fixed_layer is not None:
        if asked == "selected":
            raise ConfigError(
                f"fixed_layer={settings.data.fixed_layer} is a position among layers that "
                "view_layers='selected' has yet to choose; name the layers, or take 'all'"
            )
        return ViewLayers(ids=every, how="all", reason="a fixed_layer is a position among all")
    if asked is None and not settings.trainer.use_labels:
        return ViewLayers(ids=every, how="all", reason="the run does not look at labels")
    try:
        return _selected(settings, parser, every)
    except LabelError as error:
        if asked == "selected":
            raise
        return ViewLayers(ids=every, how="all", reason=str(error))


def _selected(
    settings: RunSettings, parser: ActivationParser, every: tuple[int, ...]
) -> ViewLayers:
    K = settings.trainer.num_views
    if len(every) <= K:
        return ViewLayers(ids=every, how="all", reason=f"there are no more than K={K} layers")
    train = every_layer(parser, settings, "train", every)
    seed = settings.data.split_seed
    usable = train.available_rows()  # a row that lacks a layer says nothing of the others
    usable = usable[train.labels[usable] >= 0]
    rows = np.random.default_rng(seed).permutation(usable)[:_ROWS]
    with shown_progress() as progress:
        found = select_layers(
            train.select(rows),
            count=max(K, -(-len(every) // 4)),
            groups=groups_of(parser, "train", rows),
            seed=seed,
            progress=progress,
        )
    return ViewLayers(
        ids=found.layers,
        how="selected",
        reason=f"the {len(found.layers)} of {len(every)} layers whose probe does best in "
        "cross-validation on train rows",
        probe_auroc={str(layer): auroc for layer, auroc in found.auroc.items()},
    )
