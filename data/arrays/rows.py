"""What is known of the rows of a plain array: a line of JSON for each, in the array's order."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...contracts import IGNORE_LABEL, StoreError
from ..layout.files import LocalFiles
from ..layout.json_text import lines, parse_json
from ..part import Text
from ..prompt_keys import prompt_key


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the array.

    Attributes:
        hashkey: its id; the sha256 of the prompt unless one is given, or its number without both.
        halu: its label.
        group: its group, or None.
        token_count: its real tokens.
        response_length: its tokens before they were cut.
        input_length: prompt tokens.
        text: its prompt and response, or None.
    """

    hashkey: str
    halu: int
    group: str | None
    token_count: int
    response_length: int
    input_length: int
    text: Text | None


def rows_file(array: str) -> str:
    """The name of the file about the rows of an array, by the name of the array's file."""
    return f"{array.rpartition('.')[0]}.rows.jsonl"


def read_rows(files: LocalFiles, array: str, count: int, max_tokens: int) -> list[Row]:
    """The rows of an array; where there is no file about them, each is its number.

    Args:
        files: the folder it lies in.
        array: the name of its file.
        count: N, how many rows it has.
        max_tokens: T, its tokens.

    Raises:
        StoreError: a line is malformed, or there are more or fewer than rows.
    """
    name = rows_file(array)
    data = files.get(name)
    if data is None:
        return [_row({}, number, max_tokens) for number in range(count)]
    found = list(_parsed(files, name, data, max_tokens))
    if len(found) != count:
        raise StoreError(
            f"{files.name}: {name} has {len(found)} lines and the row axis of {array} has {count}: "
            "line i is about row i"
        )
    return found


def _parsed(files: LocalFiles, name: str, data: bytes, max_tokens: int) -> Iterator[Row]:
    for at, (number, line) in enumerate(lines(data)):
        try:
            yield _row(parse_json(line), at, max_tokens)
        except (AttributeError, TypeError, ValueError) as error:
            raise StoreError(
                f"{files.name}: {name}, line {number} is malformed "
                f"({type(error).__name__}: {error})"
            ) from error


def _row(said: dict[str, Any], number: int, max_tokens: int) -> Row:
    halu = said.get("halu")
    if type(halu) not in (bool, int, type(None)) or halu not in (None, 1, 0, IGNORE_LABEL):
        raise ValueError(f"halu is {halu!r}; a label is 1, 0 or -1")
    prompt, response, group = (_string(said, n) for n in ("prompt", "response", "group"))
    default = str(number) if prompt is None else prompt_key(prompt)
    count = _count(said, "token_count", max_tokens, max_tokens)
    return Row(
        hashkey=_string(said, "hashkey") or default,
        halu=IGNORE_LABEL if halu is None else int(halu),
        group=group,
        token_count=count,
        response_length=_count(said, "response_length", count, 2**31 - 1, least=count),
        input_length=_count(said, "input_length", 0, 2**31 - 1),
        text=None if prompt is None else Text(prompt=prompt, response=response or ""),
    )


def _string(said: dict[str, Any], name: str) -> str | None:
    value = said.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}, not a string")
    value.encode()  # a lone surrogate is no text
    return value


def _count(said: dict[str, Any], name: str, default: int, most: int, least: int = 0) -> int:
    value = said.get(name, default)
    if type(value) is int and least <= value <= most:
        return value
    raise ValueError(f"{name} is {value!r}, not a number from {least} to {most}")
