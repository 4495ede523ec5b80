"""Train, validation and test rows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ..contracts import IGNORE_LABEL, ConfigError, LabelError
from .group_splits import Shares, assign_groups, is_near

SplitStrategy = Literal["two_way", "three_way", "none"]
"""Which parts there are: train and test, train and val and test, or test alone."""

TEST_SHARE = 0.2
VAL_SHARE_OF_TRAIN = 0.125

_SHARES = {
    "two_way": Shares(("train", "test"), np.array([0.8, 0.2])),
    "three_way": Shares(("train", "val", "test"), np.array([0.7, 0.1, 0.2])),
}


@dataclass(frozen=True, slots=True)
class Splits:
    """Which rows are on which side; positions in what was split, ascending.

    Attributes:
        train: to learn from, or None where nothing is.
        val: to choose settings by, or None where there is no such part.
        test: to report on.
    """

    train: np.ndarray | None
    val: np.ndarray | None
    test: np.ndarray


def split_rows(
    labels: np.ndarray,
    *,
    strategy: SplitStrategy,
    seed: int,
    groups: Sequence[str] | None = None,
) -> Splits:
    """Splits rows, stratified by label.

    `two_way` puts a fifth in test; `three_way` then takes an eighth of train as val, with seed + 1;
    `none` is all test. Without groups these are scikit-learn's `train_test_split`, so that the rows
    are those its users know. With groups they are a fold of its `StratifiedGroupKFold`, unless a
    label is missing from a side or a share is off by two percentage points: then the nearest
    assignment of groups is looked for (`assign_groups`).

    Args:
        labels: (N,) of the rows.
        strategy: one of the three.
        seed: of the shuffling.
        groups: N groups; the rows of one stay on one side.

    Raises:
        ConfigError: the strategy is unknown.
        LabelError: there are too few rows, or groups, to split.
    """
    if strategy not in get_args(SplitStrategy):
        raise ConfigError(
            f"split_strategy is {strategy!r}; it takes one of {', '.join(get_args(SplitStrategy))}"
        )
    if groups is not None and len(groups) != len(labels):
        raise LabelError(f"there are {len(groups)} groups for {len(labels)} rows")
    if strategy == "none":
        return Splits(train=None, val=None, test=np.arange(len(labels)))
    if groups is None:
        return _cut_in_turn(labels, None, strategy, seed)
    names = np.asarray(groups, object)
    shares = _SHARES[strategy]
    try:
        splits = _cut_in_turn(labels, names, strategy, seed)
        if is_near(labels, _sides(splits), shares):
            return splits
    except LabelError:
        pass  # too few groups or rows for folds: looked for among all assignments
    sides = assign_groups(labels, names, shares, seed)
    train, *val, test = (np.flatnonzero(sides == side) for side in range(len(shares.names)))
    return Splits(train=train, val=val[0] if val else None, test=test)


def _sides(splits: Splits) -> np.ndarray:
    """The side of each row: 0 train, then val where there is one, then test."""
    parts = [part for part in (splits.train, splits.val, splits.test) if part is not None]
    sides = np.empty(sum(map(len, parts)), np.intp)
    for side, rows in enumerate(parts):
        sides[rows] = side
    return sides


def _cut_in_turn(
    labels: np.ndarray, groups: np.ndarray | None, strategy: SplitStrategy, seed: int
) -> Splits:
    """Test is put aside first, then val."""
    train, test = _cut(np.arange(len(labels)), labels, groups, TEST_SHARE, seed)
    if strategy == "two_way":
        return Splits(train=train, val=None, test=test)
    train, val = _cut(train, labels, groups, VAL_SHARE_OF_TRAIN, seed + 1)
    return Splits(train=train, val=val, test=test)


def _cut(
    rows: np.ndarray, labels: np.ndarray, groups: np.ndarray | None, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Two parts, the second with about that share."""
    from sklearn.model_selection import StratifiedGroupKFold, train_test_split

    folds = round(1 / share)
    least = 2 if groups is None else folds
    strata = labels[rows].copy()
    unlabelled = strata == IGNORE_LABEL
    if unlabelled.sum() < least and not unlabelled.all():
        strata[unlabelled] = strata[~unlabelled][0]  # too few to be spread on their own
    classes = Counter(strata.tolist())
    if min(classes.values(), default=0) < least or share * len(rows) < len(classes):
        raise _too_few(labels[rows], share)
    if groups is None:
        kept, cut = train_test_split(rows, test_size=share, stratify=strata, random_state=seed)
        return np.sort(kept), np.sort(cut)
    if len(set(groups[rows])) < folds:
        raise _too_few(labels[rows], share, f" in {len(set(groups[rows]))} groups")
    folder = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    kept, cut = next(folder.split(rows, strata, groups[rows]))
    return rows[kept], rows[cut]


def _too_few(labels: np.ndarray, share: float, where: str = "") -> LabelError:
    classes = sorted(Counter(labels.tolist()).items())
    counts = ", ".join(f"{n} of label {label}" for label, n in classes) or "no row"
    return LabelError(
        f"{counts}{where}: too few to put a share of {share:g} aside with every label on both "
        "sides; label more rows, or use split_strategy='none'"
    )
