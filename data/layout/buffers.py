"""Memory for batches, used again when nobody holds the batch any more."""

import sys
import threading
from math import prod

import numpy as np

_KEPT = 4
"""Buffers kept: those that are being read into while another is in use."""


def _references(kept: list[np.ndarray], at: int) -> int:
    return sys.getrefcount(kept[at])


_UNUSED = _references([np.empty(0, np.uint8)], 0)
"""References to a buffer that nothing but the list holds; versions of Python count differently."""


class Buffers:
    """Hands out uninitialised arrays, and keeps the memory of the last few.

    Fresh memory has to be cleared by the system before it is written, which takes as long as
    reading a batch into it does. A buffer is handed out again only when no array, tensor or view
    of it is left.
    """

    def __init__(self) -> None:
        self._kept: list[np.ndarray] = []
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["Buffers"], tuple[()]]:
        return type(self), ()

    def take(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array of any content."""
        size = prod(shape) * dtype.itemsize
        with self._lock:
            for at in range(len(self._kept)):
                if len(self._kept[at]) == size and _references(self._kept, at) == _UNUSED:
                    return self._kept[at].view(dtype).reshape(shape)
            fresh = np.empty(size, np.uint8)
            self._kept = [*self._kept[1 - _KEPT :], fresh]
            return fresh.view(dtype).reshape(shape)

    def clear(self) -> None:
        """Lets go of all memory that nobody uses."""
        with self._lock:
            self._kept.clear()
