"""Train, validation and test rows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ..contracts import IGNORE_LABEL, ConfigError, LabelError

SplitStrategy = Literal["two_way", "three_way", "none"]
"""Which parts there are: train and test, train and val and test, or test alone."""

TEST_SHARE = 0.2
VAL_SHARE_OF_TRAIN = 0.125


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
    are those its users know.

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
    everything = np.arange(len(labels))
    if strategy == "none":
        return Splits(train=None, val=None, test=everything)
    names = None if groups is None else np.asarray(groups, object)
    train, test = _cut(everything, labels, names, TEST_SHARE, seed)
    if strategy == "two_way":
        return Splits(train=train, val=None, test=test)
    train, val = _cut(train, labels, names, VAL_SHARE_OF_TRAIN, seed + 1)
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
