"""`FlatArray`: an array that is one local file, without chunks and without a header of its own."""

from math import prod
from typing import Any

import numpy as np

from ...contracts import StoreError
from .blocks import read_blocks
from .file_cache import FileCache, OpenFile
from .files import LocalFiles


class FlatArray:
    """Elements in C order, little-endian, from some byte of a file on to its end.

    Args:
        files: the store's.
        key: the file.
        shape: (N, ...), and (N, L, T, H) where blocks are read.
        dtype: of its elements.
        offset: the first element's byte.

    Raises:
        StoreError: the file is missing, or has another size.
    """

    def __init__(
        self,
        files: LocalFiles,
        key: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        offset: int = 0,
    ) -> None:
        self.files = files
        self.key = key
        self.shape = shape
        self.dtype = dtype
        self.offset = offset
        self._row_bytes = prod(shape[1:]) * dtype.itemsize
        self._cache = FileCache(files)
        size, expected = files.size(key), offset + shape[0] * self._row_bytes
        if size is None:
            raise StoreError(f"{files.name}: there is no {key}")
        if size != expected:
            sides = " x ".join(map(str, shape))
            raise StoreError(
                f"{files.name}: {key} has {size} bytes, not {expected} ({sides} of {dtype}"
                f"{f' from byte {offset} on' if offset else ''}): it is "
                f"{'truncated' if size < expected else 'too long'}, or of another shape or dtype"
            )

    def _file(self) -> OpenFile:
        file = self._cache.open(self.key)
        if file is None:
            raise StoreError(f"{self.files.name}: there is no {self.key}")
        return file

    def take(self, rows: np.ndarray) -> np.ndarray:
        """(B, ...) the values of rows (B,)."""
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        if out.size:
            file, flat, size = self._file(), out.reshape(-1).data.cast("B"), self._row_bytes
            for b, row in enumerate(rows.tolist()):
                file.read_into(flat[b * size : (b + 1) * size], self.offset + row * size)
        return out

    def whole(self) -> np.ndarray:
        """All values."""
        out = np.empty(self.shape, self.dtype)
        if out.size:
            self._file().read_into(out.reshape(-1).data.cast("B"), self.offset)
        return out

    def read_block(self, row: int, layer: int, tokens: int, out: memoryview) -> None:
        """Reads the first tokens of a row's layer; `out` has exactly their bytes.

        Raises:
            StoreError: the file is shorter than it was, or gone.
        """
        size = self._row_bytes
        self._file().read_into(out, self.offset + row * size + layer * (size // self.shape[1]))

    def read(
        self, rows: np.ndarray, layers: np.ndarray, tokens: np.ndarray, out: np.ndarray
    ) -> None:
        """Reads views, as `read_blocks` does."""
        place = f"{self.files.name}: {self.key}"
        read_blocks(self.read_block, place, rows, layers, tokens, out)

    def stored(self, rows: np.ndarray, layers: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """(B, K) bool, all true: the file has every layer of every row."""
        return np.ones(layers.shape, bool)

    def close(self) -> None:
        """Lets go of the open file."""
        self._cache.clear()
