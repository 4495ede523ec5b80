"""`verify_store`: reads everything, and lists all damage."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..contracts import StoreError
from .hallulens.reader import INDEX, RESPONSES, Entry, parse_entry, place_entries, response_length
from .hallulens.reader import SCHEMA as HALLULENS
from .layout.activations import ActivationArray
from .layout.chunks import ShardIndexError
from .layout.columns import column_file, is_direct, read_chunk, read_column, require_meta
from .layout.files import Files, lines, open_files
from .layout.metadata import ArrayMeta, read_attributes, read_meta
from .native.reader import check_activations, check_range, parse_text
from .native.schema import ACTIVATIONS, TEXTS, NativeSchema, parse_schema
from .native.schema import SCHEMA as NATIVE
from .part import find_logprobs

Progress = Callable[[int, int], None]
"""Called with the rows that are done and their total."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong with a store.

    Attributes:
        array: the array or file.
        row: the array's row, or None where it is not one row's.
        layer: the position on the layer axis, or None likewise.
        problem: what is wrong.
    """

    array: str
    row: int | None
    layer: int | None
    problem: str

    def __str__(self) -> str:
        place = [self.array]
        place += [] if self.row is None else [f"row {self.row}"]
        place += [] if self.layer is None else [f"layer {self.layer}"]
        return f"{', '.join(place)}: {self.problem}"


def verify_store(path: str | os.PathLike[str], progress: Progress | None = None) -> list[Damage]:
    """Reads everything that a store holds and kview reads, and compares all checksums.

    Args:
        path: a store, or a folder that holds one.
        progress: told how far it is.

    Returns:
        All damage: missing and truncated chunks, wrong checksums, arrays that disagree, malformed
        lines, hashkeys that occur twice, values that are not finite, rows that are all zeros.

    Raises:
        StoreError: there is no store of a known schema.
    """
    files = open_files(path)
    attributes = read_attributes(files)
    tell = progress or _silent
    if attributes.get("schema") == NATIVE:
        return list(_verify_native(files, parse_schema(attributes, files.name), tell))
    if attributes.get("schema_version") == HALLULENS:
        return list(_verify_hallulens(files, tell))
    raise StoreError(f"{files.name}: its schema is neither {NATIVE!r} nor HalluLens' {HALLULENS!r}")


def _verify_native(files: Files, schema: NativeSchema, tell: Progress) -> Iterator[Damage]:
    columns: dict[str, np.ndarray] = {}
    for name in schema.columns:
        damage = list(_verify_column(files, name, schema.rows, missing_is_damage=True))
        yield from damage
        if not damage:
            columns[name] = read_column(files, name, schema.rows, missing_reads_as_fill=False)
    counts = columns.get("token_count", np.full(schema.rows, schema.max_tokens))
    for name, low, high in (("token_count", 0, schema.max_tokens), ("halu", -1, 1)):
        if name in columns:
            yield from _attempt(name, partial(check_range, files, name, columns[name], low, high))
    if "hashkey" in columns:
        yield from _verify_keys(columns["hashkey"].tolist())
    yield from _verify_texts(files, schema)
    yield from _verify_logprobs(files, "")
    meta = None
    try:
        meta = require_meta(files, ACTIVATIONS, schema.rows)
        check_activations(files, schema, meta)
    except StoreError as error:
        yield Damage(ACTIVATIONS, None, None, str(error))
    if meta is not None:
        rows = np.arange(min(schema.rows, meta.shape[0]))
        counts = counts[: len(rows)].clip(0, meta.shape[2])
        yield from _verify_activations(ActivationArray(files, meta), rows, counts, tell)


def _verify_hallulens(files: Files, tell: Progress) -> Iterator[Damage]:
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
    damage = list(_verify_column(files, name, allocated, missing_is_damage=False))
    damage += _verify_column(files, "arrays/prompt_len", allocated, missing_is_damage=False)
    yield from damage
    counts = np.full(allocated, max_tokens)
    if not any(d.array == name for d in damage):
        stored = read_column(files, name, allocated, missing_reads_as_fill=True)
        counts = stored.clip(0, max_tokens)
        for row, entry in placed.items():
            length = partial(response_length, files, entry, int(stored[row]), max_tokens)
            yield from _attempt(INDEX, length, row)
    yield from _verify_logprobs(files, "arrays/")
    rows = np.array(sorted(placed), np.int64)
    yield from _verify_activations(ActivationArray(files, meta), rows, counts[rows], tell)


def _verify_column(
    files: Files, name: str, rows: int, *, missing_is_damage: bool
) -> Iterator[Damage]:
    try:
        meta = require_meta(files, name, rows)
    except StoreError as error:
        yield Damage(name, None, None, str(error))
        return
    yield from _verify_chunks(files, meta, rows, missing_is_damage)


def _verify_chunks(
    files: Files, meta: ArrayMeta, rows: int, missing_is_damage: bool
) -> Iterator[Damage]:
    if not is_direct(meta):
        yield from _attempt(
            meta.key, partial(read_column, files, meta.key, rows, missing_reads_as_fill=True)
        )
        return
    for number, start in enumerate(range(0, rows, meta.chunks[0])):
        try:
            if read_chunk(files, meta, number) is None and missing_is_damage:
                problem = f"{column_file(meta, number)} is missing"
                yield Damage(meta.key, start, None, problem)
        except StoreError as error:
            yield Damage(meta.key, start, None, str(error))


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
        yield from _attempt(TEXTS, partial(parse_text, files, number, line))


def _verify_logprobs(files: Files, folder: str) -> Iterator[Damage]:
    try:
        found = find_logprobs(files, folder)
    except StoreError as error:
        yield Damage(f"{folder}response_token_logprobs", None, None, str(error))
        return
    if found is None:
        return
    for meta in (found.token_ids, found.token_logprobs, found.topk_token_ids, found.topk_logprobs):
        if meta is not None:
            yield from _verify_chunks(files, meta, meta.shape[0], missing_is_damage=False)


def _verify_activations(
    array: ActivationArray, rows: np.ndarray, counts: np.ndarray, tell: Progress
) -> Iterator[Damage]:
    """Reads every chunk with real tokens once; damage to a shard's index is listed once."""
    key, (_, L, T, H) = array.meta.key, array.meta.shape
    block = np.empty((T, H), array.meta.dtype.newbyteorder("="))
    damaged_shards: set[str] = set()
    for done, (row, count) in enumerate(zip(rows.tolist(), counts.tolist(), strict=True)):
        zeros = []
        for layer in range(L) if count else ():
            real = block[:count]
            try:
                array.reader.read(row, layer, count, real.reshape(-1).data.cast("B"))
            except ShardIndexError as error:
                if error.key not in damaged_shards:
                    yield Damage(key, row, layer, str(error))
                damaged_shards.add(error.key)
                continue
            except StoreError as error:
                yield Damage(key, row, layer, str(error))
                continue
            if not np.isfinite(real).all():
                tokens = np.flatnonzero(~np.isfinite(real).all(1)).tolist()
                yield Damage(key, row, layer, f"not finite at tokens {tokens[:8]}")
            if not real.any():
                zeros.append(layer)
        if zeros and len(zeros) == L:
            yield Damage(key, row, None, "all zeros in every layer")
        else:
            yield from (Damage(key, row, layer, "all zeros") for layer in zeros)
        tell(done + 1, len(rows))


def _attempt(array: str, check: Callable[[], object], row: int | None = None) -> Iterator[Damage]:
    try:
        check()
    except StoreError as error:
        yield Damage(array, row, None, str(error))


def _silent(done: int, total: int) -> None:
    pass
