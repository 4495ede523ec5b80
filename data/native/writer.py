"""`ActivationWriter`: appends rows to a native store, and commits them a shard at a time."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from ...contracts import IGNORE_LABEL, StoreError
from ..layout.columns import encode_strings, read_column
from ..layout.files import LocalFiles
from ..layout.metadata import CRC_BYTES, read_attributes
from .folder import Folder, lock
from .row import RowValues, as_block, check_values, checksum, fill_row, refused
from .schema import ACTIVATIONS, COLUMN_TYPES, TEXTS, NativeSchema, parse_schema
from .schema import SCHEMA as NATIVE
from .shard_file import ShardFile

_SHARD_BYTES = 2**28
_COLUMN_ROWS = 4096


class ActivationWriter:
    """Writes one native store; one writer at a time, and several stores for several writers.

    Rows are committed when a shard is full, by `commit()`, and at the end. The root attribute
    `rows`, replaced last, is the commit: killed at any moment, the store holds exactly the rows
    committed before, and `resume` goes on from there.

    Use `create` or `resume`. As a context manager it commits and closes, after an error in the
    block too.
    """

    def __init__(self, folder: Folder, schema: NativeSchema, held: int | None) -> None:
        self._folder = folder
        self._schema = schema
        self._held = held  # the lock's file descriptor
        self._closed = False
        self._dirty = True
        self._shard: ShardFile | None = None
        self._texts: list[bytes] = []
        self._failure: OSError | None = None
        self._row = np.empty(
            (len(schema.layers), schema.block_bytes + CRC_BYTES), np.uint8
        )  # one row as it is stored
        files = LocalFiles(folder.root)
        start = schema.rows - schema.rows % schema.column_rows
        self._columns: dict[str, list[Any]] = {}
        self._keys: set[str] = set()
        for name in schema.columns:
            column = read_column(files, name, schema.rows, missing_reads_as_fill=False)
            self._columns[name] = column[start:].tolist()
            if name == "hashkey":
                self._keys.update(column.tolist())
        self._appended = schema.rows

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        layers: Sequence[int],
        hidden_size: int,
        max_tokens: int,
        model: str,
        dtype: str | type | np.dtype[Any] = "float16",
        shard_rows: int | None = None,
        durable: bool = True,
    ) -> Self:
        """Makes an empty store.

        Args:
            path: where; nothing may be there but an empty folder.
            layers: the model's layer ids, in the order of the layer axis.
            hidden_size: H.
            max_tokens: T, the response tokens kept at most.
            model: the language model's name.
            dtype: float16 or float32.
            shard_rows: rows in a file of activations; about 256 MiB of them by default.
            durable: a commit waits for the disk, so that it survives a power cut. Without, it
                still survives the process being killed.

        Raises:
            StoreError: something is there already, or it cannot be written.
            ConfigError: a size makes no sense.
        """
        layers, dtype = tuple(int(layer) for layer in layers), np.dtype(dtype)
        if shard_rows is None:
            row = max(1, len(layers) * max_tokens * hidden_size * dtype.itemsize)
            shard_rows = max(1, min(_COLUMN_ROWS, _SHARD_BYTES // row))
        schema = NativeSchema(
            model=model,
            layers=layers,
            hidden_size=hidden_size,
            max_tokens=max_tokens,
            dtype=dtype.name,
            shard_rows=shard_rows,
            column_rows=max(1, -(-_COLUMN_ROWS // max(1, shard_rows))) * shard_rows,
        )
        folder = Folder(Path(path), durable)
        with _clear_errors(folder.root, rows=0):
            folder.claim({ACTIVATIONS, TEXTS, *COLUMN_TYPES})
            held = lock(folder.root)
            _write_metadata(folder, schema)
            folder.replace("zarr.json", schema.group_json())
        return cls(folder, schema, held)

    @classmethod
    def resume(cls, path: str | os.PathLike[str], *, durable: bool = True) -> Self:
        """Goes on with a store after its last committed row.

        Args:
            path: the store.
            durable: as in `create`.

        Raises:
            StoreError: there is no native store, it is damaged, or another writer has it.
        """
        root = Path(path)
        files = LocalFiles(root)
        attributes = read_attributes(files)
        if attributes.get("schema") != NATIVE:
            raise StoreError(f"{root} is not a store of schema {NATIVE!r}: there is none to resume")
        held = lock(root)
        schema = parse_schema(read_attributes(files), str(root))
        folder = Folder(root, durable)
        with _clear_errors(root, schema.rows):
            folder.remove_leftovers(schema)
        return cls(folder, schema, held)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """The rows appended, committed or not."""
        return self._appended

    def __contains__(self, hashkey: str) -> bool:
        """Whether a row with this id has been appended."""
        return hashkey in self._keys

    @property
    def schema(self) -> NativeSchema:
        """The store's root attributes, as committed."""
        return self._schema

    @property
    def rows(self) -> int:
        """The rows committed."""
        return self._schema.rows

    def append(
        self,
        activations: np.ndarray | torch.Tensor,
        *,
        token_count: int,
        input_length: int,
        hashkey: str,
        halu: int = IGNORE_LABEL,
        group: str | None = None,
        response_length: int | None = None,
        prompt: str | None = None,
        response: str | None = None,
    ) -> None:
        """Appends one row.

        Args:
            activations: (L, T', H) floats; the first `token_count` tokens are real, and at most
                `max_tokens` of them are kept.
            token_count: response tokens in `activations`.
            input_length: prompt tokens.
            hashkey: the row's id, not yet in the store.
            halu: 1 hallucinated, 0 not, -1 unlabelled.
            group: rows of one group must not be split apart; every row has one, or none.
            response_length: response tokens before any truncation; `token_count` by default.
            prompt: what the model was given; goes with `response`.
            response: what it answered.

        Raises:
            ContractError: the row breaks one of these rules, or a value overflows the dtype.
            StoreError: the row cannot be written; the store keeps what was committed.
        """
        values = RowValues(
            token_count=min(token_count, self._schema.max_tokens),
            response_length=token_count if response_length is None else response_length,
            input_length=input_length,
            halu=halu,
            hashkey=hashkey,
            group=group,
        )
        check_values(values)
        block = as_block(activations, self._schema, token_count)
        if (prompt is None) != (response is None):
            raise refused(("prompt", "response"), "text", "both or neither", "one of them")
        self._check_place(values)
        fill_row(self._row, block, values, self._schema)
        with self._writing():
            if self._shard is None:
                self._shard = ShardFile.begin(self._folder, self._schema)
            self._shard.write(self._row)
        for name, column in self._columns.items():
            column.append(getattr(values, name))
        self._keys.add(hashkey)
        self._dirty = True
        self._appended += 1
        if prompt is not None and response is not None:
            entry = {"hashkey": hashkey, "prompt": prompt, "response": response}
            self._texts.append(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
        if self._appended % self._schema.shard_rows == 0:
            self.commit()

    def commit(self) -> None:
        """Commits every row appended so far.

        Raises:
            StoreError: it cannot be written; the store keeps what was committed.
        """
        if not self._dirty:
            return
        with self._writing():
            if self._shard is not None:
                self._shard.finish()
                self._shard = None
            texts = b"".join(self._texts)
            if texts:
                self._folder.extend(TEXTS, self._schema.texts_bytes, texts)
            self._write_columns()
            schema = replace(
                self._schema,
                rows=self._appended,
                texts_bytes=self._schema.texts_bytes + len(texts),
            )
            _write_metadata(self._folder, schema)
            self._folder.replace("zarr.json", schema.group_json())
        self._schema = schema
        self._texts.clear()
        self._dirty = False
        if schema.rows % schema.column_rows == 0:
            for column in self._columns.values():
                column.clear()

    def close(self) -> None:
        """Commits and lets the store go; after a failed write it only lets go.

        Raises:
            StoreError: the commit cannot be written.
        """
        if self._closed:
            return
        try:
            if self._failure is None:
                self.commit()
        finally:
            if self._shard is not None:
                self._shard.discard()
                self._shard = None
            if self._held is not None:
                os.close(self._held)
            self._closed = True

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self._closed:
            raise StoreError(f"{self._folder.root}: the writer is closed; resume the store")
        if self._failure is not None:
            raise StoreError(
                f"{self._folder.root}: the writer failed before ({self._failure}); "
                f"{self.rows} committed rows are safe, resume the store to go on"
            )
        try:
            with _clear_errors(self._folder.root, self.rows):
                yield
        except StoreError as error:
            self._failure = error
            raise

    def _write_columns(self) -> None:
        number = max(0, self._appended - 1) // self._schema.column_rows
        for name, values in self._columns.items():
            if not values:
                continue
            size = self._schema.column_rows
            if COLUMN_TYPES[name].kind == "O":
                data = encode_strings(values, size)
            else:
                padded = np.zeros(size, COLUMN_TYPES[name])
                padded[: len(values)] = values
                data = padded.tobytes()
            self._folder.replace(f"{name}/c.{number}", data + checksum(data))

    def _check_place(self, values: RowValues) -> None:
        """The rules between rows: ids are unique, and all rows have a group or none has."""
        if values.hashkey in self._keys:
            raise refused(("hashkey",), "repeated hashkey", "one per store", repr(values.hashkey))
        if self._appended == 0:
            self._schema = replace(self._schema, grouped=values.group is not None)
            self._columns = {name: [] for name in self._schema.columns}
        elif (values.group is not None) != self._schema.grouped:
            expected = "one for every row" if self._schema.grouped else "none, as before"
            raise refused(("group",), "group", expected, repr(values.group))


def _write_metadata(folder: Folder, schema: NativeSchema) -> None:
    folder.replace(f"{ACTIVATIONS}/zarr.json", schema.activations_json(schema.rows))
    for name in schema.columns:
        folder.replace(f"{name}/zarr.json", schema.column_json(name, schema.rows))


@contextmanager
def _clear_errors(root: Path, rows: int) -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        free = shutil.disk_usage(root).free if root.exists() else 0
        raise StoreError(
            f"{root}: cannot write: {error.strerror} ({free / 2**20:.0f} MiB free); {rows} "
            "committed rows are safe; make room and resume the store"
        ) from error
