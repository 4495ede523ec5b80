"""Damage to arrays: what it is, and reading everything to find it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...contracts import StoreError
from .blocks import Blocks
from .chunk_index import ShardIndexError
from .columns import column_file, is_direct, read_chunk, read_column, require_meta
from .files import Files
from .metadata import ArrayMeta

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


def verify_column(
    files: Files, name: str, rows: int, *, missing_is_damage: bool
) -> Iterator[Damage]:
    """Damage to an array with one value per row, that must have so many."""
    try:
        meta = require_meta(files, name, rows)
    except StoreError as error:
        yield Damage(name, None, None, str(error))
        return
    yield from verify_chunks(files, meta, rows, missing_is_damage=missing_is_damage)


def verify_chunks(
    files: Files, meta: ArrayMeta, rows: int, *, missing_is_damage: bool
) -> Iterator[Damage]:
    """Damage to the first rows of an array that is cut along its rows."""
    if not is_direct(meta):
        yield from attempt(
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


def verify_activations(
    array: Blocks, rows: np.ndarray, counts: np.ndarray, tell: Progress
) -> Iterator[Damage]:
    """Reads every block with real tokens once; damage to a shard's index is listed once.

    Args:
        array: (N, L, T, H).
        rows: (n,) rows to read.
        counts: (n,) their tokens, at most T.
        tell: told after every row.
    """
    key, (_, L, T, H) = array.key, array.shape
    block = np.empty((T, H), array.dtype)
    damaged_shards: set[str] = set()
    for done, (row, count) in enumerate(zip(rows.tolist(), counts.tolist(), strict=True)):
        zeros = []
        for layer in range(L) if count else ():
            real = block[:count]
            try:
                array.read_block(row, layer, count, real.reshape(-1).data.cast("B"))
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


def attempt(array: str, check: Callable[[], object], row: int | None = None) -> Iterator[Damage]:
    """What a check raises, as damage."""
    try:
        check()
    except StoreError as error:
        yield Damage(array, row, None, str(error))
