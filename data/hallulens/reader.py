"""Reads HalluLens stores (schema "zarr-v1"), Zarr v2 or v3, as they are."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ...contracts import IGNORE_LABEL, StoreError
from ..layout.activations import ActivationArray
from ..layout.columns import check_range, read_column, read_rows, require_meta
from ..layout.files import Files
from ..layout.json_text import lines, parse_json
from ..layout.metadata import read_attributes, read_meta
from ..logprobs import find_logprobs
from ..part import StorePart, Text, log_dropped

SCHEMA = "zarr-v1"
INDEX = "meta/index.jsonl"
RESPONSES = "arrays/response_activations"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the index.

    Attributes:
        line: its number, from 1.
        key: the sample's id.
        row: its row in the arrays, or None for an entry of text only.
        values: the line as it was read.
    """

    line: int
    key: str
    row: int | None
    values: dict[str, Any]


def open_hallulens(files: Files) -> StorePart:
    """Opens one HalluLens store.

    Args:
        files: the store's.

    Raises:
        StoreError: the store is damaged, its index is malformed, or its arrays disagree.
    """
    attributes, meta = read_attributes(files), read_meta(files, RESPONSES)
    if meta is None:
        raise StoreError(f"{files.name}: there is no array {RESPONSES}")
    for name, axis in (("num_layers", 1), ("response_max_tokens", 2), ("hidden_size", 3)):
        if attributes.get(name, meta.shape[axis]) != meta.shape[axis]:
            raise StoreError(
                f"{files.name}: {RESPONSES} has shape {meta.shape} and the attribute {name} is "
                f"{attributes[name]}"
            )
    allocated, max_tokens = meta.shape[0], meta.shape[2]
    entries = place_entries(files, {e.key: e for e in read_index(files)}, allocated)
    rows = np.array([e.row for e in entries], np.int64)
    stored = _read(files, "arrays/response_len", allocated, rows)
    pairs = zip(entries, stored.tolist(), strict=True)
    lengths = np.array([response_length(files, e, n, max_tokens) for e, n in pairs], np.int64)
    keep = np.flatnonzero(lengths > 0)
    entries = [entries[i] for i in keep.tolist()]
    log_dropped(files, len(rows) - len(keep))
    recorded = [_count(files, e, "response_logprobs_len") or 0 for e in entries]
    return StorePart(
        files=files,
        schema=SCHEMA,
        model=next((str(e.values["model"]) for e in entries if e.values.get("model")), ""),
        layer_ids=tuple(range(meta.shape[1])),
        activations=ActivationArray(files, meta),
        rows=rows[keep],
        token_counts=np.minimum(lengths[keep], max_tokens).astype(np.int32),
        response_lengths=np.maximum(lengths[keep], np.array(recorded, np.int64)).astype(np.int32),
        input_lengths=input_lengths(files, entries, allocated, rows[keep]),
        halu=np.full(len(keep), IGNORE_LABEL, np.int8),
        dropped=len(rows) - len(keep),
        allocated=allocated,
        logprobs=find_logprobs(files, "arrays/", allocated),
        load_hashkeys=partial(list, [e.key for e in entries]),
        load_groups=None,
        load_texts=partial(_texts, files),
    )


def read_index(files: Files) -> Iterator[Entry]:
    """The lines of the index, one by one; the last line of a key is the one that counts.

    Raises:
        StoreError: a line is malformed; names its number.
    """
    for number, line in lines(files.get(INDEX) or b""):
        yield parse_entry(files, number, line)


def parse_entry(files: Files, number: int, line: bytes) -> Entry:
    """One line of the index.

    Raises:
        StoreError: it is malformed; names its number.
    """
    try:
        values = parse_json(line)
        key, row = values["key"], values.get("sample_index")
        if not isinstance(key, str) or not (row is None or type(row) is int):
            raise TypeError(f"key is {key!r}, sample_index is {row!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"{files.name}: {INDEX}, line {number} is malformed ({type(error).__name__}: {error})"
        ) from error
    return Entry(number, key, row, values)


def place_entries(files: Files, latest: dict[str, Entry], allocated: int) -> list[Entry]:
    """The entries that have a row, in the order of the rows; from `sample_key` without an index.

    Args:
        files: the store's.
        latest: the entry that counts, for each key.
        allocated: rows of the arrays.

    Raises:
        StoreError: an entry's row does not exist, or is another entry's too.
    """
    if not latest:
        return _entries_from_keys(files, allocated)
    entries = sorted((e for e in latest.values() if e.row is not None), key=lambda e: e.row or 0)
    owners: dict[int | None, Entry] = {}
    for entry in entries:
        assert entry.row is not None
        if not 0 <= entry.row < allocated:
            raise StoreError(
                f"{files.name}: {INDEX}, line {entry.line}: sample_index {entry.row} is not a row "
                f"of {RESPONSES}, which has {allocated}"
            )
        other = owners.setdefault(entry.row, entry)
        if other is not entry:
            raise StoreError(
                f"{files.name}: {INDEX}, lines {other.line} and {entry.line}: keys {other.key!r} "
                f"and {entry.key!r} have one sample_index, {entry.row}"
            )
    return entries


def _entries_from_keys(files: Files, allocated: int) -> list[Entry]:
    keys = read_column(files, "arrays/sample_key", allocated, missing_reads_as_fill=True)
    latest = {str(key): row for row, key in enumerate(keys.tolist()) if key}
    return sorted((Entry(0, k, row, {}) for k, row in latest.items()), key=lambda e: e.row or 0)


def response_length(files: Files, entry: Entry, stored: int, max_tokens: int) -> int:
    """The response length of an entry: the index's where it has one, else the array's.

    Raises:
        StoreError: they disagree.
    """
    said = _count(files, entry, "response_len")
    if said is None:
        return stored
    if min(said, max_tokens) != min(stored, max_tokens):
        raise StoreError(
            f"{files.name}: {INDEX}, line {entry.line}: response_len is {said} and "
            f"arrays/response_len of row {entry.row} is {stored}"
        )
    return said


def input_lengths(
    files: Files, entries: list[Entry], allocated: int, rows: np.ndarray
) -> np.ndarray:
    """The prompt tokens of entries at these rows: the index's where it has them, else the array's.

    Raises:
        StoreError: one is negative.
    """
    said = [_count(files, e, "input_length") for e in entries]
    if None not in said:
        return np.array(said, np.int32)
    kept = _read(files, "arrays/prompt_len", allocated, rows)
    check_range(files, "arrays/prompt_len", kept, 0, 2**31 - 1)
    pairs = zip(kept.tolist(), said, strict=True)
    return np.array([k if s is None else s for k, s in pairs], np.int32)


def _read(files: Files, key: str, allocated: int, rows: np.ndarray) -> np.ndarray:
    return read_rows(files, require_meta(files, key, allocated), rows)


def _count(files: Files, entry: Entry, name: str) -> int | None:
    value = entry.values.get(name)
    if value is None or (type(value) is int and 0 <= value < 2**31):
        return value
    raise StoreError(f"{files.name}: {INDEX}, line {entry.line}: {name} is {value!r}, not a count")


def _texts(files: Files) -> dict[str, Text]:
    return {
        e.key: Text(prompt=str(e.values["prompt"]), response=str(e.values.get("response") or ""))
        for e in read_index(files)
        if e.values.get("prompt") is not None
    }
