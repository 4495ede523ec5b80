"""Which rows, in which order, seen at which views: pure functions of seeds and numbers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..contracts import IGNORE_LABEL, ConfigError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class Draw(NamedTuple):
    """One sample of an epoch: what a worker needs to know to make it.

    Attributes:
        row: of the source.
        epoch: decides the views.
        repeat: how often the epoch has drawn this row before.
    """

    row: int
    epoch: int = 0
    repeat: int = 0


@dataclass(frozen=True, slots=True)
class ViewRule:
    """How the K views of a row are drawn from its layers.

    Attributes:
        num_views: K.
        fixed: a position that comes first in every sample, the other views being drawn from the
            rest; or None.
        replacement: a position may be drawn more than once.
    """

    num_views: int
    fixed: int | None = None
    replacement: bool = False


def draw_views(
    rule: ViewRule, *, seed: int, rows: np.ndarray, draws: list[Draw], available: np.ndarray
) -> np.ndarray:
    """The views of B samples; every subset of a row's available positions is equally likely.

    A sample's views depend on the seed, its row, its epoch, its repeat and its available positions
    alone. Each (row, position) gets a pseudo-random key, and the K smallest keys win, so that a
    position which is taken away changes nothing among the others.

    Args:
        rule: how to draw.
        seed: of the source.
        rows: (B,) what stands for the rows in the drawing.
        draws: B epochs and repeats.
        available: (B, P) bool, the positions that each row has; every row must have enough.

    Returns:
        (B, K) positions.
    """
    epochs = np.array([d.epoch for d in draws], np.uint64)
    repeats = np.array([d.repeat for d in draws], np.uint64)
    stream = _hash(np.full(len(draws), seed % 2**64, np.uint64), rows, epochs, repeats)  # (B,)
    free = available.copy()
    lead = np.empty((len(draws), 0), np.int64)
    if rule.fixed is not None:
        free[:, rule.fixed] = False
        lead = np.full((len(draws), 1), rule.fixed)
    count = rule.num_views - lead.shape[1]
    if rule.replacement:
        keys = _hash(stream[:, None], np.arange(count))  # (B, count)
        nth = (keys >> np.uint64(11)) % free.sum(1, dtype=np.uint64)[:, None]
        order = np.argsort(~free, axis=1, kind="stable")  # available positions first
        drawn = np.take_along_axis(order, nth.astype(np.int64), axis=1)
    else:
        keys = _hash(stream[:, None], np.arange(free.shape[1])) >> np.uint64(1)  # (B, P)
        keys[~free] = np.uint64(2**64 - 1)
        drawn = np.argsort(keys, axis=1, kind="stable")[:, :count]
    return np.concatenate([lead, drawn], axis=1)


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
    """How many samples of an epoch are left out, because they do not make a sample a rank."""
    tail = size % batch_size
    return tail if tail < world_size else 0


def _generator(seed: int, epoch: int) -> np.random.Generator:
    return np.random.default_rng([seed, epoch])


def _hash(*values: np.ndarray) -> np.ndarray:
    """One 64-bit hash of several integers, elementwise (splitmix64's finaliser, chained)."""
    with np.errstate(over="ignore"):  # wrapping round is meant
        h = np.zeros((), np.uint64)
        for value in values:
            h = (h ^ value.astype(np.uint64)) + _GOLDEN
            h = (h ^ (h >> np.uint64(30))) * _MIX[0]
            h = (h ^ (h >> np.uint64(27))) * _MIX[1]
            h = h ^ (h >> np.uint64(31))
    return h
