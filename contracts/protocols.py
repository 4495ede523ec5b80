"""What the rooms ask of each other: data sources, encoders and detectors, as protocols."""

from collections.abc import Iterator, Sequence, Sized
from typing import Any, Protocol, Self

import numpy as np
from torch import Tensor

from .embeddings import EmbeddingBatch
from .views import KViewBatch, KViewItem


class KViewSource(Protocol):
    """Where trainers, evaluators and detection take their batches from.

    Rows are the source's samples, 0 to len - 1. What a batch holds is a pure function of (the
    source's seed, epoch, step): any number of workers or ranks sees the same samples and views.
    """

    @property
    def num_views(self) -> int:
        """K, the number of views per sample."""
        ...

    @property
    def views_repeat(self) -> bool:
        """Whether views are drawn with replacement."""
        ...

    @property
    def layer_ids(self) -> tuple[int, ...]:
        """The model's layer id at each position that `view_indices` can name."""
        ...

    @property
    def hashkeys(self) -> Sequence[str]:
        """The rows' ids."""
        ...

    @property
    def labels(self) -> np.ndarray:
        """The rows' labels, (N,) int8: 1, 0 or -1."""
        ...

    @property
    def response_lengths(self) -> np.ndarray:
        """The rows' response lengths in tokens, (N,) int32: untruncated where that is known."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever the rows, the labels or the drawing of views change."""
        ...

    def __len__(self) -> int:
        """The number of rows, N."""
        ...

    def batches(
        self,
        *,
        epoch: int,
        batch_size: int,
        start_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        balanced: bool = False,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> Iterator[KViewBatch]:
        """The batches of one epoch, from `start_step` on, this rank's share of each.

        Args:
            epoch: decides the order and the views.
            batch_size: samples in a batch over all ranks; the last batch may be smaller.
            start_step: the first batch to give.
            rank: this process; it gets every world_size-th sample of a batch.
            world_size: the number of processes; a tail with fewer samples is dropped.
            shuffle: False gives rows in order, each once.
            balanced: draws the labelled classes evenly; an epoch keeps its number of samples.
            num_workers: workers that read ahead, threads or processes.
            pin_memory: gives batches in pinned memory.
        """
        ...


class ItemDataset(Sized, Protocol):
    """A map-style dataset of samples."""

    def __getitem__(self, index: int, /) -> KViewItem:
        """The sample at a position, 0 to len - 1."""
        ...


class Encoder(Protocol):
    """Encodes flattened views: `encoder(x, *, layer_idx, token_mask)`, (M, T, H) -> (M, D).

    It is called with those keywords that its signature has: `layer_idx` (M,), `token_mask` (M, T).
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """The embeddings of the views, (M, D)."""
        ...


class Detector(Protocol):
    """Scores samples by their embeddings; higher means more likely hallucinated."""

    def fit(self, reference: EmbeddingBatch) -> Self:
        """Takes the reference samples; returns itself."""
        ...

    def score(self, batch: EmbeddingBatch) -> Tensor:
        """The scores, (B,)."""
        ...


def steps_per_epoch(num_rows: int, batch_size: int, world_size: int = 1) -> int:
    """Batches in an epoch of `num_rows` samples: one rule for sources and for schedules.

    Args:
        num_rows: samples in an epoch.
        batch_size: samples in a batch, over all processes.
        world_size: processes; a last batch with fewer samples than these is dropped.

    Examples:
        >>> from kview.contracts import steps_per_epoch
        >>> steps_per_epoch(100, batch_size=32)
        4
    """
    full, tail = divmod(num_rows, batch_size)
    return full + (tail >= world_size)
