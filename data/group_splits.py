"""Whole groups to sides: the nearest to the asked shares, with every label on every side."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..contracts import IGNORE_LABEL, LabelError

NEAR = 0.02
"""How far a side's share may be from the one that was asked for, where groups allow it."""

_ALL = 200_000
"""Assignments up to which every one of them is looked at."""

_KICKS = 100
"""How often a search goes on from a best that is not near."""

_SWAPS = 2000
"""Pairs of groups, drawn anew at every step, that are considered for a swap."""


class Shares(NamedTuple):
    """What the sides are to hold.

    Attributes:
        names: of the sides, S.
        asked: each one's share of the rows, (S,), adding up to 1.
    """

    names: tuple[str, ...]
    asked: NDArray[np.float64]


class Table(NamedTuple):
    """The groups' rows, counted.

    Attributes:
        counts: (G, 1 + C): each group's rows, and those of each label.
        required: (1 + C,) whether a side needs some: rows, and labels but unlabelled ones.
    """

    counts: NDArray[np.float64]
    required: NDArray[np.bool_]

    @classmethod
    def of(cls, labels: np.ndarray, members: np.ndarray) -> "Table":
        """Counts rows with labels (N,) in groups 0 to G - 1, (N,)."""
        classes = np.unique(labels)
        columns = [np.ones(len(labels)), *(labels == label for label in classes)]
        counts = [np.bincount(members, weights=column) for column in columns]
        return cls(
            np.stack(counts, axis=1).astype(np.float64),
            np.array([True, *(classes != IGNORE_LABEL)]),
        )


def is_near(labels: np.ndarray, sides: np.ndarray, shares: Shares) -> bool:
    """Whether every side has its share of the rows, within `NEAR`, and every label.

    Args:
        labels: (N,).
        sides: (N,) positions in the shares' names.
        shares: what was asked for.
    """
    table = Table.of(labels, np.arange(len(labels)))
    return bool(_cost(table, _held(table, sides[None], len(shares.asked)), shares.asked)[0] < 1)


def assign_groups(
    labels: np.ndarray, groups: Sequence[str] | np.ndarray, shares: Shares, seed: int
) -> np.ndarray:
    """The side of every row, (N,), by an assignment of whole groups.

    Every label is on every side; then the shares are within `NEAR` of those asked for, where
    groups allow it; then labels are balanced. Of few groups every assignment is looked at; of many,
    those that greedy starts, moves and swaps lead to.

    Args:
        labels: (N,): 1, 0 or -1.
        groups: (N,).
        shares: what the sides are to hold.
        seed: of the order in which groups are looked at.

    Raises:
        LabelError: a label cannot be on every side, or a side cannot come within half of its share.
    """
    names, members = np.unique(np.asarray(groups, object), return_inverse=True)
    random = np.random.default_rng(seed)
    order = random.permutation(len(names))
    table = Table.of(labels, order[members])
    S = len(shares.asked)
    few = S ** len(names) <= _ALL
    best = _best_of_all(table, shares.asked) if few else _searched(table, shares.asked, random)
    held = _held(table, best[None], S)[0]
    _require_possible(labels, table, held, shares)
    return best[order[members]]


def _cost(
    table: Table, held: NDArray[np.float64], asked: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What is wrong with assignments that put `held` (A, S, 1 + C) on their sides: (A,).

    A million for each label that a side lacks; a thousand and more where a share is not near; below
    one what rows and labels miss of their shares.
    """
    total = np.maximum(table.counts.sum(axis=0), 1)
    off = np.abs(held / total - asked[:, None])  # (A, S, 1 + C)
    lacking = ((held == 0) & table.required).sum(axis=(1, 2))
    worst = off[:, :, 0].max(axis=1)
    far = np.where(worst > NEAR + 1e-9, 1e3 * (1 + worst), 0)
    return 1e6 * lacking + far + np.square(off).mean(axis=(1, 2))


def _held(table: Table, sides: np.ndarray, S: int) -> NDArray[np.float64]:
    """What each side holds under assignments (A, G): (A, S, 1 + C)."""
    return np.stack([(sides == s) @ table.counts for s in range(S)], axis=1)


def _best_of_all(table: Table, asked: NDArray[np.float64]) -> np.ndarray:
    S, G = len(asked), len(table.counts)
    sides = np.arange(S**G)[:, None] // S ** np.arange(G) % S  # (S^G, G)
    return sides[_cost(table, _held(table, sides, S), asked).argmin()]


def _searched(table: Table, asked: NDArray[np.float64], random: np.random.Generator) -> np.ndarray:
    """Improves a greedy start, then again and again the best so far with some groups displaced."""
    best, least = _improved(table, asked, _greedy(table, asked), random)
    fewest = (table.counts[:, table.required] > 0).sum(axis=0).min()
    for _ in range(_KICKS):
        if least < 1 or fewest < len(asked):
            break  # it is near, or a label has too few groups for that
        sides = best.copy()
        displaced = random.integers(0, len(sides), random.integers(2, 8))
        sides[displaced] = random.integers(0, len(asked), len(displaced))
        sides, cost = _improved(table, asked, sides, random)
        if cost <= least:
            best, least = sides, cost
    return best


def _greedy(table: Table, asked: NDArray[np.float64]) -> np.ndarray:
    """The largest groups first, each to the side that lacks most of what it holds."""
    total = np.maximum(table.counts.sum(axis=0), 1)
    lacks = np.tile(asked[:, None], (1, len(total)))  # (S, 1 + C)
    sides = np.empty(len(table.counts), np.intp)
    for group in np.argsort(-table.counts[:, 0], kind="stable"):
        adds = table.counts[group] / total
        sides[group] = (np.square(lacks - adds) - np.square(lacks)).sum(axis=1).argmin()
        lacks[sides[group]] -= adds
    return sides


def _improved(
    table: Table, asked: NDArray[np.float64], sides: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Moves one group, or swaps two, as long as that costs less: the sides, and their cost."""
    S, G = len(asked), len(table.counts)
    held = _held(table, sides[None], S)[0]
    cost = _cost(table, held[None], asked)[0]
    while True:
        first = np.concatenate([np.repeat(np.arange(G), S), random.integers(0, G, _SWAPS)])
        second = np.concatenate([np.full(G * S, -1), random.integers(0, G, _SWAPS)])
        to = np.concatenate([np.tile(np.arange(S), G), sides[second[G * S :]]])
        swapped = np.where(second[:, None] >= 0, table.counts[second], 0)
        change = table.counts[first] - swapped  # (A, 1 + C) from `first`'s side to `to`
        tried = np.tile(held, (len(first), 1, 1))
        each = np.arange(len(first))
        tried[each, sides[first]] -= change
        tried[each, to] += change
        costs = _cost(table, tried, asked)
        found = costs.argmin()
        if costs[found] > cost - 1e-7:
            return sides, float(cost)
        a, b, side = first[found], second[found], sides[first[found]]
        sides[a] = to[found]
        if b >= 0:
            sides[b] = side
        held, cost = tried[found], costs[found]


def _require_possible(
    labels: np.ndarray, table: Table, held: NDArray[np.float64], shares: Shares
) -> None:
    G = len(table.counts)
    *others, last = shares.names
    where = f"{', '.join(others)} and {last}"
    if ((held == 0) & table.required).any():
        counts = ", ".join(
            f"{(labels == label).sum()} of label {label} in {(table.counts[:, i] > 0).sum()} groups"
            for i, label in enumerate(np.unique(labels), start=1)
        )
        raise LabelError(
            f"{counts or 'no row'}: too few to have every label in {where} without cutting one of "
            f"the {G} groups; label more groups, or use split_strategy='none'"
        )
    got = held[:, 0] / held[:, 0].sum()
    if (np.abs(got - shares.asked) > shares.asked / 2 + 1e-9).any():
        found, asked = (
            ", ".join(f"{x:.1%} {name}" for x, name in zip(share, shares.names, strict=True))
            for share in (got, shares.asked)
        )
        raise LabelError(
            f"{len(labels)} rows in {G} groups, {table.counts[:, 0].max():.0f} of them in one: the "
            f"nearest to {asked} that cuts no group is {found}; group by something finer"
        )
