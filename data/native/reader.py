"""Reads native stores."""

from functools import partial

import numpy as np

from ...contracts import StoreError
from ..layout.activations import ActivationArray
from ..layout.columns import check_range, read_column, require_meta
from ..layout.files import Files
from ..layout.json_text import lines, parse_json
from ..layout.metadata import ArrayMeta, read_attributes
from ..logprobs import LogprobArrays
from ..part import StorePart, Text, log_dropped
from .arrays import ACTIVATIONS, LOGPROB_TYPES, TEXTS
from .schema import SCHEMA, NativeSchema, parse_schema


def open_native(files: Files) -> StorePart:
    """Opens one native store; reads lengths and labels, and no keys or texts yet.

    Args:
        files: the store's.

    Raises:
        StoreError: the store is damaged, or its arrays disagree.
    """
    schema = parse_schema(read_attributes(files), files.name)
    meta = require_meta(files, ACTIVATIONS, schema.rows)
    check_activations(files, schema, meta)
    strings = ("hashkey", "group")
    numbers = {n: _column(files, schema, n) for n in schema.columns if n not in strings}
    for name in strings[: 1 + schema.grouped]:
        require_meta(files, name, schema.rows)
    counts = numbers["token_count"]
    for name, (low, high) in ranges(schema).items():
        check_range(files, name, numbers[name], low, high)
    rows = np.flatnonzero(counts)
    log_dropped(files, len(counts) - len(rows))
    return StorePart(
        files=files,
        schema=SCHEMA,
        model=schema.model,
        layer_ids=schema.layers,
        activations=ActivationArray(files, meta),
        rows=rows,
        token_counts=counts[rows],
        response_lengths=np.maximum(numbers["response_length"], counts)[rows],
        input_lengths=numbers["input_length"][rows],
        halu=numbers["halu"][rows],
        dropped=len(counts) - len(rows),
        allocated=meta.shape[0],
        logprobs=logprob_arrays(files, schema),
        load_hashkeys=partial(_hashkeys, files, schema, rows),
        load_groups=partial(_strings, files, schema, "group", rows) if schema.grouped else None,
        load_texts=partial(_texts, files, schema),
    )


def ranges(schema: NativeSchema) -> dict[str, tuple[int, int]]:
    """The smallest and the largest value that an array with one value per row may hold."""
    lengths = dict.fromkeys(("response_length", "input_length"), (0, 2**31 - 1))
    return {"token_count": (0, schema.max_tokens), "halu": (-1, 1), **lengths}


def check_activations(files: Files, schema: NativeSchema, meta: ArrayMeta) -> None:
    """The array must be what the root attributes say.

    Raises:
        StoreError: it is not.
    """
    expected = (len(schema.layers), schema.max_tokens, schema.hidden_size)
    if meta.shape[1:] != expected or meta.dtype != np.dtype(schema.dtype):
        raise StoreError(
            f"{files.name}: {ACTIVATIONS} is {meta.dtype} {meta.shape} and the root attributes say "
            f"{schema.dtype} (rows, {', '.join(map(str, expected))})"
        )


def logprob_arrays(files: Files, schema: NativeSchema) -> LogprobArrays | None:
    """The arrays of log-probabilities that the root attributes speak of; no others are the store's.

    Raises:
        StoreError: one is missing, too short, or not what the root attributes say.
    """
    found: dict[str, ArrayMeta] = {}
    for name in schema.logprob_arrays:
        meta = found[name] = require_meta(files, name, schema.rows)
        expected = (LOGPROB_TYPES[name], schema.row_shape(name))
        if (meta.dtype, meta.shape[1:]) != expected:
            raise StoreError(
                f"{files.name}: {name} is {meta.dtype} {meta.shape} and the root attributes say "
                f"{expected[0]} (rows, {', '.join(map(str, expected[1]))})"
            )
    if not found:
        return None
    return LogprobArrays(
        token_ids=found["response_token_ids"],
        token_logprobs=found["response_token_logprobs"],
        topk_token_ids=found.get("response_topk_token_ids"),
        topk_logprobs=found.get("response_topk_logprobs"),
        complete=True,
    )


def _column(files: Files, schema: NativeSchema, name: str) -> np.ndarray:
    return read_column(files, name, schema.rows, missing_reads_as_fill=False)


def _strings(files: Files, schema: NativeSchema, name: str, rows: np.ndarray) -> list[str]:
    return _column(files, schema, name)[rows].tolist()


def _hashkeys(files: Files, schema: NativeSchema, rows: np.ndarray) -> list[str]:
    keys = _column(files, schema, "hashkey")
    first = {}
    for row, key in enumerate(keys.tolist()):
        if first.setdefault(key, row) != row:
            raise StoreError(
                f"{files.name}: hashkey {key!r} stands at rows {first[key]} and {row}; it must be "
                "unique in a store"
            )
    return keys[rows].tolist()


def _texts(files: Files, schema: NativeSchema) -> dict[str, Text]:
    data = files.edge(TEXTS, schema.texts_bytes, at_end=False) or b""
    if len(data) < schema.texts_bytes:
        raise StoreError(
            f"{files.name}: {TEXTS} has {len(data)} bytes of {schema.texts_bytes} committed ones"
        )
    return dict(parse_text(files, number, line) for number, line in lines(data))


def parse_text(files: Files, number: int, line: bytes) -> tuple[str, Text]:
    """A line of texts.jsonl: the hashkey and the text.

    Raises:
        StoreError: it is malformed; names its number.
    """
    try:
        entry = parse_json(line)
        return str(entry["hashkey"]), Text(prompt=entry["prompt"], response=entry["response"])
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"{files.name}: {TEXTS}, line {number} is malformed ({type(error).__name__}: {error})"
        ) from error
