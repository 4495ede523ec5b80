"""`ActivationWriter`: appends rows to a native store, and commits them a shard at a time."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import google_crc32c
import numpy as np
import torch

from ..contracts import IGNORE_LABEL, ContractError, StoreError, Violation
from .arrays import CRC_BYTES, read_attributes
from .columns import encode_strings, read_column
from .files import LocalFiles
from .folder import Folder, lock
from .schema import ACTIVATIONS, COLUMN_TYPES, TEXTS, NativeSchema, parse_schema
from .schema import SCHEMA as NATIVE
from .shards import ShardFile

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
        values = {
            "token_count": min(token_count, self._schema.max_tokens),
            "response_length": token_count if response_length is None else response_length,
            "input_length": input_length,
            "halu": int(halu),
            "hashkey": hashkey,
        }
        if group is not None:
            values["group"] = group
        block = _as_array(activations)
        self._require_row(block, token_count, values, prompt, response)
        if group is not None and not self._schema.grouped:
            self._schema = replace(self._schema, grouped=True)
            self._columns["group"] = []
        self._fill_row(block, min(token_count, self._schema.max_tokens), hashkey)
        with self._writing():
            if self._shard is None:
                self._shard = ShardFile.begin(self._folder, self._schema)
            self._shard.write(self._row)
        for name, value in values.items():
            self._columns[name].append(value)
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
            missing = self._schema.column_rows - len(values)
            if COLUMN_TYPES[name].kind == "O":
                data = encode_strings(values + [""] * missing)
            else:
                data = np.array(values + [0] * missing, COLUMN_TYPES[name]).tobytes()
            self._folder.replace(f"{name}/c.{number}", data + checksum(data))

    def _fill_row(self, block: np.ndarray, tokens: int, hashkey: str) -> None:
        schema, size = self._schema, self._schema.block_bytes
        for place, stored in enumerate(self._row):
            view = stored[:size].view(schema.dtype).reshape(schema.max_tokens, schema.hidden_size)
            try:
                with np.errstate(over="raise"):
                    view[:tokens] = block[place, :tokens]
            except FloatingPointError as error:
                top = np.abs(block[place, :tokens], dtype=np.float64).max()
                raise _refused(
                    ("activations", "hashkey"),
                    "overflow",
                    f"magnitudes that {schema.dtype} can hold; write a float32 store, or scale",
                    f"{top:.6g} in layer {schema.layers[place]} of {hashkey!r}",
                ) from error
            view[tokens:] = 0
            stored[size:] = np.frombuffer(checksum(stored[:size]), np.uint8)

    def _require_row(
        self,
        block: np.ndarray,
        token_count: int,
        values: dict[str, Any],
        prompt: str | None,
        response: str | None,
    ) -> None:
        schema = self._schema
        layers, hidden = len(schema.layers), schema.hidden_size
        shape = block.shape
        if len(shape) != 3 or (shape[0], shape[2]) != (layers, hidden) or block.dtype.kind != "f":
            raise _refused(
                ("activations",),
                "shape",
                f"floats ({layers}, T, {hidden})",
                f"{block.dtype} {shape}",
            )
        if not 0 <= token_count <= shape[1]:
            raise _refused(
                ("token_count", "activations"), "size of T", f"0 to {shape[1]}", f"{token_count}"
            )
        if values["response_length"] < token_count or values["input_length"] < 0:
            got = f"{values['response_length']} and {values['input_length']}"
            rule = f"at least token_count={token_count}, and at least 0"
            raise _refused(("response_length", "input_length"), "length", rule, got)
        if values["halu"] not in (0, 1, IGNORE_LABEL):
            raise _refused(("halu",), "label", "1, 0 or -1", f"{values['halu']}")
        hashkey = values["hashkey"]
        if not isinstance(hashkey, str) or not hashkey or hashkey in self._keys:
            rule = "a non-empty string, not yet in the store"
            raise _refused(("hashkey",), "hashkey", rule, f"{hashkey!r}")
        if self._appended and ("group" in values) != schema.grouped:
            rule = "one for every row" if schema.grouped else "none, for the first row had none"
            raise _refused(("group",), "group", rule, f"{values.get('group')!r}")
        if (prompt is None) != (response is None):
            raise _refused(("prompt", "response"), "text", "both or neither", "one of them")


def checksum(data: Any) -> bytes:
    """The crc32c of bytes, as Zarr's codec appends it."""
    return google_crc32c.value(data).to_bytes(CRC_BYTES, "little")


def _write_metadata(folder: Folder, schema: NativeSchema) -> None:
    folder.replace(f"{ACTIVATIONS}/zarr.json", schema.activations_json(schema.rows))
    for name in schema.columns:
        folder.replace(f"{name}/zarr.json", schema.column_json(name, schema.rows))


def _as_array(activations: np.ndarray | torch.Tensor) -> np.ndarray:
    if isinstance(activations, torch.Tensor):
        activations = activations.detach().cpu()
        if activations.dtype == torch.bfloat16:  # numpy has none
            activations = activations.float()
        return activations.numpy()
    return np.asarray(activations)


def _refused(fields: tuple[str, ...], rule: str, expected: str, got: str) -> ContractError:
    violation = Violation(fields, rule, expected, got)
    return ContractError(f"ActivationWriter.append: {violation}", (violation,))


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
