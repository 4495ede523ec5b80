"""One side of a split, read once: what detectors and baselines are fitted on and score."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...contracts import (
    ConfigError,
    EmbeddingBatch,
    Encoder,
    KViewBatch,
    KViewSource,
    ViewEncoder,
)
from ...contracts.view_encoder import eval_mode
from ..embedding import embed_layers, placed, view_encoder_at
from ..progress import Count, uncounted
from ..unit_vectors import sample_vectors
from .baselines.logprobs import logprob_scores
from .layer_means import LayerMeans


@dataclass(frozen=True, slots=True)
class Rows:
    """A source's rows.

    Attributes:
        source: where they came from.
        embedded: at the K view layers, (N, K, D).
        untrained: the same rows' vectors by the untrained encoder, (N, 2, D), both views alike;
            None without one.
        means: of the activations at every layer.
        logprobs: scores from log-probabilities by name, (N,); empty where the source has none.
    """

    source: KViewSource
    embedded: EmbeddingBatch
    untrained: EmbeddingBatch | None
    means: LayerMeans
    logprobs: Mapping[str, NDArray[np.float64]]

    @property
    def labels(self) -> NDArray[np.int8]:
        """The rows' labels, (N,): 1, 0 or -1."""
        return np.asarray(self.source.labels, np.int8)

    def vectors(self, x: Tensor) -> EmbeddingBatch:
        """These rows with given vectors (N, D) in place of embeddings."""
        return EmbeddingBatch(
            z_views=x.to(self.embedded.z_views.device).unsqueeze(1).expand(-1, 2, -1),
            hashkey=self.embedded.hashkey,
            halu=self.embedded.halu,
        )


def read_rows(
    encoder: Encoder | ViewEncoder,
    untrained: Encoder | ViewEncoder | None,
    source: KViewSource,
    positions: Sequence[int],
    batch_size: int,
    device: torch.device | str | None,
    open_files: ExitStack,
    progress: Count = uncounted,
) -> Rows:
    """Reads a source once, embedding it at the view layers.

    Args:
        encoder: the one to evaluate.
        untrained: another to embed with, or None.
        source: the rows, every layer a view.
        positions: of the view layers.
        batch_size: rows read at once.
        device: where encoders work; None for where they are.
        open_files: closes the file in which means lie.
        progress: called with the rows that are read, and with all there are.
    """
    means = open_files.enter_context(LayerMeans(len(source), len(source.layer_ids)))
    fresh = (
        None if untrained is None else placed(view_encoder_at(untrained, source, positions), device)
    )
    vectors: list[Tensor] = []
    logprobs: dict[str, list[Tensor]] = {}

    done = 0

    def see(given: KViewBatch, viewed: KViewBatch, layer_means: Tensor) -> None:
        nonlocal done
        done += len(given)
        progress(done, len(source))
        means.append(layer_means.numpy())
        if fresh is not None:
            with eval_mode(fresh.encoder):
                vectors.append(sample_vectors(fresh(viewed)).float())
        if given.logprobs is not None:
            for name, scores in logprob_scores(given.logprobs).items():
                logprobs.setdefault(name, []).append(scores)

    embedded = embed_layers(
        encoder, source, views=positions, see=see, batch_size=batch_size, device=device
    )
    rows = Rows(
        source=source,
        embedded=embedded,
        untrained=None,
        means=means,
        logprobs={name: torch.cat(each).cpu().numpy() for name, each in logprobs.items()},
    )
    return rows if fresh is None else replace(rows, untrained=rows.vectors(torch.cat(vectors)))


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
