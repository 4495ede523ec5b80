"""Writes a shard: chunks one after the other, then the index of Zarr's sharding codec."""

import os
from pathlib import Path
from typing import Self

import google_crc32c
import numpy as np

from ...contracts import StoreError
from ..layout.chunks import MISSING
from ..layout.metadata import CRC_BYTES
from .folder import ASIDE, Folder
from .schema import ACTIVATIONS, NativeSchema


class ShardFile:
    """The shard that takes a store's next row, written aside until it is finished.

    Use `begin`.
    """

    def __init__(self, folder: Folder, schema: NativeSchema, path: Path, fd: int) -> None:
        self._folder = folder
        self._schema = schema
        self._path = path
        self._fd = fd
        self._rows = schema.rows % schema.shard_rows

    @classmethod
    def begin(cls, folder: Folder, schema: NativeSchema) -> Self:
        """A file for the rows after the committed ones; those of a partial shard are copied to it.

        Raises:
            StoreError: the partial shard is not what this writer wrote.
        """
        number = schema.rows // schema.shard_rows
        path = folder.root / ACTIVATIONS / f"c.{number}.0.0.0"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
        fd = os.open(path.with_name(path.name + ASIDE), flags, 0o644)
        shard = cls(folder, schema, path, fd)
        try:
            shard._copy_committed()
        except OSError:
            shard.discard()
            raise
        return shard

    def write(self, row: np.ndarray) -> None:
        """Writes one row, (L, bytes of a chunk with its checksum) uint8."""
        _write(self._fd, row)
        self._rows += 1

    def finish(self) -> None:
        """Writes the index and puts the file in place."""
        index = shard_index(self._schema, self._rows).tobytes()
        _write(self._fd, index + google_crc32c.value(index).to_bytes(CRC_BYTES, "little"))
        self._folder.settle(self._fd)
        os.close(self._fd)
        self._fd = -1
        self._folder.move(self._path.with_name(self._path.name + ASIDE), self._path)

    def discard(self) -> None:
        """Removes the unfinished file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._path.with_name(self._path.name + ASIDE).unlink(missing_ok=True)

    def _copy_committed(self) -> None:
        left = self._rows * len(self._schema.layers) * (self._schema.block_bytes + CRC_BYTES)
        if not left:
            return
        with self._path.open("rb") as committed:
            while left:
                data = committed.read(min(left, 2**24))
                if not data:
                    raise StoreError(f"{self._path} is truncated: {left} committed bytes are gone")
                _write(self._fd, data)
                left -= len(data)


def shard_index(schema: NativeSchema, rows: int) -> np.ndarray:
    """The index of a shard with so many rows: (offset, length) of each (row, layer), uint64."""
    layers, chunk = len(schema.layers), schema.block_bytes + CRC_BYTES
    index = np.full((schema.shard_rows, layers, 2), MISSING, "<u8")
    held = np.arange(rows * layers, dtype=np.uint64).reshape(rows, layers)
    index[:rows, :, 0] = held * np.uint64(chunk)
    index[:rows, :, 1] = chunk
    return index


def _write(fd: int, data: bytes | np.ndarray) -> None:
    left = memoryview(data.reshape(-1).data if isinstance(data, np.ndarray) else data)
    while len(left):
        left = left[os.write(fd, left) :]
