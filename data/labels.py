"""Labels from HalluLens' two files, joined to a store's rows by key."""

import logging
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..contracts import IGNORE_LABEL, ConfigError, LabelError
from .grouping import AUTO, Grouping, group_rows
from .layout.json_text import parse_json
from .prompt_keys import prompt_key
from .store import ActivationStore
from .text_fields import Numbers, line_fields, prompt_field

log = logging.getLogger("kview.data")

FilePath = str | os.PathLike[str]

_REQUEST_SUFFIX = re.compile(r"([0-9a-f]{64})_.+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Generation:
    """A line of generation.jsonl.

    Attributes:
        prompt: what the model was given.
        values: the whole line.
    """

    prompt: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """The rows of a store that take part, in the order in which they are split.

    Attributes:
        rows: (n,) rows of the store.
        halu: (n,) int8 labels.
        grouping: their groups, and what these were taken from.
        fields: the text fields of the rows, as numbers; None where they were not read.
    """

    rows: np.ndarray
    halu: np.ndarray
    grouping: Grouping
    fields: dict[str, Numbers] | None


def as_labels(values: Sequence[int] | np.ndarray, size: int) -> np.ndarray:
    """Labels that a caller gives, as (size,) int8.

    Raises:
        ConfigError: there are more or fewer than rows.
        LabelError: one is neither 1, 0 nor -1.
    """
    found = np.asarray(values)
    if found.shape != (size,):
        raise ConfigError(f"there are {len(found)} labels for {size} rows")
    known = np.isin(found, (1, 0, IGNORE_LABEL)) & (found.dtype.kind in "biuf" or not size)
    if not known.all():
        row = int(np.flatnonzero(~known)[0])
        raise LabelError(f"the label of row {row} is {found[row].item()!r}; labels are 1, 0 or -1")
    return found.astype(np.int8)


def join_labels(
    store: ActivationStore,
    inference_json: FilePath | None,
    eval_json: FilePath | None,
    *,
    group_by: str | None,
) -> LabelledRows:
    """Finds the label of each row, and its group.

    With both files, labels are theirs, and rows come in the order of generation.jsonl; prompts
    that it holds more than once, abstentions, prompts without a row and rows without a prompt are
    left out, each with a count in the log. Without them, labels are the store's own.

    Args:
        store: whose rows to label.
        inference_json: `generation.jsonl`, one `prompt` per line; or None.
        eval_json: `eval_results.json`, lists aligned with it by position; or None.
        group_by: what rows are grouped by, as `group_rows` takes it; None for nothing. A line where
            it is null is a group of its own: nothing is known to tie it to another.

    Raises:
        LabelError: the files do not fit each other or the store; names the line.
        ConfigError: one file is given without the other, or there is no such group.
    """
    if (inference_json is None) != (eval_json is None):
        raise ConfigError(
            f"generation file {inference_json} and label file {eval_json}: labels are aligned with "
            "the generation file by position, so give both, or neither for the store's own labels"
        )
    if inference_json is None or eval_json is None:
        every = range(len(store))
        fields = prompt_field(store) if group_by in (AUTO, "prompt") else None
        grouping = group_rows(store, every, fields or {}, None, group_by)
        return LabelledRows(np.arange(len(store)), store.halu, grouping, fields)
    generations = read_generations(inference_json)
    verdicts = read_verdicts(eval_json, len(generations), str(inference_json))
    kept = _unambiguous(generations, verdicts)
    rows_of = _rows_by_prompt(store.hashkeys)
    found = [i for i in kept if prompt_key(generations[i].prompt) in rows_of]
    rows = np.array([rows_of[prompt_key(generations[i].prompt)] for i in found], np.int64)
    if not len(rows):
        raise LabelError(
            f"none of the {len(kept)} labelled prompts of {inference_json} has a row in {store!r}; "
            f"its keys are the sha256 of the prompts, e.g. {store.hashkeys[:1]}"
        )
    _log_count(len(kept) - len(found), "labelled prompts have no row in the store")
    _log_count(len(store) - len(rows), "rows of the store have no label and are left out")
    halu = np.array([verdicts[i] for i in found], np.int8)
    lines = [(i + 1, generations[i].values) for i in found]
    fields = line_fields([line for _, line in lines])
    grouping = group_rows(store, rows.tolist(), fields, lines, group_by)
    return LabelledRows(rows, halu, grouping, fields)


def read_generations(path: FilePath) -> list[Generation]:
    """The lines of generation.jsonl.

    Raises:
        LabelError: it is missing, or a line has no prompt; names the line.
    """
    generations = []
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = parse_json(line)
            prompt = values["prompt"]
            if not isinstance(prompt, str):
                raise TypeError(f"prompt is {prompt!r}")
            prompt.encode()  # a lone surrogate is no text
        except (KeyError, TypeError, ValueError) as error:
            raise LabelError(
                f"{path}, line {number}: not a JSON object with a prompt "
                f"({type(error).__name__}: {error})"
            ) from error
        generations.append(Generation(prompt, values))
    return generations


def read_verdicts(path: FilePath, expected: int, aligned_with: str) -> list[int | None]:
    """The labels of eval_results.json by position: 1, 0, or None where the model abstained.

    Raises:
        LabelError: a list is missing, has another length, or holds something else than truths.
    """
    try:
        values = parse_json(_read_text(path))
        lists = {name: list(values[name]) for name in ("halu_test_res", "abstantion")}
    except (KeyError, TypeError, ValueError) as error:
        raise LabelError(
            f"{path}: not a JSON object with the lists halu_test_res and abstantion "
            f"({type(error).__name__}: {error})"
        ) from error
    for name, found in lists.items():
        if len(found) != expected:
            raise LabelError(
                f"{path}: {name} has {len(found)} values and {aligned_with} has {expected} lines; "
                "they are aligned by position and must be equally long"
            )
    abstained = [_truth(path, "abstantion", i, v) for i, v in enumerate(lists["abstantion"])]
    return [
        None if a else int(_truth(path, "halu_test_res", i, v))
        for i, (v, a) in enumerate(zip(lists["halu_test_res"], abstained, strict=True))
    ]


def _truth(path: FilePath, name: str, position: int, value: Any) -> bool:
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    raise LabelError(
        f"{path}: {name}[{position}] (line {position + 1} of the generation file) is {value!r}, "
        "neither true nor false"
    )


def _unambiguous(generations: list[Generation], verdicts: list[int | None]) -> list[int]:
    counts = Counter(g.prompt for g in generations)
    once = [i for i, g in enumerate(generations) if counts[g.prompt] == 1]
    kept = [i for i in once if verdicts[i] is not None]
    _log_count(len(generations) - len(once), "lines are dropped: their prompt occurs several times")
    _log_count(len(once) - len(kept), "lines are dropped: the model abstained")
    return kept


def _rows_by_prompt(hashkeys: list[str]) -> dict[str, int]:
    """The row of each prompt's key, where exactly one row has it, with or without a suffix."""
    rows: dict[str, list[int]] = {}
    exact = dict(zip(hashkeys, range(len(hashkeys)), strict=True))
    for row, key in enumerate(hashkeys):
        suffixed = _REQUEST_SUFFIX.fullmatch(key)
        if suffixed:
            rows.setdefault(suffixed[1], []).append(row)
    ambiguous = [k for k, found in rows.items() if len(found) > 1 and k not in exact]
    _log_count(len(ambiguous), "prompts are left out: several requests of the store answer them")
    return {k: found[0] for k, found in rows.items() if len(found) == 1} | exact


def _log_count(count: int, what: str) -> None:
    if count:
        log.warning("%d %s", count, what)


def _read_text(path: FilePath) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path} cannot be read: {error}") from error
