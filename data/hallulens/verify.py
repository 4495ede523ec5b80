"""Finds all damage to a HalluLens store."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from ...contracts import StoreError
from ..layout.activations import ActivationArray
from ..layout.columns import read_column
from ..layout.damage import Damage, Progress, attempt, verify_activations, verify_column
from ..layout.files import Files
from ..layout.json_text import lines
from ..layout.metadata import read_meta
from ..logprobs import verify_logprobs
from .reader import (
    INDEX,
    RESPONSES,
    Entry,
    input_lengths,
    parse_entry,
    place_entries,
    response_length,
)


def verify_hallulens(files: Files, tell: Progress) -> Iterator[Damage]:
    """All damage to a HalluLens store; arguments as in `open_hallulens`, and whom to tell."""
    meta = read_meta(files, RESPONSES)
    if meta is None:
        yield Damage(RESPONSES, None, None, "there is no such array")
        return
    allocated, max_tokens = meta.shape[0], meta.shape[2]
    latest: dict[str, Entry] = {}
    for number, line in lines(files.get(INDEX) or b""):
        try:
            entry = parse_entry(files, number, line)
            latest[entry.key] = entry
        except StoreError as error:
            yield Damage(INDEX, None, None, str(error))
    placed: dict[int, Entry] = {}
    for key, entry in latest.items():
        try:
            (found,) = place_entries(files, {key: entry}, allocated) or (None,)
        except StoreError as error:
            yield Damage(INDEX, entry.row, None, str(error))
            continue
        if found is not None and found.row is not None:
            other = placed.setdefault(found.row, found)
            if other is not found:
                problem = f"lines {other.line} and {found.line} give it to different keys"
                yield Damage(INDEX, found.row, None, problem)
    if not latest:
        try:
            placed = {e.row: e for e in place_entries(files, {}, allocated) if e.row is not None}
        except StoreError as error:
            yield Damage("arrays/sample_key", None, None, str(error))
    name = "arrays/response_len"
    damage = list(verify_column(files, name, allocated, missing_is_damage=False))
    damage += verify_column(files, "arrays/prompt_len", allocated, missing_is_damage=False)
    yield from damage
    counts = np.full(allocated, max_tokens)
    if not any(d.array == name for d in damage):
        stored = read_column(files, name, allocated, missing_reads_as_fill=True)
        counts = stored.clip(0, max_tokens)
        for row, entry in placed.items():
            length = partial(response_length, files, entry, int(stored[row]), max_tokens)
            yield from attempt(INDEX, length, row)
    rows = np.array(sorted(placed), np.int64)
    if not any(d.array == "arrays/prompt_len" for d in damage):
        entries = [placed[row] for row in rows.tolist()]
        prompts = partial(input_lengths, files, entries, allocated, rows)
        yield from attempt("arrays/prompt_len", prompts)
    yield from verify_logprobs(files, "arrays/", allocated)
    yield from verify_activations(ActivationArray(files, meta), rows, counts[rows], tell)
