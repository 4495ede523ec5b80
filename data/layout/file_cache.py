"""Open files and bytes read from them, without a copy in between."""

import mmap
import os

from ...contracts import StoreError
from .files import LocalFiles

_OPEN_FILES = 128


class Flags:
    """One flag per chunk, shared with the processes forked from this one."""

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

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = os.fstat(self._fd).st_size

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)

    def read_into(self, out: memoryview, offset: int) -> None:
        """Fills `out` with the bytes from `offset` on."""
        fill(self._fd, out, offset)


class FileCache:
    """Files that were read lately, kept open."""

    def __init__(self, files: LocalFiles) -> None:
        self.files = files
        self._open: dict[str, OpenFile] = {}

    def __reduce__(self) -> tuple[type["FileCache"], tuple[LocalFiles]]:
        return type(self), (self.files,)

    def open(self, key: str) -> OpenFile | None:
        """The file of a key, or None where there is none."""
        file = self._open.get(key)
        if file is None:
            fd = self.files.open(key)
            if fd is None:
                return None
            file = OpenFile(fd)
            if len(self._open) >= _OPEN_FILES:
                self._open.clear()  # a file that is being read stays open: its reader holds it
            self._open[key] = file
        return file

    def clear(self) -> None:
        """Lets go of all files."""
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
