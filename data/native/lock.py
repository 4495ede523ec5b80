"""Who may write a store: one writer at a time, in the process that opened it."""

import os
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...contracts import StoreError


class StoreLock:
    """Holds a store for one writer, until it is closed or nobody has the lock any more.

    A process forked from this one does not hold it. Windows has no such locks and goes without.

    Args:
        root: the store's folder.

    Attributes:
        held: whether this process may write.

    Raises:
        StoreError: another writer holds it.
    """

    def __init__(self, root: Path) -> None:
        self.held = False
        self._fd = None if sys.platform == "win32" else _lock(root)
        self.held = True
        _LOCKS.add(self)

    def close(self) -> None:
        """Lets the next writer have the store."""
        fd, self._fd, self.held = self._fd, None, False
        if fd is not None:
            os.close(fd)

    def __del__(self) -> None:
        if self.held:
            self.close()


_LOCKS: weakref.WeakSet[StoreLock] = weakref.WeakSet()


@contextmanager
def locked_if_it_works(root: Path) -> Iterator[StoreLock]:
    """A lock that is kept after the block, unless the block raises.

    Raises:
        StoreError: another writer holds it.
    """
    lock = StoreLock(root)
    try:
        yield lock
    except BaseException:
        lock.close()
        raise


def _lock(root: Path) -> int:
    import fcntl

    fd = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise StoreError(
            f"{root}: another writer has this store open; several writers write several stores"
        ) from error
    except BaseException:
        os.close(fd)
        raise
    return fd


def _let_go() -> None:
    for lock in list(_LOCKS):
        lock.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
