"""From (row, layer) to bytes in a file, read straight into the caller's buffer."""

import mmap
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from ..contracts import StoreError
from .arrays import CRC_BYTES, ArrayMeta
from .files import Files, LocalFiles

MISSING = 2**64 - 1
"""Offset and length of an inner chunk that a shard does not hold."""

_OPEN_FILES = 64
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
            StoreError: the shard's index is damaged.
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
        StoreError: the shard is shorter than its index, or the index fails its checksum.
    """
    sharding = meta.sharding
    assert sharding is not None
    per_file = meta.chunks_per_shard
    length = prod(per_file) * 16 + CRC_BYTES * sharding.checksum
    data = files.edge(key, length, at_end=sharding.at_end)
    if data is None:
        return None
    if len(data) < length:
        raise StoreError(
            f"{files.name}: shard {key} is truncated: it has {len(data)} bytes and its index alone "
            f"{length}"
        )
    if sharding.checksum:
        data, stored = data[:-CRC_BYTES], data[-CRC_BYTES:]
        if google_crc32c.value(data) != int.from_bytes(stored, "little"):
            raise StoreError(
                f"{files.name}: the index of shard {key} fails its checksum: the shard is "
                "truncated or its bytes have changed"
            )
    return np.frombuffer(data, "<u8").reshape(*per_file, 2)


class ExtentReader:
    """Reads the raw chunks of a local (N, L, T, H) array without a copy in between.

    A chunk's checksum is compared when the chunk is first read; which ones have been is known to
    all processes forked afterwards.
    """

    def __init__(self, files: LocalFiles, meta: ArrayMeta) -> None:
        self.index = ChunkIndex(files, meta)
        self.meta = meta
        self._files = FileCache(files.root)
        grid = [-(-n // c) for n, c in zip(meta.shape, meta.chunks, strict=True)]
        self._strides = (grid[1] * grid[2], grid[2])
        self._checked = Flags(prod(grid[:3])) if meta.checksum else None
        self._token_bytes = meta.shape[3] * meta.dtype.itemsize
        self._chunk_tokens = meta.chunks[2]

    def read(self, row: int, layer: int, tokens: int, out: memoryview) -> None:
        """Reads the first tokens of a row's layer.

        Args:
            row: of the array.
            layer: of the array.
            tokens: how many; `out` has exactly their bytes.
            out: where to.

        Raises:
            StoreError: a chunk is missing, truncated, or fails its checksum.
        """
        rows, layers, per_chunk, _ = self.meta.chunks
        inside = ((row % rows) * layers + layer % layers) * per_chunk * self._token_bytes
        for t in range(-(-tokens // per_chunk)):
            first = t * per_chunk * self._token_bytes
            last = min(tokens, (t + 1) * per_chunk) * self._token_bytes
            self._read((row // rows, layer // layers, t, 0), inside, out[first:last])

    def close(self) -> None:
        """Lets go of open files."""
        self._files.clear()

    def _read(self, chunk: tuple[int, int, int, int], inside: int, out: memoryview) -> None:
        extent = self.index.extent(chunk)
        file = None if extent is None else self._files.open(extent.key)
        if extent is None or file is None:
            raise StoreError("chunk is missing")
        if extent.length != self.meta.chunk_bytes:
            raise StoreError(
                f"chunk has {extent.length} bytes in the index of {extent.key}, not "
                f"{self.meta.chunk_bytes}"
            )
        if file.size < extent.offset + extent.length:
            raise StoreError(
                f"chunk is truncated: {extent.key} has {file.size} bytes and the chunk ends at "
                f"{extent.offset + extent.length}"
            )
        if self._checked is None:
            file.read_into(out, extent.offset + inside)
            return
        number = chunk[0] * self._strides[0] + chunk[1] * self._strides[1] + chunk[2]
        if self._checked.is_set(number):
            file.read_into(out, extent.offset + inside)
            return
        self._read_checked(file, extent, inside, out)
        self._checked.set(number)

    def _read_checked(self, file: "OpenFile", extent: Extent, inside: int, out: memoryview) -> None:
        size = extent.length - CRC_BYTES
        whole = out if len(out) == size else memoryview(bytearray(size))
        checksum = memoryview(bytearray(CRC_BYTES))
        file.read_into(whole, extent.offset)
        file.read_into(checksum, extent.offset + size)
        if google_crc32c.value(np.frombuffer(whole, np.uint8)) != int.from_bytes(
            checksum, "little"
        ):
            raise StoreError(f"chunk fails its checksum: bytes have changed in {extent.key}")
        if whole is not out:
            out[:] = whole[inside : inside + len(out)]


class Flags:
    """One flag a chunk, shared with the processes forked from this one."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._flags = mmap.mmap(-1, max(1, count))

    def is_set(self, number: int) -> bool:
        return self._flags[number] == 1

    def set(self, number: int) -> None:
        self._flags[number] = 1

    def __reduce__(self) -> tuple[type["Flags"], tuple[int]]:
        return type(self), (self.count,)


class OpenFile:
    """A file that is open for reading for as long as somebody holds it."""

    __slots__ = ("_fd", "size")

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self.size = os.fstat(self._fd).st_size

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)

    def read_into(self, out: memoryview, offset: int) -> None:
        """Fills `out` with the bytes from `offset` on."""
        fill(self._fd, out, offset)


class FileCache:
    """The files read last, kept open; safe to share between threads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._open: OrderedDict[str, OpenFile] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["FileCache"], tuple[Path]]:
        return type(self), (self.root,)

    def open(self, key: str) -> OpenFile | None:
        """The file of a key, or None where there is none."""
        with self._lock:
            file = self._open.get(key)
            if file is not None:
                self._open.move_to_end(key)
                return file
            try:
                file = OpenFile(self.root / key)
            except FileNotFoundError:
                return None
            self._open[key] = file
            while len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)
            return file

    def clear(self) -> None:
        """Lets go of all files."""
        with self._lock:
            self._open.clear()


def _fill_preadv(fd: int, out: memoryview, offset: int) -> None:
    while len(out):
        count = os.preadv(fd, [out], offset)
        if count == 0:
            raise StoreError(f"file ends {len(out)} bytes early")
        out, offset = out[count:], offset + count


def _fill_mapped(fd: int, out: memoryview, offset: int) -> None:
    with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as mapped:
        if len(mapped) < offset + len(out):
            raise StoreError(f"file ends {offset + len(out) - len(mapped)} bytes early")
        with memoryview(mapped) as view:
            out[:] = view[offset : offset + len(out)]


fill = _fill_preadv if hasattr(os, "preadv") else _fill_mapped
"""Fills a buffer from an open file; macOS before 11 and Windows have no `preadv`."""
