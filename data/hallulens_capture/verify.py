"""Finds all damage to a HalluLens capture."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from ...contracts import StoreError
from ..layout.damage import Damage, Progress, attempt, verify_activations
from ..layout.files import Files, LocalFiles
from ..prompt_keys import prompt_key
from .config import (
    CONFIG,
    PROMPT_LENGTHS,
    RESPONSE_LENGTHS,
    RESPONSES,
    TOKEN_IDS,
    CaptureConfig,
    read_config,
)
from .log import LOG, Entry, entries, json_lines, require_whole
from .logprobs import find_logprobs
from .reader import TEXTS, length_problems, open_array, parse_text, require_local

REQUIRED = (RESPONSES, PROMPT_LENGTHS, RESPONSE_LENGTHS)


def verify_capture(files: Files, tell: Progress) -> Iterator[Damage]:
    """All damage to a capture; arguments as in `open_capture`, and whom to tell of progress."""
    local = require_local(files)
    try:
        config = read_config(files)
    except StoreError as error:
        yield Damage(CONFIG, None, None, str(error))
        return
    found: list[Entry] = []
    for entry in entries(files, config):
        if isinstance(entry, StoreError):
            yield Damage(LOG, None, None, str(entry))
        else:
            found.append(entry)
    yield from attempt(LOG, partial(require_whole, files, config, len(found)))
    damage = list(_verify_sizes(local, config))
    yield from damage
    damaged = {d.array for d in damage}
    if not damaged & {PROMPT_LENGTHS, RESPONSE_LENGTHS}:
        for problem in length_problems(local, config, found):
            yield Damage(LOG, None, None, str(problem))
    yield from _verify_logprobs(local, config, found)
    yield from _verify_texts(files, config, found)
    if RESPONSES not in damaged:
        found.sort(key=lambda e: e.row)
        rows = np.array([e.row for e in found], np.int64)
        counts = np.array([min(e.response_length, config.max_tokens) for e in found], np.int64)
        array = open_array(local, config, RESPONSES)
        yield from verify_activations(array, rows, counts, tell)
        array.close()


def _verify_sizes(files: LocalFiles, config: CaptureConfig) -> Iterator[Damage]:
    for name in config.arrays:
        if name in REQUIRED or files.exists(name):
            yield from attempt(name, partial(open_array, files, config, name))


def _verify_logprobs(
    files: LocalFiles, config: CaptureConfig, found: list[Entry]
) -> Iterator[Damage]:
    """A row has as many token ids as response tokens."""
    try:
        logprobs = find_logprobs(files, config, found)
    except StoreError as error:
        yield Damage(TOKEN_IDS, None, None, str(error))
        return
    for entry in () if logprobs is None else found:
        assert logprobs is not None
        real = logprobs.token_ids.take(np.array([entry.row]))[0] >= 0
        count = min(entry.response_length, config.max_tokens)
        if not (real[:count].all() and not real[count:].any()):
            problem = f"{real.sum()} token ids are there, for a response of {count} tokens"
            yield Damage(TOKEN_IDS, entry.row, None, problem)


def _verify_texts(files: Files, config: CaptureConfig, found: list[Entry]) -> Iterator[Damage]:
    """Lines that are no text, prompts whose digest is not their key, and rows without a text."""
    missing = {e.key: e.row for e in found} if files.exists(TEXTS) else {}
    keys = set() if config.templated else set(missing)
    for number, line in json_lines(files, TEXTS):
        if isinstance(line, StoreError):
            yield Damage(TEXTS, None, None, str(line))
            continue
        parsed = parse_text(line)
        if parsed is None:
            problem = f"line {number} has no prompt_hash, prompt and generation"
            yield Damage(TEXTS, None, None, problem)
            continue
        key, text = parsed
        missing.pop(key, None)
        if key in keys and not _is_key_of(text.prompt, key):
            problem = f"line {number}: its prompt_hash is not that of its prompt"
            yield Damage(TEXTS, None, None, problem)
    for key, row in missing.items():
        yield Damage(TEXTS, row, None, f"no line has the prompt_hash of the row, {key!r}")


def _is_key_of(prompt: str, key: str) -> bool:
    try:
        return prompt_key(prompt) == key
    except UnicodeEncodeError:  # a lone surrogate is no text
        return False
