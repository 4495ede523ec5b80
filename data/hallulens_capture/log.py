"""A capture's `meta.jsonl`, the log by which a row is committed: what it holds, line by line."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...contracts import IGNORE_LABEL, StoreError
from ..layout.files import Files
from ..layout.json_text import lines, parse_json
from .config import RESPONSES, CaptureConfig

LOG = "meta.jsonl"


@dataclass(frozen=True, slots=True)
class Entry:
    """A committed row.

    Attributes:
        line: its line of the log, from 1.
        row: its row in the arrays.
        key: the sha256 of its prompt.
        prompt_length: prompt tokens.
        response_length: response tokens, before they were cut.
        halu: its label.
    """

    line: int
    row: int
    key: str
    prompt_length: int
    response_length: int
    halu: int


def json_lines(files: Files, key: str) -> Iterator[tuple[int, Any]]:
    """The lines of a file that is appended to, and what they say.

    A last line without its end that is no JSON is what an interrupted writer left, and is passed
    over. Any other malformed line is given as the StoreError that it is, which names its number.
    """
    data = files.get(key) or b""
    torn = b"" if data.endswith(b"\n") else data.rpartition(b"\n")[2]
    last = data.count(b"\n") + 1
    for number, line in lines(data):
        try:
            yield number, parse_json(line)
        except ValueError as error:
            if torn and number == last:
                return
            yield (
                number,
                StoreError(
                    f"{files.name}: {key}, line {number} is malformed "
                    f"({type(error).__name__}: {error})"
                ),
            )


def entries(files: Files, config: CaptureConfig) -> Iterator[Entry | StoreError]:
    """The committed rows in the order of the log; what is wrong with a line in its place."""
    rows: dict[int, Entry] = {}
    keys: dict[str, Entry] = {}
    for number, said in json_lines(files, LOG):
        if isinstance(said, StoreError):
            yield said
            continue
        try:
            entry = _entry(number, said)
        except (KeyError, TypeError, ValueError) as error:
            yield StoreError(
                f"{files.name}: {LOG}, line {number} is malformed ({type(error).__name__}: {error})"
            )
            continue
        if entry.row >= config.rows:
            yield StoreError(
                f"{files.name}: {LOG}, line {number}: sample_index {entry.row} is not a row of "
                f"{RESPONSES}, which has {config.rows}"
            )
            continue
        for what, other in (
            (f"sample_index {entry.row}", rows.get(entry.row)),
            (f"prompt_hash {entry.key!r}", keys.get(entry.key)),
        ):
            if other is not None:
                yield StoreError(
                    f"{files.name}: {LOG}, lines {other.line} and {number}: both have {what}; a "
                    "row and a prompt stand once in a capture"
                )
                break
        else:
            rows[entry.row] = keys[entry.key] = entry
            yield entry


def read_log(files: Files, config: CaptureConfig) -> list[Entry]:
    """The committed rows, in the order of the arrays.

    Raises:
        StoreError: a line is malformed, two give one row or one key, or a merge is not whole.
    """
    found: list[Entry] = []
    for entry in entries(files, config):
        if isinstance(entry, StoreError):
            raise entry
        found.append(entry)
    require_whole(files, config, len(found))
    return sorted(found, key=lambda e: e.row)


def require_whole(files: Files, config: CaptureConfig, found: int) -> None:
    """A merged capture has as many committed rows as were merged, and no room for more.

    Raises:
        StoreError: it has not.
    """
    merged = config.merged
    if merged is not None and not sum(merged) == found == config.rows:
        raise StoreError(
            f"{files.name}: {' + '.join(map(str, merged)) or 'no'} rows were merged, the arrays "
            f"have room for {config.rows} and {LOG} has {found}: the merge is misaligned or not "
            "whole; open the captures it was made of instead, as a list"
        )


def _entry(number: int, said: Any) -> Entry:
    key = said["prompt_hash"]
    if not isinstance(key, str) or not key:
        raise TypeError(f"prompt_hash is {key!r}")
    key.encode()  # a lone surrogate is no text
    halu = said["hallucinated"]
    if halu is not None and type(halu) is not bool:
        raise TypeError(f"hallucinated is {halu!r}")
    return Entry(
        line=number,
        row=_count(said, "sample_index"),
        key=key,
        prompt_length=_count(said, "prompt_len"),
        response_length=_count(said, "response_len"),
        halu=IGNORE_LABEL if halu is None else int(halu),
    )


def _count(said: Any, name: str) -> int:
    value = said[name]
    if type(value) is int and 0 <= value < 2**31:
        return value
    raise ValueError(f"{name} is {value!r}")
