"""From (row, layer) to bytes in a file, read straight into the caller's buffer."""

from math import prod

import google_crc32c
import numpy as np

from ..contracts import StoreError
from .arrays import CRC_BYTES, ArrayMeta
from .chunks import ChunkIndex, Extent
from .files import LocalFiles
from .handles import FileCache, Flags, OpenFile


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
        end = extent.offset + extent.length
        if file.size < end or (self.meta.sharding is None and file.size > end):
            raise StoreError(
                f"chunk is {'truncated' if file.size < end else 'too long'}: {extent.key} has "
                f"{file.size} bytes and the chunk ends at {end}"
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
