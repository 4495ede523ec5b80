"""The native store: its root attributes and the metadata of its arrays."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any, Literal

import numpy as np

from ...contracts import ConfigError, StoreError
from ...contracts.settings import Count, NotNegativeInt, settings, settings_from
from ..layout.metadata import CRC_BYTES, Sharding, parse_v3
from .arrays import (
    ACTIVATIONS,
    BYTES,
    CODECS,
    COLUMN_TYPES,
    CRC,
    LOGPROB_TYPES,
    TABLE_TYPES,
    array_json,
    fill_of,
    json_bytes,
)

SCHEMA = "kview/1"
_SHARD_BYTES = 2**28
_SHARD_CHUNKS = 2**14
_FILE_ROWS = 4096
_LOGPROB_FILE_BYTES = 2**18
_FEWEST_COLUMN_ROWS = 128


@settings
class NativeSchema:
    """The root attributes of a native store; replacing them is what commits rows.

    Attributes:
        model: the language model's name.
        layers: its layer ids, in the order of the layer axis.
        hidden_size: H.
        max_tokens: T, the response tokens kept at most.
        dtype: of the activations.
        shard_rows: S, the rows in a file of activations.
        column_rows: the rows in a file of any other array.
        rows: committed rows; what arrays hold beyond them does not exist.
        texts_bytes: committed bytes of texts.jsonl.
        grouped: rows have a group.
        index_location: where a file of activations has its index; stores without this attribute
            have it at the end.
        logprob_tokens: R, the response tokens whose log-probabilities are kept at most; 0 in a
            store without them, as where this attribute is missing.
        logprobs_top_k: k, the likeliest tokens that are kept beside each.
    """

    model: str
    layers: tuple[int, ...]
    hidden_size: Count
    max_tokens: Count
    dtype: Literal["float16", "float32"]
    shard_rows: Count
    column_rows: Count
    rows: NotNegativeInt = 0
    texts_bytes: NotNegativeInt = 0
    grouped: bool = False
    index_location: Literal["start", "end"] = "end"
    logprob_tokens: NotNegativeInt = 0
    logprobs_top_k: NotNegativeInt = 0

    def __post_init__(self) -> None:
        if self.logprobs_top_k and not self.logprob_tokens:
            raise ConfigError(
                f"logprobs_top_k={self.logprobs_top_k} has no effect with logprob_tokens=0"
            )
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise ConfigError(f"layers={list(self.layers)}: at least one, and each once")

    @property
    def block_bytes(self) -> int:
        """Bytes of one layer of one row, without its checksum."""
        return self.max_tokens * self.hidden_size * np.dtype(self.dtype).itemsize

    @property
    def chunk_bytes(self) -> int:
        """Bytes of one layer of one row, as stored."""
        return self.block_bytes + CRC_BYTES

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of activations, as stored."""
        return len(self.layers) * self.chunk_bytes

    @property
    def entry_bytes(self) -> int:
        """Bytes of one row in the index of its shard."""
        return len(self.layers) * 16

    @property
    def sharding(self) -> Sharding:
        """How the activations are gathered in files."""
        at_end = self.index_location == "end"
        shape = (self.shard_rows, len(self.layers), self.max_tokens, self.hidden_size)
        return Sharding(shape=shape, at_end=at_end, checksum=at_end)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the arrays with one value per row."""
        return tuple(n for n in COLUMN_TYPES if n != "group" or self.grouped)

    @property
    def logprob_arrays(self) -> tuple[str, ...]:
        """The names of the arrays with log-probabilities."""
        here = self.logprob_tokens > 0
        return tuple(n for n in LOGPROB_TYPES if here and (self.logprobs_top_k or "topk" not in n))

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of all arrays but the activations."""
        return (*self.columns, *self.logprob_arrays)

    def row_shape(self, name: str) -> tuple[int, ...]:
        """What a row of a table is: () a value, (R,) one per token, or (R, k)."""
        if name not in LOGPROB_TYPES:
            return ()
        R, k = self.logprob_tokens, self.logprobs_top_k
        return (R, k) if "topk" in name else (R,)

    def rows_per_file(self, name: str) -> int:
        """The rows in a file of an array; files that a commit writes again are small."""
        if name == ACTIVATIONS:
            return self.shard_rows
        if name not in LOGPROB_TYPES:
            return self.column_rows
        row = self.logprob_tokens * max(1, self.logprobs_top_k) * 4
        return min(self.column_rows, max(1, _LOGPROB_FILE_BYTES // row))

    def first_open(self, rows: int, names: Sequence[str]) -> int:
        """The first of so many rows whose values in some tables a next commit writes again."""
        return min((rows - rows % self.rows_per_file(name) for name in names), default=rows)

    def shard_key(self, number: int) -> str:
        """The key of a file of activations."""
        return f"{ACTIVATIONS}/c.{number}.0.0.0"

    def row_offset(self, row: int) -> int:
        """Where a row of the store begins in its file of activations."""
        index = 0 if self.index_location == "end" else self.shard_rows * self.entry_bytes
        return index + row % self.shard_rows * self.row_bytes

    def group_json(self) -> bytes:
        """The root's `zarr.json`."""
        attributes = {"schema": SCHEMA, **asdict(self)}
        return json_bytes({"zarr_format": 3, "node_type": "group", "attributes": attributes})

    def activations_json(self, rows: int) -> bytes:
        """The metadata of the activations, for so many rows."""
        layers, tokens, hidden = len(self.layers), self.max_tokens, self.hidden_size
        sharding = {
            "chunk_shape": [1, 1, tokens, hidden],
            "codecs": CODECS,
            "index_codecs": CODECS if self.sharding.checksum else [BYTES],
            "index_location": self.index_location,
        }
        return array_json(
            shape=[rows, layers, tokens, hidden],
            data_type=self.dtype,
            chunks=[self.shard_rows, layers, tokens, hidden],
            codecs=[{"name": "sharding_indexed", "configuration": sharding}],
            fill_value=0.0,
            dimensions=["row", "layer", "token", "hidden"],
        )

    def table_json(self, name: str, rows: int) -> bytes:
        """The metadata of a table, when it has so many rows."""
        dtype, tail = TABLE_TYPES[name], self.row_shape(name)
        strings = dtype.kind == "O"
        return array_json(
            shape=[rows, *tail],
            data_type="string" if strings else dtype.name,
            chunks=[self.rows_per_file(name), *tail],
            codecs=[{"name": "vlen-utf8"}, CRC] if strings else CODECS,
            fill_value="NaN" if dtype.kind == "f" else fill_of(name),
            dimensions=["row", "token", "alternative"][: 1 + len(tail)],
        )


def new_schema(
    *,
    layers: Sequence[int],
    hidden_size: int,
    max_tokens: int,
    model: str,
    dtype: str | type | np.dtype[Any],
    shard_rows: int | None = None,
    logprob_tokens: int = 0,
    logprobs_top_k: int = 0,
) -> NativeSchema:
    """The schema of a store that is to be made, with files of sensible sizes.

    A file of activations has about 256 MiB and at most 16384 chunks. Other arrays have files that a
    commit writes again, so that small rows have small ones: a file of one value per row is to be
    small next to a row of activations.

    Raises:
        ConfigError: a size makes no sense.
    """
    try:
        name: Any = np.dtype(dtype).name
        ids = tuple(np.asarray(layers).tolist())
    except TypeError as error:
        raise ConfigError(f"dtype={dtype!r}, layers={layers!r}: {error}") from error
    schema = NativeSchema(
        model=model,
        layers=ids,
        hidden_size=hidden_size,
        max_tokens=max_tokens,
        dtype=name,
        shard_rows=1 if shard_rows is None else shard_rows,
        column_rows=1,
        index_location="start",
        logprob_tokens=logprob_tokens,
        logprobs_top_k=logprobs_top_k,
    )
    if shard_rows is None:
        most = min(_SHARD_BYTES // schema.row_bytes, _SHARD_CHUNKS // len(schema.layers))
        shard_rows = max(1, min(_FILE_ROWS, most))
    column_rows = min(_FILE_ROWS, max(_FEWEST_COLUMN_ROWS, schema.row_bytes // 128))
    schema = replace(schema, shard_rows=shard_rows, column_rows=column_rows)
    try:  # what no reader would take is not begun
        settings_from(NativeSchema, asdict(schema))
        parse_v3(ACTIVATIONS, json.loads(schema.activations_json(0)))
    except ValueError as error:
        raise ConfigError(f"a store of {schema} could not be read: {error}") from error
    return schema


def parse_schema(attributes: dict[str, Any], name: str) -> NativeSchema:
    """A native store's root attributes.

    Args:
        attributes: as read.
        name: the store's path, for messages.

    Raises:
        StoreError: one is missing or makes no sense.
    """
    known = {f.name: attributes[f.name] for f in fields(NativeSchema) if f.name in attributes}
    try:
        return settings_from(NativeSchema, known)
    except ConfigError as error:
        raise StoreError(
            f"{name}: its root attributes are not those of a {SCHEMA} store ({error})"
        ) from error
