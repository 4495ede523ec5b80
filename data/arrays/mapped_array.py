"""`MappedArray`: activations in a file that is mapped into memory, in any order of its axes."""

from collections.abc import Callable
from typing import Any

import numpy as np


class MappedArray:
    """A (N, L, T, H) view of a mapped file.

    Args:
        key: its name, for messages.
        open: maps the file; called again in another process.
    """

    def __init__(self, key: str, open: Callable[[], np.ndarray]) -> None:
        self.key = key
        self._open = open
        self._view = open()

    def __reduce__(self) -> tuple[type["MappedArray"], tuple[str, Callable[[], np.ndarray]]]:
        return MappedArray, (self.key, self._open)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, L, T, H)."""
        return self._view.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """What is read, in the machine's byte order."""
        return self._view.dtype.newbyteorder("=")

    def read_block(self, row: int, layer: int, tokens: int, out: memoryview) -> None:
        """Reads the first tokens of a row's layer into `out`, which has exactly their bytes."""
        block = np.frombuffer(out, self.dtype).reshape(tokens, self.shape[3])
        block[:] = self._view[row, layer, :tokens]

    def read(
        self, rows: np.ndarray, layers: np.ndarray, tokens: np.ndarray, out: np.ndarray
    ) -> None:
        """Reads layers (B, K) of rows (B,) into (B, K, T', H), zeros behind `tokens` (B,)."""
        wanted = zip(rows.tolist(), layers.tolist(), tokens.tolist(), strict=True)
        for b, (row, at, count) in enumerate(wanted):
            for k, layer in enumerate(at):
                out[b, k, :count] = self._view[row, layer, :count]
            out[b, :, count:] = 0

    def stored(self, rows: np.ndarray, layers: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """(B, K) bool, all true: the array has every layer of every row."""
        return np.ones(layers.shape, bool)

    def close(self) -> None:
        """Nothing is open but the map."""
