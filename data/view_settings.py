"""How the rows of a store are seen: what a caller may ask for, and the settings it becomes."""

from collections.abc import Sequence
from typing import Annotated, TypedDict, Unpack

import numpy as np
from pydantic import Field

from ..contracts import ConfigError
from ..contracts.errors import listed
from ..contracts.settings import Count, NotNegativeInt, settings
from .store import ActivationStore


class ViewOptions(TypedDict, total=False):
    """The keywords by which a dataset is told how its rows are seen, besides `num_views`.

    Attributes:
        relevant_layers: model layer ids that views are drawn from; all by default.
        fixed_layer: a position in `relevant_layers` that comes first in every sample; the other
            K - 1 views are drawn from the rest.
        pad_length: T, the tokens of a view; the store's `max_tokens` by default. Shorter responses
            are padded, longer ones cut.
        view_sampling_with_replacement: a layer may be drawn more than once for a row.
        min_target_layers: layers that a row must have, else reading it raises; K by default, or
            all relevant ones where K is more.
        return_all_activations: items also carry every relevant layer, as `all_activations`.
        include_response_logprobs: samples also carry the response's log-probabilities.
        response_logprobs_top_k: alternatives per token in these; all that are stored by default.
    """

    relevant_layers: Sequence[int] | None
    fixed_layer: int | None
    pad_length: int | None
    view_sampling_with_replacement: bool
    min_target_layers: int | None
    return_all_activations: bool
    include_response_logprobs: bool
    response_logprobs_top_k: int | None


@settings
class ViewSettings:
    """`ViewOptions` with the store's defaults filled in, and three settings more.

    Attributes:
        num_views: K.
        random_seed: of the order and the views.
        views: positions in `relevant_layers` that every row is seen at, or None to draw them.
    """

    num_views: Annotated[int, Field(ge=2)]
    relevant_layers: tuple[int, ...]
    fixed_layer: int | None
    pad_length: Count
    replacement: bool
    min_target_layers: Count | None
    all_activations: bool
    logprobs: bool
    top_k: NotNegativeInt
    random_seed: NotNegativeInt
    views: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        layers, views = self.relevant_layers, self.num_views
        fixed, least = self.fixed_layer, self.layers_needed
        if views > len(layers) and not self.replacement:
            raise ConfigError(
                f"num_views={views} exceeds the {len(layers)} layers available "
                f"(relevant_layers={span(layers)}); lower num_views or pass "
                "view_sampling_with_replacement=True"
            )
        if fixed is not None and (not 0 <= fixed < len(layers) or len(layers) < 2):
            raise ConfigError(
                f"fixed_layer={fixed} must be a position in relevant_layers, 0 to "
                f"{len(layers) - 1}, and leave another layer to draw from"
            )
        if self.views is None and not self.replacement and least < views:
            raise ConfigError(
                f"min_target_layers={least} is less than num_views={views}: without replacement a "
                "row needs a layer for every view"
            )
        if least > len(layers):
            raise ConfigError(f"min_target_layers={least} is not in 1 to {len(layers)}, the layers")

    @property
    def seen_in_every_row(self) -> tuple[int, ...]:
        """Positions in `relevant_layers` that are no matter of chance."""
        if self.views is not None:
            return self.views
        return () if self.fixed_layer is None else (self.fixed_layer,)

    @property
    def layers_needed(self) -> int:
        """The relevant layers that a row must have."""
        if self.min_target_layers is None:
            return min(self.num_views, len(self.relevant_layers))
        return self.min_target_layers


def view_settings(
    store: ActivationStore, *, num_views: int, random_seed: int, **options: Unpack[ViewOptions]
) -> ViewSettings:
    """Fills the defaults in.

    Raises:
        ConfigError: an option is wrong, or does not fit the store.
    """
    known = ViewOptions.__annotations__.keys()
    if strange := sorted(options.keys() - known):
        raise ConfigError(f"{listed(strange)} is no setting; known are {', '.join(known)}")
    given = options.get("relevant_layers")
    layers = store.layer_ids if given is None else tuple(np.asarray(given).tolist())
    unknown = [layer for layer in layers if layer not in store.layer_ids]
    if unknown or not layers or len(set(layers)) < len(layers):
        raise ConfigError(
            f"relevant_layers={list(layers)} must be layers of the store, each once; it has "
            f"{span(store.layer_ids)}"
        )
    pad_length = options.get("pad_length")
    logprobs = options.get("include_response_logprobs", False)
    return ViewSettings(
        num_views=num_views,
        relevant_layers=layers,
        fixed_layer=options.get("fixed_layer"),
        pad_length=store.max_tokens if pad_length is None else pad_length,
        replacement=options.get("view_sampling_with_replacement", False),
        min_target_layers=options.get("min_target_layers"),
        all_activations=options.get("return_all_activations", False),
        logprobs=logprobs,
        top_k=_top_k(store, logprobs, options.get("response_logprobs_top_k")),
        random_seed=random_seed,
    )


def _top_k(store: ActivationStore, wanted: bool, top_k: int | None) -> int:
    """The alternatives per token that samples carry; 0 where they carry no log-probabilities."""
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
    if top_k is not None and top_k not in range(stored + 1):
        raise ConfigError(
            f"response_logprobs_top_k={top_k} exceeds the {stored} alternatives per token stored"
        )
    return stored if top_k is None else top_k


def span(layers: Sequence[int]) -> str:
    """Layer ids for a message: `0..6` where they are consecutive, else all of them."""
    if len(layers) > 2 and list(layers) == list(range(layers[0], layers[-1] + 1)):
        return f"{layers[0]}..{layers[-1]}"
    return ", ".join(map(str, layers))
