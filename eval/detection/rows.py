"""One side of a split, read once: what detectors and baselines are fitted on and score."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

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
from ..embedding import embed_layers, placed, require_every_layer, view_encoder_at
from ..progress import Count, uncounted
from ..unit_vectors import sample_vectors
from .baselines.logprobs import logprob_scores
from .layer_means import LayerMeans
from .scoring import NoMetrics


@dataclass(frozen=True, slots=True)
class Rows:
    """A source's rows.

    Attributes:
        source: where they came from.
        embedded: at the K view layers, (N, K, D).
        untrained: the same rows' vectors by the untrained encoder, (N, 2, D), both views alike; or
            why there is none.
        means: of the activations at every layer.
        logprobs: scores from log-probabilities by name, (N,); empty where the source has none.
    """

    source: KViewSource
    embedded: EmbeddingBatch
    untrained: EmbeddingBatch | NoMetrics
    means: LayerMeans
    logprobs: Mapping[str, NDArray[np.float64]]

    @property
    def labels(self) -> NDArray[np.int8]:
        """The rows' labels, (N,): 1, 0 or -1."""
        return np.asarray(self.source.labels, np.int8)

    def vectors(self, x: Tensor) -> EmbeddingBatch:
        """These rows with given vectors (N, D) in place of embeddings."""
        return _in_place(self.embedded, x)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How rows are read: the training rows, and in the same way all that are scored.

    Attributes:
        encoder: the one to evaluate.
        untrained: another to embed with; or why there is none.
        layers: the model's layer ids, each a view of every source.
        positions: of the K view layers among them.
        batch_size: rows read at once.
        device: where encoders work; None for where they are.
    """

    encoder: Encoder | ViewEncoder
    untrained: Encoder | ViewEncoder | NoMetrics
    layers: tuple[int, ...]
    positions: tuple[int, ...]
    batch_size: int
    device: torch.device | str | None


def read_rows(
    how: Reading, source: KViewSource, open_files: ExitStack, progress: Count = uncounted
) -> Rows:
    """Reads a source once, embedding it at the view layers.

    Args:
        how: with which encoders, and at which layers.
        source: the rows, every layer a view.
        open_files: closes the file in which means lie.
        progress: called with the rows that are read, and with all there are.
    """
    means = open_files.enter_context(LayerMeans(len(source), len(source.layer_ids)))
    other, fresh = how.untrained, None
    if not isinstance(other, NoMetrics):
        fresh = placed(view_encoder_at(other, source, how.positions), how.device)
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
        how.encoder,
        source,
        views=how.positions,
        see=see,
        batch_size=how.batch_size,
        device=how.device,
    )
    return Rows(
        source=source,
        embedded=embedded,
        untrained=other
        if isinstance(other, NoMetrics)
        else _in_place(embedded, torch.cat(vectors)),
        means=means,
        logprobs={name: torch.cat(each).cpu().numpy() for name, each in logprobs.items()},
    )


def _in_place(embedded: EmbeddingBatch, x: Tensor) -> EmbeddingBatch:
    """The same rows with given vectors (N, D) in place of embeddings."""
    return EmbeddingBatch(
        z_views=x.to(embedded.z_views.device).unsqueeze(1).expand(-1, 2, -1),
        hashkey=embedded.hashkey,
        halu=embedded.halu,
    )


def require_layers(layers: Sequence[int], name: str, source: KViewSource) -> None:
    """Refuses a source that shows other layers than the training rows, or not every one.

    Args:
        layers: the training rows' layer ids.
        name: of the source.
        source: some rows.

    Raises:
        ConfigError: saying which.
    """
    if tuple(source.layer_ids) != tuple(layers):
        raise ConfigError(
            f"train shows layers {tuple(layers)}, {name} shows layers {tuple(source.layer_ids)}; "
            "what is fitted on a layer needs the same one to score"
        )
    require_every_layer(source)


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
