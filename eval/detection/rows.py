"""One side of a split, read once: what detectors and probes are fitted on and score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...contracts import ConfigError, EmbeddingBatch, Encoder, KViewSource, ViewEncoder
from ..embedding import embed_layers


@dataclass(frozen=True, slots=True)
class Rows:
    """A source's rows.

    Attributes:
        source: where they came from.
        embedded: at the K view layers, (N, K, D).
        means: of the activations at every layer, (N, L, H).
    """

    source: KViewSource
    embedded: EmbeddingBatch
    means: NDArray[np.float32]

    @property
    def labels(self) -> NDArray[np.int8]:
        """The rows' labels, (N,): 1, 0 or -1."""
        return np.asarray(self.source.labels, np.int8)


def read_rows(
    encoder: Encoder | ViewEncoder,
    source: KViewSource,
    positions: Sequence[int],
    batch_size: int,
    device: torch.device | str | None,
) -> Rows:
    """Reads a source once, embedding it at the view layers."""
    embedded, means = embed_layers(
        encoder, source, views=positions, batch_size=batch_size, device=device
    )
    return Rows(source, embedded, means.numpy())


def layers_of_all(sources: Mapping[str, KViewSource]) -> tuple[int, ...]:
    """The layers that all sources show.

    Raises:
        ConfigError: they show different ones.
    """
    shown = {name: tuple(source.layer_ids) for name, source in sources.items()}
    first = next(iter(shown.values()))
    if any(ids != first for ids in shown.values()):
        raise ConfigError(
            f"{', '.join(f'{name} shows layers {ids}' for name, ids in shown.items())}; what is "
            "fitted on a layer needs the same one to score"
        )
    return first


def view_positions(
    views: Sequence[int] | None, layers: tuple[int, ...], known: Sequence[int] | None
) -> tuple[int, ...]:
    """The positions of the view layers: those given, or those of all layers the encoder knows.

    Args:
        views: positions among the layers, or None.
        layers: the model's layer ids.
        known: those that the encoder knows; None where it takes any.

    Raises:
        ConfigError: they are fewer than two, out of range, or repeat.
    """
    if views is None:
        views = [i for i, layer in enumerate(layers) if known is None or layer in known]
    positions = tuple(views)
    if len(set(positions) & set(range(len(layers)))) < max(2, len(positions)):
        raise ConfigError(
            f"views={list(positions)} must be at least two positions from 0 to {len(layers) - 1}, "
            "each once"
        )
    return positions
