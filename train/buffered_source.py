"""A source that is read in small batches and gives large ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..contracts import ConfigError, KViewBatch, KViewSource, ResponseLogprobs


@dataclass(frozen=True)
class BufferedSource:
    """Reads `sub_batch_size` samples at a time from a source and joins them to batches.

    Which samples and views a batch holds is decided by the source inside, as ever.

    Args:
        source: the source inside.
        sub_batch_size: samples that the source is asked for at once, over all processes; it must
            divide the batch size.

    Raises:
        ConfigError: `sub_batch_size` is below 1.
    """

    source: KViewSource
    sub_batch_size: int

    def __post_init__(self) -> None:
        if self.sub_batch_size < 1:
            raise ConfigError(f"sub_batch_size={self.sub_batch_size} must be at least 1")

    @property
    def num_views(self) -> int:
        return self.source.num_views

    @property
    def views_repeat(self) -> bool:
        return self.source.views_repeat

    @property
    def layer_ids(self) -> tuple[int, ...]:
        return self.source.layer_ids

    @property
    def hashkeys(self) -> Sequence[str]:
        return self.source.hashkeys

    @property
    def labels(self) -> np.ndarray:
        return self.source.labels

    @property
    def response_lengths(self) -> np.ndarray:
        return self.source.response_lengths

    @property
    def fingerprint(self) -> str:
        return self.source.fingerprint

    def __len__(self) -> int:
        return len(self.source)

    def batches(
        self, *, epoch: int, batch_size: int, start_step: int = 0, **reading: Any
    ) -> Iterator[KViewBatch]:
        """The source's batches, joined to `batch_size`.

        Raises:
            ConfigError: `sub_batch_size` does not divide `batch_size`.
        """
        if batch_size % self.sub_batch_size:
            raise ConfigError(
                f"sub_batch_size={self.sub_batch_size} must divide batch_size={batch_size}"
            )
        parts = batch_size // self.sub_batch_size
        inner = self.source.batches(
            epoch=epoch,
            batch_size=self.sub_batch_size,
            start_step=start_step * parts,
            **reading,
        )
        return _joined(inner, parts)


def join_batches(batches: Sequence[KViewBatch]) -> KViewBatch:
    """One batch out of several with equal K, T and H.

    Raises:
        ContractError: they do not fit together.
    """
    if len(batches) == 1:
        return batches[0]
    values = {name: _join([batch[name] for batch in batches]) for name in batches[0]}
    return KViewBatch(**values)


def _joined(inner: Iterator[KViewBatch], parts: int) -> Iterator[KViewBatch]:
    held: list[KViewBatch] = []
    for batch in inner:
        held.append(batch)
        if len(held) == parts:
            yield join_batches(held)
            held = []
    if held:
        yield join_batches(held)


def _join(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(values)
    if isinstance(first, list):
        return [item for value in values for item in value]
    if isinstance(first, ResponseLogprobs):
        return ResponseLogprobs(**{n: _join([value[n] for value in values]) for n in first})
    return first
