"""Blocks of activations, one per row and layer: how batches are read of them, in any format."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from ...contracts import StoreError

ReadBlock = Callable[[int, int, int, memoryview], None]
"""Reads the first tokens of a row's layer into a buffer of exactly their bytes."""


class Blocks(Protocol):
    """A (N, L, T, H) array that is read block by block."""

    @property
    def key(self) -> str:
        """Its name in the store."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, L, T, H)."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """What is read."""
        ...

    def read_block(self, row: int, layer: int, tokens: int, out: memoryview) -> None:
        """Reads the first tokens of a row's layer; raises a StoreError for what is wrong."""
        ...


def read_blocks(
    read: ReadBlock,
    place: str,
    rows: np.ndarray,
    layers: np.ndarray,
    tokens: np.ndarray,
    out: np.ndarray,
) -> None:
    """Reads the real tokens of each row's layers, and zeros behind them.

    Args:
        read: reads one block.
        place: store and array, for messages.
        rows: (B,) rows of the array.
        layers: (B, K) positions on its layer axis.
        tokens: (B,) how many of a row's tokens are real, at most T'.
        out: (B, K, T', H), C-contiguous, of the array's dtype.

    Raises:
        StoreError: a block cannot be read; names place, row and layer.
    """
    _, views, length, hidden = out.shape
    block, token = length * hidden * out.itemsize, hidden * out.itemsize
    flat = out.reshape(-1).data.cast("B")
    wanted = zip(rows.tolist(), layers.tolist(), tokens.tolist(), strict=True)
    for b, (row, at, count) in enumerate(wanted):
        for k, layer in enumerate(at):
            start = (b * views + k) * block
            try:
                read(row, layer, count, flat[start : start + count * token])
            except StoreError as error:
                raise type(error)(f"{place}, row {row}, layer {layer}: {error}") from error
        if count < length:
            out[b, :, count:] = 0
