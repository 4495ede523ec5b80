"""The shard that takes a store's next rows: an index, and behind it chunk after chunk."""

from typing import Protocol

import numpy as np

from ...contracts import StoreError
from ..layout.chunk_index import MISSING
from .folder import Folder
from .schema import NativeSchema


class Shard(Protocol):
    """A file of activations that a writer fills.

    Attributes:
        number: which file of the array it is.
    """

    number: int

    def write(self, row: int, stored: np.ndarray) -> None:
        """Writes a row of the store, (L, bytes of a chunk with its checksum) uint8; again, too."""
        ...

    def commit(self, first: int, end: int) -> None:
        """Lets readers find the rows from `first` to before `end`, the last one written."""
        ...

    def close(self) -> None:
        """Lets go of the file."""
        ...


class ShardFile:
    """A shard with its index at the start, written in place.

    A row has its place in the file by its number, and its entries in the index are written when it
    is committed. What a committed row consists of is never written again, so that whoever reads
    beside, and whatever was interrupted or killed, finds it whole. That is why this index has no
    checksum; its entries are a function of the row.

    Args:
        folder: the store's.
        schema: the store's.
        row: the next row; those before it in the shard stay.

    Raises:
        StoreError: those before it are not what this writer wrote.
    """

    def __init__(self, folder: Folder, schema: NativeSchema, row: int) -> None:
        self.number = row // schema.shard_rows
        self._schema = schema
        key, kept = schema.shard_key(self.number), row % schema.shard_rows
        index = shard_index(schema, kept)
        if kept:
            self._require_committed(folder, index[:kept].tobytes())
        self._file = folder.open(key, empty=not kept)
        try:
            self._file.cut(schema.row_offset(row))
            self._file.write(index[kept:], index[:kept].nbytes)
        except BaseException:
            self._file.close()
            raise

    def write(self, row: int, stored: np.ndarray) -> None:
        self._file.write(stored, self._schema.row_offset(row))

    def commit(self, first: int, end: int) -> None:
        start = first % self._schema.shard_rows
        entries = shard_entries(self._schema, start, start + end - first)
        self._file.write(entries, start * self._schema.entry_bytes)
        self._file.settle()

    def close(self) -> None:
        self._file.close()

    def _require_committed(self, folder: Folder, entries: bytes) -> None:
        path = folder.root / self._schema.shard_key(self.number)
        rows = self.number * self._schema.shard_rows + len(entries) // self._schema.entry_bytes
        with path.open("rb") as file:
            found, size = file.read(len(entries)), path.stat().st_size
        if found != entries or size < self._schema.row_offset(rows):
            raise StoreError(f"{path} is truncated or changed: it is not what a writer left there")


def shard_index(schema: NativeSchema, rows: int) -> np.ndarray:
    """The index of a shard with so many rows, (S, L, 2) uint64: offset and length of each chunk."""
    index = np.full((schema.shard_rows, len(schema.layers), 2), MISSING, "<u8")
    index[:rows] = shard_entries(schema, 0, rows)
    return index


def shard_entries(schema: NativeSchema, first: int, end: int) -> np.ndarray:
    """The entries of a shard's rows from `first` to before `end`, (rows, L, 2) uint64."""
    layers, chunk = len(schema.layers), schema.chunk_bytes
    entries = np.empty((end - first, layers, 2), "<u8")
    held = np.arange(first * layers, end * layers, dtype=np.uint64).reshape(-1, layers)
    entries[:, :, 0] = held * np.uint64(chunk) + np.uint64(schema.row_offset(0))
    entries[:, :, 1] = chunk
    return entries
