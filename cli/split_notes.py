"""What keeps rows on one side of a split, and what stands on both sides all the same, in words."""

from collections.abc import Iterator

from ..data import ActivationParser
from ..data.text_fields import rows_shared

_ANSWERS = ("answer", "generation", "response")
"""Fields that answer: what was asked is the same item again, an answer need not be."""

_CATEGORY = 50
"""Rows with one text from which on, by the mean, a field names a category and not an item."""


def grouped(parser: ActivationParser) -> str:
    """What rows are grouped by, and how many groups there are."""
    rows = len(parser.rows)
    if parser.groups is None:
        return f"{rows} rows, not grouped: the split may part any two"
    groups = len(set(parser.groups))
    return f"{rows} rows in {groups} groups by `{parser.grouped_by}`, each whole on one side"


def leaks(parser: ActivationParser) -> Iterator[str]:
    """A warning for each text field whose texts stand in train and beside it."""
    splits = parser.splits
    if splits.train is None:
        return
    parts = {"test": splits.test, "val": splits.val}
    for field, numbers in parser.text_fields.items():
        known = numbers[numbers >= 0]
        if field in _ANSWERS or len(known) >= _CATEGORY * len(set(known.tolist())):
            continue
        shared = [
            f"{count} of {len(rows)} {name} rows"
            for name, rows in parts.items()
            if rows is not None and (count := rows_shared(numbers, rows, splits.train))
        ]
        if shared:
            yield (
                f"warning: {' and '.join(shared)} share their `{field}` with a row of train, so "
                f"their scores flatter; --group-by {field} keeps such rows together"
            )
