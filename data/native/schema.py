"""The native store: its root attributes and the metadata of its arrays."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any, Literal

import numpy as np

from ...contracts import ConfigError, StoreError
from ...contracts.settings import Count, NotNegativeInt, settings, settings_from
from ..layout.metadata import CRC_BYTES, Sharding, parse_v3

SCHEMA = "kview/1"
TEXTS = "texts.jsonl"
ACTIVATIONS = "activations"

COLUMN_TYPES = {
    "token_count": np.dtype("<i4"),
    "response_length": np.dtype("<i4"),
    "input_length": np.dtype("<i4"),
    "halu": np.dtype("|i1"),
    "hashkey": np.dtype(object),
    "group": np.dtype(object),
}
"""The arrays with one value per row. `group` is there only if rows were given one."""

_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
_CRC = {"name": "crc32c"}
_CODECS = [_BYTES, _CRC]

_SHARD_BYTES = 2**28
_SHARD_CHUNKS = 2**14
_FILE_ROWS = 4096
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

    def __post_init__(self) -> None:
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
        return _json({"zarr_format": 3, "node_type": "group", "attributes": attributes})

    def activations_json(self, rows: int) -> bytes:
        """The metadata of the activations, for so many rows."""
        layers, tokens, hidden = len(self.layers), self.max_tokens, self.hidden_size
        sharding = {
            "chunk_shape": [1, 1, tokens, hidden],
            "codecs": _CODECS,
            "index_codecs": _CODECS if self.sharding.checksum else [_BYTES],
            "index_location": self.index_location,
        }
        return _array_json(
            shape=[rows, layers, tokens, hidden],
            data_type=self.dtype,
            chunks=[self.shard_rows, layers, tokens, hidden],
            codecs=[{"name": "sharding_indexed", "configuration": sharding}],
            fill_value=0.0,
            dimensions=["row", "layer", "token", "hidden"],
        )

    def column_json(self, name: str, rows: int) -> bytes:
        """The metadata of an array with one value per row, when it has so many rows."""
        strings = COLUMN_TYPES[name].kind == "O"
        return _array_json(
            shape=[rows],
            data_type="string" if strings else COLUMN_TYPES[name].name,
            chunks=[self.column_rows],
            codecs=[{"name": "vlen-utf8"}, _CRC] if strings else _CODECS,
            fill_value="" if strings else 0,
            dimensions=["row"],
        )


def new_schema(
    *,
    layers: Sequence[int],
    hidden_size: int,
    max_tokens: int,
    model: str,
    dtype: str | type | np.dtype[Any],
    shard_rows: int | None = None,
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


def _array_json(
    *,
    shape: list[int],
    data_type: str,
    chunks: list[int],
    codecs: list[Any],
    fill_value: Any,
    dimensions: list[str],
) -> bytes:
    return _json(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": shape,
            "data_type": data_type,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": fill_value,
            "codecs": codecs,
            "attributes": {},
            "dimension_names": dimensions,
            "storage_transformers": [],
        }
    )


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()
