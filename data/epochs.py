"""An epoch: its rows in order, cut into batches; pure functions of seeds and numbers."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np

from ..contracts import IGNORE_LABEL, ConfigError, KViewBatch
from .view_sampling import Draw

log = logging.getLogger("kview.data")


class EpochBatches(ABC):
    """A source whose batches are a pure function of its seed, the epoch and the step.

    The order is cut into batches before anything is divided among ranks or workers, and a draw
    carries its epoch, so that none of them can change what a batch holds.

    Attributes:
        labels: (N,) int8 of the rows.
        random_seed: of the order.
    """

    labels: np.ndarray
    random_seed: int

    @abstractmethod
    def read_batches(
        self, batches: list[list[Draw]], *, num_workers: int, pin_memory: bool
    ) -> Iterator[KViewBatch]:
        """Makes the batches of these draws, in order."""

    def __len__(self) -> int:
        """The number of rows, N."""
        return len(self.labels)

    def batches(
        self,
        *,
        epoch: int,
        batch_size: int,
        start_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        balanced: bool = False,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> Iterator[KViewBatch]:
        """The batches of one epoch; see `KViewSource.batches`.

        Raises:
            ConfigError: a setting is out of range or cannot take effect.
        """
        if epoch < 0:
            raise ConfigError(f"epoch={epoch}: epochs count from 0")
        if balanced and not shuffle:
            raise ConfigError(
                "balanced=True draws at random: it cannot take effect with shuffle=False"
            )
        if balanced:
            order = balanced_order(labels=self.labels, seed=self.random_seed, epoch=epoch)
        else:
            order = epoch_order(size=len(self), seed=self.random_seed, epoch=epoch, shuffle=shuffle)
        mine = epoch_batches(
            order, batch_size=batch_size, start_step=start_step, rank=rank, world_size=world_size
        )
        dropped = dropped_tail(len(order), batch_size=batch_size, world_size=world_size)
        if dropped:
            log.info(
                "epoch %d: left out %d samples, fewer than %d ranks", epoch, dropped, world_size
            )
        return self.read_batches(list(mine), num_workers=num_workers, pin_memory=pin_memory)


def epoch_order(*, size: int, seed: int, epoch: int, shuffle: bool) -> list[Draw]:
    """Every row once."""
    order = _generator(seed, epoch).permutation(size) if shuffle else np.arange(size)
    return [Draw(row, epoch) for row in order.tolist()]


def balanced_order(*, labels: np.ndarray, seed: int, epoch: int) -> list[Draw]:
    """As many samples as there are rows, drawn evenly from the labelled classes.

    A class's rows are gone through in random order, and again when all have been drawn, so that
    their counts differ by one at most. Unlabelled rows are not drawn.

    Raises:
        ConfigError: there are not two classes to balance.
    """
    classes = [c for c in np.unique(labels).tolist() if c != IGNORE_LABEL]
    if len(classes) < 2:
        raise ConfigError(
            f"balanced sampling needs rows of both labels; these have {classes or 'none'} only"
        )
    generator = _generator(seed, epoch)
    shares = np.diff(np.linspace(0, len(labels), len(classes) + 1).round().astype(np.int64))
    draws: list[Draw] = []
    for label, share in zip(classes, shares.tolist(), strict=True):
        members = np.flatnonzero(labels == label)
        for repeat in range(-(-share // len(members))):
            left = share - repeat * len(members)
            rows = generator.permutation(members)[:left]
            draws += [Draw(row, epoch, repeat) for row in rows.tolist()]
    return [draws[i] for i in generator.permutation(len(draws)).tolist()]


def epoch_batches(
    order: list[Draw], *, batch_size: int, start_step: int = 0, rank: int = 0, world_size: int = 1
) -> Iterator[list[Draw]]:
    """One rank's share of each batch; batches are cut from the order first and divided after.

    A tail with fewer samples than there are ranks is left out.

    Raises:
        ConfigError: a number is out of range.
    """
    if not 1 <= world_size <= batch_size or not 0 <= rank < world_size or start_step < 0:
        raise ConfigError(
            f"batch_size={batch_size}, rank={rank}, world_size={world_size}, "
            f"start_step={start_step}: a batch needs a sample for every rank, and ranks and steps "
            "count from 0"
        )
    for start in range(start_step * batch_size, len(order), batch_size):
        batch = order[start : start + batch_size]
        if len(batch) >= world_size:
            yield batch[rank::world_size]


def dropped_tail(size: int, *, batch_size: int, world_size: int) -> int:
    """How many samples of an epoch are left out, because they do not make one sample per rank."""
    tail = size % batch_size
    return tail if tail < world_size else 0


def _generator(seed: int, epoch: int) -> np.random.Generator:
    return np.random.default_rng([seed, epoch])
