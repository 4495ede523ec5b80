"""How the rows of a store are seen: the settings of a dataset, and the rules they keep."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..contracts import ConfigError
from .store import ActivationStore


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewSettings:
    """How rows are seen, with the defaults filled in.

    Attributes:
        num_views: K.
        relevant_layers: model layer ids that views are drawn from.
        fixed_layer: a position in `relevant_layers` that is every row's first view, or None.
        pad_length: T, the tokens of a view; shorter responses are padded, longer ones cut.
        replacement: a layer may be drawn more than once for a row.
        min_target_layers: layers that a row must have.
        all_activations: items also carry every relevant layer.
        logprobs: samples also carry log-probabilities.
        top_k: how many alternatives a token these have, 0 for none.
        random_seed: of the order and the views.
        views: positions in `relevant_layers` that every row is seen at, or None to draw them.
    """

    num_views: int
    relevant_layers: tuple[int, ...]
    fixed_layer: int | None
    pad_length: int
    replacement: bool
    min_target_layers: int
    all_activations: bool
    logprobs: bool
    top_k: int
    random_seed: int
    views: tuple[int, ...] | None = None


def stored_top_k(store: ActivationStore, wanted: bool, top_k: int | None) -> int:
    """The alternatives a token that samples carry; 0 where they carry no log-probabilities.

    Raises:
        ConfigError: the store has not so many, or the setting cannot take effect.
    """
    if not wanted:
        if top_k is not None:
            raise ConfigError(
                f"response_logprobs_top_k={top_k} cannot take effect without "
                "include_response_logprobs=True"
            )
        return 0
    stored = store.logprobs_top_k
    if stored is None:
        raise ConfigError(f"include_response_logprobs=True: {store!r} has no log-probabilities")
    if top_k is not None and not 0 <= top_k <= stored:
        raise ConfigError(
            f"response_logprobs_top_k={top_k} exceeds the {stored} alternatives a token stored"
        )
    return stored if top_k is None else top_k


def require_fit(store: ActivationStore, settings: ViewSettings) -> None:
    """Checks settings against a store.

    Raises:
        ConfigError: a setting is wrong, or does not fit.
    """
    layers, views = settings.relevant_layers, settings.num_views
    fixed, least = settings.fixed_layer, settings.min_target_layers
    if views < 2:
        raise ConfigError(f"num_views={views}: a sample needs at least 2 views")
    unknown = [layer for layer in layers if layer not in store.layer_ids]
    if unknown or not layers or len(set(layers)) < len(layers):
        raise ConfigError(
            f"relevant_layers={list(layers)} must be layers of the store, each once; it has "
            f"{span(store.layer_ids)}"
        )
    if views > len(layers) and not settings.replacement:
        raise ConfigError(
            f"num_views={views} exceeds the {len(layers)} layers available "
            f"(relevant_layers={span(layers)}); lower num_views or pass "
            "view_sampling_with_replacement=True"
        )
    if fixed is not None and (not 0 <= fixed < len(layers) or len(layers) < 2):
        raise ConfigError(
            f"fixed_layer={fixed} must be a position in relevant_layers, 0 to {len(layers) - 1}, "
            "and leave another layer to draw from"
        )
    if not settings.replacement and least < views:
        raise ConfigError(
            f"min_target_layers={least} is less than num_views={views}: without replacement a row "
            "needs a layer for every view"
        )
    if not 1 <= least <= len(layers):
        raise ConfigError(f"min_target_layers={least} is not in 1 to {len(layers)}, the layers")
    if settings.pad_length < 1:
        raise ConfigError(f"pad_length={settings.pad_length}: a view needs at least one token")


def span(layers: Sequence[int]) -> str:
    """Layer ids for a message: `0..6` where they are consecutive, else all of them."""
    if len(layers) > 2 and list(layers) == list(range(layers[0], layers[-1] + 1)):
        return f"{layers[0]}..{layers[-1]}"
    return ", ".join(map(str, layers))
