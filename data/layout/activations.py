"""The activations of one store: (row, layer) blocks by the fastest way that its array allows."""

from typing import Any

import numpy as np

from .blocks import read_blocks
from .chunk_index import ChunkIndex, MissingChunkError
from .chunk_reader import ChunkReader
from .decoding import decoding
from .files import Files, LocalFiles
from .metadata import ArrayMeta


class ActivationArray:
    """A (N, L, T, H) array of activations.

    Uncompressed local arrays are read straight from their files, all others through zarr-python.

    Args:
        files: the store's.
        meta: the array's metadata.
    """

    def __init__(self, files: Files, meta: ArrayMeta) -> None:
        self.files = files
        self.meta = meta
        self.index = ChunkIndex(files, meta)
        direct = meta.raw and meta.chunks[3] == meta.shape[3]
        self.reader = (
            ChunkReader(files, meta, self.index)
            if direct and isinstance(files, LocalFiles)
            else ZarrReader(files, meta, self.index)
        )

    @property
    def key(self) -> str:
        """Its name in the store."""
        return self.meta.key

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, L, T, H)."""
        return self.meta.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """What is read, in the machine's byte order."""
        return self.meta.dtype.newbyteorder("=")

    def read(
        self, rows: np.ndarray, layers: np.ndarray, tokens: np.ndarray, out: np.ndarray
    ) -> None:
        """Reads real tokens, and zeros behind them, as `part.Activations.read` says."""
        place = f"{self.files.name}: {self.meta.key}"
        read_blocks(self.reader.read, place, rows, layers, tokens, out)

    def read_block(self, row: int, layer: int, tokens: int, out: memoryview) -> None:
        """Reads the first tokens of a row's layer into `out`, which has exactly their bytes."""
        self.reader.read(row, layer, tokens, out)

    def stored(self, rows: np.ndarray, layers: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Whether every chunk with the first tokens is there.

        Args:
            rows: (B,) rows of the array.
            layers: (B, K) positions on its layer axis.
            tokens: (B,) how many of a row's tokens to look for.

        Returns:
            (B, K) bool.
        """
        found = np.empty(layers.shape, bool)
        for b, (row, at, count) in enumerate(
            zip(rows.tolist(), layers.tolist(), tokens.tolist(), strict=True)
        ):
            for k, layer in enumerate(at):
                found[b, k] = self.index.holds(row, layer, count)
        return found

    def close(self) -> None:
        """Lets go of open files."""
        self.reader.close()


class ZarrReader:
    """Reads compressed, remote or unusually laid out arrays through zarr-python."""

    def __init__(self, files: Files, meta: ArrayMeta, index: ChunkIndex) -> None:
        self.files = files
        self.meta = meta
        self.index = index
        self._array = None

    def __reduce__(self) -> tuple[type["ZarrReader"], tuple[Files, ArrayMeta, ChunkIndex]]:
        return type(self), (self.files, self.meta, self.index)

    def read(self, row: int, layer: int, tokens: int, out: memoryview) -> None:
        """Reads the first tokens of a row's layer into `out`, which has exactly their bytes.

        Raises:
            StoreError: a chunk is missing, or cannot be decoded.
        """
        # zarr-python fills a missing chunk in without a word, so look first
        if not self.index.holds(row, layer, tokens):
            raise MissingChunkError("chunk is missing")
        with decoding("chunk"):
            if self._array is None:
                self._array = self.files.open_array(self.meta.key)
            block = np.asarray(self._array[row, layer, :tokens])
        block = np.ascontiguousarray(block, self.meta.dtype.newbyteorder("="))
        out[:] = block.reshape(-1).data.cast("B")

    def close(self) -> None:
        """Lets go of the array."""
        self._array = None
