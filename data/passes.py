"""`Passes`: how often each row has been read through a loader, known to all of its workers."""

import mmap
from multiprocessing.context import get_spawning_popen

import numpy as np
import torch
from torch import Tensor

from .view_sampling import Draw


class Passes:
    """Gives each row's n-th reading epoch n, in whichever process it is read.

    The counts lie in memory that is shared with forked processes, and is moved to where spawned
    ones have it, too, when one is spawned: a worker of a DataLoader, kept or started anew each
    epoch, counts on where the last one stopped.

    Args:
        size: the number of rows.
    """

    def __init__(self, size: int) -> None:
        self._counts = _shared_by_forks(size)

    def __getstate__(self) -> Tensor:
        if get_spawning_popen() is not None and not self._counts.is_shared():
            self._counts = self._counts.clone().share_memory_()
        return self._counts

    def __setstate__(self, counts: Tensor) -> None:
        self._counts = counts if counts.is_shared() else _shared_by_forks(len(counts)).copy_(counts)

    def start(self, epoch: int) -> None:
        """The next reading of every row is the one of this epoch."""
        self._counts.fill_(epoch)

    def next(self, row: int) -> Draw:
        """The draw of a row's next reading."""
        epoch = int(self._counts[row])
        self._counts[row] += 1
        return Draw(row, epoch)


def _shared_by_forks(size: int) -> Tensor:
    """(size,) int32 zeros, for which no file is kept open."""
    memory = mmap.mmap(-1, max(1, 4 * size))
    return torch.from_numpy(np.frombuffer(memory, np.int32, size))
