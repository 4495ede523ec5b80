"""Finds all damage to a native store."""

from collections import Counter
from collections.abc import Iterator
from functools import partial

import numpy as np

from ...contracts import StoreError
from ..layout.activations import ActivationArray
from ..layout.chunk_index import MISSING, ShardIndexError, read_shard_index
from ..layout.columns import check_range, read_column, require_meta
from ..layout.damage import Damage, Progress, attempt, verify_activations, verify_column
from ..layout.files import Files
from ..layout.json_text import lines
from ..layout.metadata import ArrayMeta, read_attributes
from .arrays import ACTIVATIONS, TEXTS
from .reader import check_activations, logprob_arrays, parse_text, ranges
from .schema import NativeSchema, parse_schema
from .shard_file import shard_index


def verify_native(files: Files, tell: Progress) -> Iterator[Damage]:
    """All damage to a native store; arguments as in `open_native`, and whom to tell of progress."""
    schema = parse_schema(read_attributes(files), files.name)
    columns: dict[str, np.ndarray] = {}
    for name in schema.columns:
        damage = list(verify_column(files, name, schema.rows, missing_is_damage=True))
        yield from damage
        if not damage:
            columns[name] = read_column(files, name, schema.rows, missing_reads_as_fill=False)
    for name, (low, high) in ranges(schema).items():
        if name in columns:
            yield from attempt(name, partial(check_range, files, name, columns[name], low, high))
    if "hashkey" in columns:
        yield from _verify_keys(columns["hashkey"].tolist())
    yield from _verify_texts(files, schema)
    yield from _verify_logprobs(files, schema)
    meta, is_laid_out = None, False
    try:
        meta = require_meta(files, ACTIVATIONS, schema.rows)
        check_activations(files, schema, meta)
        if meta.sharding != schema.sharding:
            raise StoreError(f"{files.name}: it is not laid out as the root attributes say")
        is_laid_out = True
    except StoreError as error:
        yield Damage(ACTIVATIONS, None, None, str(error))
    if meta is not None:
        rows = np.arange(min(schema.rows, meta.shape[0]))
        counts = columns.get("token_count", np.full(len(rows), schema.max_tokens))
        counts = counts[: len(rows)].clip(0, meta.shape[2])
        damage = list(verify_activations(ActivationArray(files, meta), rows, counts, tell))
        yield from damage
        listed = {(d.row, d.layer) for d in damage}
        found = _verify_indices(files, schema, meta) if is_laid_out else ()
        yield from (d for d in found if (d.row, d.layer) not in listed)


def _verify_logprobs(files: Files, schema: NativeSchema) -> Iterator[Damage]:
    sound = True
    for name in schema.logprob_arrays:
        damage = list(verify_column(files, name, schema.rows, missing_is_damage=True))
        sound &= not damage
        yield from damage
    if sound:
        yield from attempt("log-probabilities", partial(logprob_arrays, files, schema))


def _verify_keys(keys: list[str]) -> Iterator[Damage]:
    counts = Counter(keys)
    first: dict[str, int] = {}
    for row, key in enumerate(keys):
        if not key:
            yield Damage("hashkey", row, None, "is empty")
        elif counts[key] > 1 and first.setdefault(key, row) != row:
            yield Damage("hashkey", row, None, f"{key!r} stands at row {first[key]} already")


def _verify_texts(files: Files, schema: NativeSchema) -> Iterator[Damage]:
    data = files.edge(TEXTS, schema.texts_bytes, at_end=False) or b""
    if len(data) < schema.texts_bytes:
        problem = f"has {len(data)} bytes of {schema.texts_bytes} committed ones"
        yield Damage(TEXTS, None, None, problem)
    for number, line in lines(data):
        yield from attempt(TEXTS, partial(parse_text, files, number, line))


def _verify_indices(files: Files, schema: NativeSchema, meta: ArrayMeta) -> Iterator[Damage]:
    """Indices without a checksum; the entry of a row that is not committed may be missing."""
    if schema.sharding.checksum:
        return
    expected = shard_index(schema, schema.shard_rows)
    for number, start in enumerate(range(0, schema.rows, schema.shard_rows)):
        key = schema.shard_key(number)
        try:
            found = read_shard_index(files, meta, key)
        except ShardIndexError:
            found = None
        if found is None:
            continue  # its chunks have said so
        entries = found.reshape(expected.shape)
        sound = (entries == expected).all(2)  # (S, L)
        sound[schema.rows - start :] |= (entries[schema.rows - start :] == MISSING).all(2)
        for row, layer in np.argwhere(~sound).tolist():
            problem = f"its entry in the index of shard {key} is damaged"
            yield Damage(ACTIVATIONS, start + row, layer, problem)
