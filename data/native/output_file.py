"""A file that is written by position: what was interrupted can be written again."""

import os
from pathlib import Path
from typing import Self

import numpy as np


class OutputFile:
    """A file being written; has to be closed.

    A symbolic link is not followed: it would lead out of the store.

    Args:
        path: where; made if it is missing.
        empty: what is there goes.
        durable: `settle` waits for the disk.
    """

    def __init__(self, path: Path, *, empty: bool, durable: bool) -> None:
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if empty else 0)
        flags |= getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        self._durable = durable
        self._fd = os.open(path, flags, 0o666)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_fd"):  # an interrupt may fall before a `with` block begins
            self.close()

    def write(self, data: bytes | np.ndarray, at: int) -> None:
        """Writes bytes at a place, whatever is there."""
        left = memoryview(data if isinstance(data, bytes) else data.data).cast("B")
        while len(left):
            os.lseek(self._fd, at, os.SEEK_SET)
            done = os.write(self._fd, left)
            left, at = left[done:], at + done

    def cut(self, size: int) -> None:
        """Makes the file exactly so long."""
        os.ftruncate(self._fd, size)

    def settle(self) -> None:
        """Waits until the file is on the disk, where that was asked for."""
        if self._durable:
            os.fsync(self._fd)

    def close(self) -> None:
        """Lets go of the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
