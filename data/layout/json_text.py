"""JSON in a store's files: whatever is wrong with it is one error."""

import json
from collections.abc import Iterator
from typing import Any

from ...contracts import StoreError
from .files import Files

METADATA_BYTES = 2**24
"""The most that a file of metadata may have."""


def read_json(files: Files, key: str) -> Any:
    """A file of metadata; None where there is none.

    Raises:
        StoreError: it is no JSON, or too long for metadata.
    """
    data = files.edge(key, METADATA_BYTES + 1, at_end=False)
    if data is None:
        return None
    try:
        if len(data) > METADATA_BYTES:
            raise ValueError(f"it has more than {METADATA_BYTES} bytes")
        return parse_json(data)
    except ValueError as error:
        raise StoreError(f"{files.name}: {key} cannot be understood ({error})") from error


def parse_json(data: str | bytes) -> Any:
    """What JSON says; whatever is wrong with it is a ValueError."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines of a JSONL file that are not blank, numbered from 1."""
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            yield number, line
