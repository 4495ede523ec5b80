"""Reads HalluLens captures as they are; rows by the log alone."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from ...contracts import StoreError
from ..layout.files import Files, LocalFiles
from ..layout.flat_array import FlatArray
from ..part import StorePart, Text, log_dropped
from .config import (
    PROMPT_LENGTHS,
    RESPONSE_LENGTHS,
    RESPONSES,
    SCHEMA,
    CaptureConfig,
    read_config,
)
from .log import LOG, Entry, json_lines, read_log
from .logprobs import find_logprobs

TEXTS = "generation.jsonl"


def open_capture(files: Files) -> StorePart:
    """Opens one capture; reads the log and the lengths of its rows.

    Args:
        files: the capture's.

    Raises:
        StoreError: it is damaged, not local, or its log and its arrays disagree.
    """
    local = require_local(files)
    config = read_config(files)
    found = read_log(files, config)  # before the arrays: a row is logged when it has been written
    for problem in length_problems(local, config, found):
        raise problem
    kept = [e for e in found if e.response_length]
    log_dropped(files, len(found) - len(kept))
    lengths = np.array([e.response_length for e in kept], np.int32)
    return StorePart(
        files=files,
        schema=SCHEMA,
        model=config.model,
        layer_ids=tuple(range(config.layers)),
        activations=open_array(local, config, RESPONSES),
        rows=np.array([e.row for e in kept], np.int64),
        token_counts=np.minimum(lengths, config.max_tokens),
        response_lengths=lengths,
        input_lengths=np.array([e.prompt_length for e in kept], np.int32),
        halu=np.array([e.halu for e in kept], np.int8),
        dropped=len(found) - len(kept),
        allocated=config.rows,
        load_hashkeys=partial(list, [e.key for e in kept]),
        load_texts=partial(_texts, files),
        logprobs=find_logprobs(local, config, found),
    )


def require_local(files: Files) -> LocalFiles:
    """The files of a local capture.

    Raises:
        StoreError: it is behind an address.
    """
    if isinstance(files, LocalFiles):
        return files
    raise StoreError(f"{files.name}: captures are read from a local folder; copy it to one")


def open_array(files: LocalFiles, config: CaptureConfig, name: str) -> FlatArray:
    """An array of a capture.

    Raises:
        StoreError: its file is missing, or not of the size that the configuration gives it.
    """
    shape, dtype = config.arrays[name]
    return FlatArray(files, name, shape, dtype)


def length_problems(
    files: LocalFiles, config: CaptureConfig, found: list[Entry]
) -> Iterator[StoreError]:
    """Where the lengths in the log are not those in the arrays: rows are not what they seem."""
    lengths = {
        "prompt_len": (open_array(files, config, PROMPT_LENGTHS).whole(), "prompt_length"),
        "response_len": (open_array(files, config, RESPONSE_LENGTHS).whole(), "response_length"),
    }
    for entry in found:
        for name, (stored, field) in lengths.items():
            said, there = getattr(entry, field), int(stored[entry.row])
            if said != there:
                yield StoreError(
                    f"{files.name}: {LOG}, line {entry.line}: {name} is {said} and {name}.npy of "
                    f"row {entry.row} is {there}: log and arrays are of different rows, as after a "
                    "misaligned merge"
                )


def parse_text(line: Any) -> tuple[str, Text] | None:
    """The key and the text of a line of generation.jsonl, or None where it has no such thing."""
    try:
        key, prompt, response = (line[k] for k in ("prompt_hash", "prompt", "generation"))
    except (KeyError, TypeError):
        return None
    if not all(isinstance(value, str) for value in (key, prompt, response)):
        return None
    return key, Text(prompt=prompt, response=response)


def _texts(files: Files) -> dict[str, Text]:
    """By key: lines that no committed row has are passed over, and the last of a key counts."""
    texts: dict[str, Text] = {}
    for number, line in json_lines(files, TEXTS):
        if isinstance(line, StoreError):
            raise line
        found = parse_text(line)
        if found is None:
            raise StoreError(
                f"{files.name}: {TEXTS}, line {number} has no prompt_hash, prompt and generation"
            )
        texts[found[0]] = found[1]
    return texts
