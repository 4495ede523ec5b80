"""Cross-validation on labelled rows: classes spread evenly, groups whole."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ...contracts import LabelError

_FOLDS = 5

Folds = list[tuple[NDArray[np.intp], NDArray[np.intp]]]
"""Rows to fit on and rows held out, of each fold; both have both classes."""


def folds(labels: NDArray, seed: int, groups: Sequence[str] | NDArray | None = None) -> Folds:
    """Five folds, fewer for few rows or groups.

    Args:
        labels: 1 or 0, (n,).
        seed: of the shuffling.
        groups: the rows' groups, (n,); None where each row is its own.

    Raises:
        LabelError: there are fewer than two rows, or groups, of a class.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    labels = np.asarray(labels).astype(np.int64)
    units = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    counts = {label: len(np.unique(units[labels == label])) for label in (0, 1)}
    if min(counts.values()) < 2:
        raise _too_few(counts, f" {_units(groups)}")
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(min(_FOLDS, *counts.values()), shuffle=True, random_state=seed)
    parts = [
        (fit, out)
        for fit, out in splitter.split(labels, labels, None if groups is None else units)
        if all(0 < labels[rows].sum() < len(rows) for rows in (fit, out))
    ]
    if not parts:
        raise LabelError(
            f"{counts[1]} {_units(groups)} labelled hallucinated and {counts[0]} labelled not "
            "cannot be cut into folds that have both; label more"
        )
    return parts


def labelled_folds(labels: NDArray[np.integer], seed: int, groups: Sequence[str] | None) -> Folds:
    """The folds of the labelled rows among all rows.

    Args:
        labels: of all rows, 1, 0 or -1, (N,).
        seed: of the shuffling.
        groups: of all rows, (N,); None where each row is its own.

    Returns:
        Positions among the labelled rows.

    Raises:
        LabelError: as `folds`.
    """
    known = labels >= 0
    return folds(labels[known], seed, None if groups is None else np.asarray(groups, object)[known])


def require_group_per_row(groups: Sequence[str] | NDArray | None, rows: int) -> None:
    """Refuses groups that are not one for each row.

    Raises:
        LabelError: there are more or fewer.
    """
    if groups is not None and len(groups) != rows:
        raise LabelError(f"{len(groups)} groups for {rows} rows; give one group for each row")


def require_classes(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Where training rows are labelled, (N,).

    Raises:
        LabelError: there are fewer than two of a class.
    """
    counts = {label: int((labels == label).sum()) for label in (0, 1)}
    if min(counts.values()) < 2:
        raise _too_few(counts, "")
    return labels >= 0


def _too_few(counts: Mapping[int, int], units: str) -> LabelError:
    return LabelError(
        f"the training rows have {counts[1]}{units} labelled hallucinated and {counts[0]} labelled "
        "not; fitting on them takes at least two of each"
    )


def _units(groups: object) -> str:
    return "rows" if groups is None else "groups"
