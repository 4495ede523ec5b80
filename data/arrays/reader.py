"""Reads a plain array as a store."""

from functools import partial
from pathlib import Path

import numpy as np

from ...contracts import StoreError
from ..layout.files import Files, LocalFiles
from ..part import StorePart, Text, log_dropped
from .axes import AxesFile, named, read_axes
from .mapped_array import MappedArray
from .rows import Row, read_rows
from .tensor_files import MAPS, map_tensor


def is_array(files: Files) -> bool:
    """Whether the path is that of a file of arrays, by its ending."""
    return isinstance(files, LocalFiles) and files.root.suffix in MAPS and files.root.is_file()


def open_array(files: Files) -> StorePart:
    """Opens the array of a file.

    Args:
        files: at the file.

    Raises:
        StoreError: it is damaged, its axes have no names, or what lies beside it does not fit.
    """
    array, found, said = open_parts(files)
    kept = [(i, row) for i, row in enumerate(found) if row.token_count]
    log_dropped(files, len(found) - len(kept))
    rows = [row for _, row in kept]
    grouped = any(row.group is not None for row in rows)
    return StorePart(
        files=files,
        schema=f"array{Path(array.key).suffix}",
        model=said.model,
        layer_ids=tuple(range(array.shape[1])) if said.layers is None else said.layers,
        activations=array,
        rows=np.array([i for i, _ in kept], np.int64),
        token_counts=np.array([row.token_count for row in rows], np.int32),
        response_lengths=np.array([row.response_length for row in rows], np.int32),
        input_lengths=np.array([row.input_length for row in rows], np.int32),
        halu=np.array([row.halu for row in rows], np.int8),
        dropped=len(found) - len(kept),
        allocated=len(found),
        load_hashkeys=partial(list, [row.hashkey for row in rows]),
        load_groups=partial(list, [row.group or row.hashkey for row in rows]) if grouped else None,
        load_texts=partial(_texts, rows),
    )


def open_parts(files: Files) -> tuple[MappedArray, list[Row], AxesFile]:
    """The array of a file, its rows, and what is said of its axes; arguments as above."""
    if not isinstance(files, LocalFiles):
        raise StoreError(f"{files.name}: plain arrays are read from local files; copy it to one")
    beside = LocalFiles(files.root.parent, files.follow_symlinks)
    name = files.root.name
    said = read_axes(beside, name)
    array = MappedArray(name, partial(_view, beside, name, said))
    return array, read_rows(beside, name, array.shape[0], array.shape[2]), said


def _view(files: LocalFiles, name: str, said: AxesFile) -> np.ndarray:
    return named(files, name, map_tensor(files.path(name), said.tensor), said)


def _texts(rows: list[Row]) -> dict[str, Text]:
    return {row.hashkey: row.text for row in rows if row.text is not None}
