"""Where the chunks of an array lie: which file, from which byte on, how long."""

from math import prod
from typing import NamedTuple

import google_crc32c
import numpy as np

from ...contracts import StoreError
from .files import Files
from .metadata import CRC_BYTES, ArrayMeta

MISSING = 2**64 - 1
"""Offset and length of an inner chunk that a shard does not hold."""

_KNOWN_INDICES = 256


class Extent(NamedTuple):
    """Where a stored chunk lies.

    Attributes:
        key: the file.
        offset: of its first byte.
        length: in bytes, a checksum included.
    """

    key: str
    offset: int
    length: int


class MissingChunkError(StoreError):
    """A chunk with real tokens is missing."""


class ShardIndexError(StoreError):
    """The index of a whole shard is damaged.

    Attributes:
        key: the shard's file.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class ChunkIndex:
    """Knows where the chunks of a (N, L, T, H) array lie; keeps the shard indices read last."""

    def __init__(self, files: Files, meta: ArrayMeta) -> None:
        self.files = files
        self.meta = meta
        self._per_file = meta.chunks_per_shard
        self._shards: dict[tuple[int, ...], tuple[str, memoryview | None]] = {}

    def __reduce__(self) -> tuple[type["ChunkIndex"], tuple[Files, ArrayMeta]]:
        return type(self), (self.files, self.meta)

    def extent(self, row: int, layer: int, token: int, hidden: int = 0) -> Extent | None:
        """Where the chunk at these places of the chunk grid lies; None where a shard has none.

        A chunk with a file of its own is not looked for: its file may be missing.

        Raises:
            ShardIndexError: the shard's index is damaged.
        """
        if self.meta.sharding is None:
            key = self.meta.file_key((row, layer, token, hidden))
            return Extent(key, 0, self.meta.chunk_bytes)
        rows, layers, tokens, width = self._per_file
        place = (row // rows, layer // layers, token // tokens, hidden // width)
        shard = self._shards.get(place)
        if shard is None:
            shard = self._load(place)
        key, index = shard
        if index is None:
            return None
        at = ((row % rows * layers + layer % layers) * tokens + token % tokens) * width
        at = 2 * (at + hidden % width)
        offset = index[at]
        return None if offset == MISSING else Extent(key, offset, index[at + 1])

    def holds(self, row: int, layer: int, tokens: int) -> bool:
        """Whether every chunk with the first tokens of a row's layer is there."""
        rows, layers, per_chunk, width = self.meta.chunks
        for token in range(-(-tokens // per_chunk)):
            for hidden in range(-(-self.meta.shape[3] // width)):
                extent = self.extent(row // rows, layer // layers, token, hidden)
                if extent is None:
                    return False
                if self.meta.sharding is None and not self.files.exists(extent.key):
                    return False
        return True

    def _load(self, place: tuple[int, ...]) -> tuple[str, memoryview | None]:
        key = self.meta.file_key(place)
        index = read_shard_index(self.files, self.meta, key)
        shard = (key, None if index is None else index.reshape(-1).data)
        if len(self._shards) >= _KNOWN_INDICES:
            self._shards.clear()
        self._shards[place] = shard
        return shard


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
    return np.frombuffer(data, "<u8").astype(np.uint64).reshape(*per_file, 2)
