"""What a store holds besides the activations: columns of values, metadata and the root."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...contracts import StoreError
from ..layout.columns import encode_strings, read_column
from ..layout.files import LocalFiles
from .folder import ROOT, Folder
from .row import RowValues, checksum
from .schema import ACTIVATIONS, COLUMN_TYPES, NativeSchema


def read_columns(folder: Folder, schema: NativeSchema) -> dict[str, list[Any]]:
    """The values of all committed rows by the columns' names; groups are None where there are none.

    Raises:
        StoreError: a column is damaged, or a hashkey stands at several rows.
    """
    files, rows = LocalFiles(folder.root), schema.rows
    columns = {
        name: read_column(files, name, rows, missing_reads_as_fill=False).tolist()
        for name in schema.columns
    }
    if len(set(columns["hashkey"])) < rows:
        raise StoreError(f"{folder.root}: a hashkey stands at several rows")
    return {"group": [None] * rows, **columns}


def write_columns(
    folder: Folder, schema: NativeSchema, values: Mapping[int, RowValues], committed: int
) -> None:
    """Writes the files of columns that are not full, or that rows have come to.

    Args:
        folder: the store's.
        schema: of the store as it is to be.
        values: by row, of every row of these files.
        committed: rows of the store as it is.
    """
    size = schema.column_rows
    for number in range(committed // size, -(-schema.rows // size)):
        rows = range(number * size, min((number + 1) * size, schema.rows))
        for name in schema.columns:
            column = [getattr(values[row], name) for row in rows]
            if COLUMN_TYPES[name].kind == "O":
                data = encode_strings(column, size)
            else:
                data = np.array(column + [0] * (size - len(column)), COLUMN_TYPES[name]).tobytes()
            folder.replace(f"{name}/c.{number}", data + checksum(data))


def write_metadata(folder: Folder, schema: NativeSchema) -> None:
    """Says how many rows the arrays have; the root, replaced last, commits them."""
    folder.replace(f"{ACTIVATIONS}/{ROOT}", schema.activations_json(schema.rows))
    for name in schema.columns:
        folder.replace(f"{name}/{ROOT}", schema.column_json(name, schema.rows))
    folder.settle(ACTIVATIONS, *schema.columns, "")
    folder.replace(ROOT, schema.group_json())
    folder.settle("")
