"""What rows are grouped by: a field of the generation file, the store's groups, equal prompts."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..contracts import ConfigError
from .store import ActivationStore
from .text_fields import Numbers

log = logging.getLogger("kview.data")

AUTO = "auto"
"""The store's own groups or, where it has none, equal prompts; nothing where neither ties rows."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """The groups of some rows.

    Attributes:
        by: the field that they were taken from; None where rows are not grouped.
        names: a group per row, or None.
    """

    by: str | None = None
    names: list[str] | None = None


def group_rows(
    store: ActivationStore,
    rows: Sequence[int],
    fields: Mapping[str, Numbers],
    lines: Sequence[tuple[int, Mapping[str, Any]]] | None,
    group_by: str | None,
) -> Grouping:
    """The groups of some rows of a store.

    Args:
        store: whose rows they are.
        rows: n rows of it.
        fields: their text fields, where `group_by` may need them.
        lines: their lines of the generation file with the lines' numbers, or None without a file.
        group_by: a key of the lines; `group`, the store's own; `prompt`; `auto`; or None.

    Raises:
        ConfigError: there is no such field.
    """
    if group_by is None:
        return Grouping()
    if group_by == AUTO:
        return _found(store, rows, fields, lines)
    if group_by == "group" and not _some(lines, "group"):
        return Grouping("group", _own_groups(store, rows))
    if lines is not None:
        return Grouping(group_by, _of_lines(lines, group_by))
    if group_by == "prompt" and "prompt" in fields:
        return Grouping("prompt", _of_prompts(fields["prompt"]))
    own = "has" if store.groups else "has not"
    prompts = "are" if "prompt" in fields else "are not"
    raise ConfigError(
        f"group_by={group_by!r}: without a generation file rows are grouped by `group`, the "
        f"store's own array, which this store {own}, or by `prompt`, which {prompts} in it"
    )


def _found(
    store: ActivationStore,
    rows: Sequence[int],
    fields: Mapping[str, Numbers],
    lines: Sequence[tuple[int, Mapping[str, Any]]] | None,
) -> Grouping:
    candidates: list[Grouping] = []
    if lines is not None and all("group" in line for _, line in lines):
        candidates.append(Grouping("group", _of_lines(lines, "group")))
    elif store.groups is not None:
        candidates.append(Grouping("group", _own_groups(store, rows)))
    if "prompt" in fields:
        candidates.append(Grouping("prompt", _of_prompts(fields["prompt"])))
    return next((grouping for grouping in candidates if _ties(grouping)), Grouping())


def _ties(grouping: Grouping) -> bool:
    """Whether the groups say anything: some row has company, and not all are one group."""
    names = grouping.names or []
    return 1 < len(set(names)) < len(names)


def _some(lines: Sequence[tuple[int, Mapping[str, Any]]] | None, field: str) -> bool:
    return lines is not None and any(field in line for _, line in lines)


def _own_groups(store: ActivationStore, rows: Sequence[int]) -> list[str]:
    groups = store.groups
    if groups is None:
        raise ConfigError(
            "group_by='group': rows are grouped by `group`, the store's own array, which this "
            "store has not"
        )
    return [groups[row] for row in rows]


def _of_prompts(numbers: Numbers) -> list[str]:
    """A group per prompt; a row without one is a group of its own."""
    return [f"prompt {n}" if n >= 0 else f"row {i}" for i, n in enumerate(numbers.tolist())]


def _of_lines(lines: Sequence[tuple[int, Mapping[str, Any]]], field: str) -> list[str]:
    missing = next(((number, line) for number, line in lines if field not in line), None)
    if missing is not None:
        raise ConfigError(
            f"group_by={field!r}: line {missing[0]} of the generation file has no such key, only "
            f"{sorted(missing[1])}"
        )
    alone = sum(line[field] is None for _, line in lines)
    if alone:
        log.warning("%d rows have no %s (null): each is a group of its own", alone, field)
    return [
        f"null in line {number}" if line[field] is None else str(line[field])
        for number, line in lines
    ]
