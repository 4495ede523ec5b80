"""`draw_views`: which layers a row is seen at, as a pure function of seeds and numbers."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

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
