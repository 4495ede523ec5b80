"""From (row, layer) to bytes in a file, read straight into the caller's buffer."""

from math import prod

import google_crc32c
import numpy as np

from ...contracts import StoreError
from .chunk_index import ChunkIndex, Extent, MissingChunkError
from .file_cache import FileCache, Flags, OpenFile
from .files import LocalFiles
from .metadata import CRC_BYTES, ArrayMeta


class ChunkReader:
    """Reads the raw chunks of a local (N, L, T, H) array without a copy in between.

    A chunk's checksum is compared when the chunk is first read; which ones have been is known to
    all processes forked afterwards.
    """

    def __init__(self, files: LocalFiles, meta: ArrayMeta, index: ChunkIndex) -> None:
        self.index = index
        self.meta = meta
        self._files = FileCache(files)
        grid = [-(-n // c) for n, c in zip(meta.shape, meta.chunks, strict=True)]
        self._strides = (grid[1] * grid[2], grid[2])
        self._checked = Flags(prod(grid[:3])) if meta.checksum else None
        self._chunk_bytes = meta.chunks[2] * meta.shape[3] * meta.dtype.itemsize  # of one layer

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
        inside = (row % rows * layers + layer % layers) * self._chunk_bytes
        for token in range(-(-tokens // per_chunk)):
            start = token * self._chunk_bytes
            part = out[start : start + self._chunk_bytes]
            self._read(row // rows, layer // layers, token, inside, part)

    def close(self) -> None:
        """Lets go of open files."""
        self._files.clear()

    def _read(self, row: int, layer: int, token: int, inside: int, out: memoryview) -> None:
        """Reads a part of the chunk at these places of the chunk grid, from byte `inside` on."""
        extent = self.index.extent(row, layer, token)
        file = None if extent is None else self._files.open(extent.key)
        if extent is None or file is None:
            raise MissingChunkError("chunk is missing")
        if extent.length != self.meta.chunk_bytes:
            raise StoreError(
                f"chunk has {extent.length} bytes in the index of {extent.key}, not "
                f"{self.meta.chunk_bytes}"
            )
        end = extent.offset + extent.length
        if file.size < end or (self.meta.sharding is None and file.size > end):
            raise StoreError(
                f"chunk is {'truncated' if file.size < end else 'too long'}: {extent.key} has "
                f"{file.size} bytes and the chunk ends at {end}"
            )
        if self._checked is None:
            file.read_into(out, extent.offset + inside)
            return
        number = row * self._strides[0] + layer * self._strides[1] + token
        if self._checked.is_set(number):
            file.read_into(out, extent.offset + inside)
            return
        self._read_checked(file, extent, inside, out)
        self._checked.set(number)

    def _read_checked(self, file: OpenFile, extent: Extent, inside: int, out: memoryview) -> None:
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
