"""`Passes`: how often each row has been read through a loader, known to all of its workers."""

import torch

from .view_sampling import Draw


class Passes:
    """Gives each row's n-th reading epoch n, in whichever process it is read.

    The counts lie in shared memory: a worker of a DataLoader, forked or spawned, kept or started
    anew each epoch, counts on where the last one stopped.

    Args:
        size: the number of rows.
    """

    def __init__(self, size: int) -> None:
        self._counts = torch.zeros(size, dtype=torch.int32).share_memory_()

    def start(self, epoch: int) -> None:
        """The next reading of every row is the one of this epoch."""
        self._counts.fill_(epoch)

    def next(self, row: int) -> Draw:
        """The draw of a row's next reading."""
        epoch = int(self._counts[row])
        self._counts[row] += 1
        return Draw(row, epoch)
