"""Where the chunks of an array lie: which file, from which byte on, how long."""

from collections import OrderedDict
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import google_crc32c
import numpy as np

from ..contracts import StoreError
from .arrays import CRC_BYTES, ArrayMeta
from .files import Files

MISSING = 2**64 - 1
"""Offset and length of an inner chunk that a shard does not hold."""

_KNOWN_INDICES = 256


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a stored chunk lies.

    Attributes:
        key: the file.
        offset: of its first byte.
        length: in bytes, a checksum included.
    """

    key: str
    offset: int
    length: int


class ShardIndexError(StoreError):
    """The index of a whole shard is damaged.

    Attributes:
        key: the shard's file.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class ChunkIndex:
    """Knows where the chunks of an array lie, shard indices included; a few indices are kept."""

    def __init__(self, files: Files, meta: ArrayMeta) -> None:
        self.files = files
        self.meta = meta
        self._per_file = meta.chunks_per_shard
        self._shards: OrderedDict[str, np.ndarray | None] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_shards": OrderedDict()}

    def extent(self, chunk: tuple[int, ...]) -> Extent | None:
        """Where the chunk at these places of the chunk grid lies; None where a shard has none.

        A chunk with a file of its own is not looked for: its file may be missing.

        Raises:
            ShardIndexError: the shard's index is damaged.
        """
        meta = self.meta
        if meta.sharding is None:
            return Extent(meta.file_key(chunk), 0, meta.chunk_bytes)
        key = meta.file_key(tuple(c // n for c, n in zip(chunk, self._per_file, strict=True)))
        index = self._shard(key)
        if index is None:
            return None
        place = index[tuple(c % n for c, n in zip(chunk, self._per_file, strict=True))]
        offset, length = int(place[0]), int(place[1])
        return None if offset == MISSING else Extent(key, offset, length)

    def stored(self, chunk: tuple[int, ...]) -> bool:
        """Whether the chunk is there."""
        extent = self.extent(chunk)
        if extent is None:
            return False
        return self.meta.sharding is not None or self.files.exists(extent.key)

    def overlapping(self, row: int, layer: int, tokens: int) -> list[tuple[int, ...]]:
        """The chunks that hold the first tokens of a row's layer."""
        rows, layers, per_chunk, hidden = self.meta.chunks
        places = product(range(-(-tokens // per_chunk)), range(-(-self.meta.shape[3] // hidden)))
        return [(row // rows, layer // layers, t, h) for t, h in places]

    def _shard(self, key: str) -> np.ndarray | None:
        if key in self._shards:
            return self._shards[key]
        index = read_shard_index(self.files, self.meta, key)
        self._shards[key] = index
        while len(self._shards) > _KNOWN_INDICES:
            self._shards.popitem(last=False)
        return index


def read_shard_index(files: Files, meta: ArrayMeta, key: str) -> np.ndarray | None:
    """The index of one shard, (chunks per shard..., 2) offsets and lengths; None without a file.

    Raises:
        ShardIndexError: the shard is shorter than its index, or the index fails its checksum.
    """
    sharding = meta.sharding
    assert sharding is not None
    per_file = meta.chunks_per_shard
    length = prod(per_file) * 16 + CRC_BYTES * sharding.checksum
    data = files.edge(key, length, at_end=sharding.at_end)
    if data is None:
        return None
    if len(data) < length:
        message = f"shard {key} is truncated: it has {len(data)} bytes, its index alone {length}"
        raise ShardIndexError(message, key)
    if sharding.checksum:
        data, stored = data[:-CRC_BYTES], data[-CRC_BYTES:]
        if google_crc32c.value(data) != int.from_bytes(stored, "little"):
            message = (
                f"the index of shard {key} fails its checksum: truncated, or bytes have changed"
            )
            raise ShardIndexError(message, key)
    return np.frombuffer(data, "<u8").reshape(*per_file, 2)
