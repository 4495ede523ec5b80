"""What a store holds besides the activations: tables of values, metadata and the root."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...contracts import StoreError
from ..layout.columns import encode_strings, read_column, read_rows, require_meta
from ..layout.files import LocalFiles
from .arrays import ACTIVATIONS, TABLE_TYPES, fill_of
from .folder import ROOT, Folder
from .row import RowValues, checksum
from .schema import NativeSchema


def read_tables(folder: Folder, schema: NativeSchema) -> tuple[list[str], dict[int, RowValues]]:
    """The hashkeys of all committed rows, and the values of those that a commit writes again.

    Raises:
        StoreError: a table is damaged, or a hashkey stands at several rows.
    """
    files, rows = LocalFiles(folder.root), schema.rows
    columns = {
        name: read_column(files, name, rows, missing_reads_as_fill=False).tolist()
        for name in schema.columns
    }
    if len(set(columns["hashkey"])) < rows:
        raise StoreError(f"{folder.root}: a hashkey stands at several rows")
    start, late = _open_from(schema)
    values = {
        row: RowValues(**{"group": None, **{name: c[row] for name, c in columns.items()}})
        for row in range(start, rows)
    }
    again, tables = np.arange(late, rows), {}
    for name in schema.logprob_arrays:
        meta = require_meta(files, name, rows)
        tables[name] = read_rows(files, meta, again, missing_reads_as_fill=False)
    for row in range(late, rows) if tables else ():
        values[row] = replace(values[row], **{name: t[row - late] for name, t in tables.items()})
    return columns["hashkey"], values


def still_open(schema: NativeSchema, values: Mapping[int, RowValues]) -> dict[int, RowValues]:
    """What a next commit writes again of these values, after one that wrote all of them."""
    start, late = _open_from(schema)
    return {
        row: v if row >= late or v.response_token_ids is None else v.without_logprobs()
        for row, v in values.items()
        if row >= start
    }


def write_tables(
    folder: Folder, schema: NativeSchema, values: Mapping[int, RowValues], committed: int
) -> None:
    """Writes the files of tables that are not full, or that rows have come to.

    Args:
        folder: the store's.
        schema: of the store as it is to be.
        values: by row, of every row of these files.
        committed: rows of the store as it is.
    """
    for name in schema.tables:
        size = schema.rows_per_file(name)
        for number in range(committed // size, -(-schema.rows // size)):
            rows = range(number * size, min((number + 1) * size, schema.rows))
            data = _encoded(schema, name, [getattr(values[row], name) for row in rows])
            folder.replace(_file(schema, name, number), data + checksum(data))


def write_metadata(folder: Folder, schema: NativeSchema) -> None:
    """Says how many rows the arrays have; the root, replaced last, commits them."""
    folder.replace(f"{ACTIVATIONS}/{ROOT}", schema.activations_json(schema.rows))
    for name in schema.tables:
        folder.replace(f"{name}/{ROOT}", schema.table_json(name, schema.rows))
    folder.settle(ACTIVATIONS, *schema.tables, "")
    folder.replace(ROOT, schema.group_json())
    folder.settle("")


def _open_from(schema: NativeSchema) -> tuple[int, int]:
    """The first rows that a next commit writes again, of any table and of log-probabilities."""
    tables, logprobs = schema.tables, schema.logprob_arrays
    return schema.first_open(schema.rows, tables), schema.first_open(schema.rows, logprobs)


def _encoded(schema: NativeSchema, name: str, values: list[Any]) -> bytes:
    """A file's values, and what stands for the rows that it has room for."""
    size = schema.rows_per_file(name)
    if TABLE_TYPES[name].kind == "O":
        return encode_strings(values, size)
    table = np.full((size, *schema.row_shape(name)), fill_of(name), TABLE_TYPES[name])
    for row, value in enumerate(values):
        if value is not None:
            table[row] = value
    return table.tobytes()


def _file(schema: NativeSchema, name: str, number: int) -> str:
    return ".".join([f"{name}/c", str(number), *["0"] * len(schema.row_shape(name))])
