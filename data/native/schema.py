"""The native store: its root attributes and the metadata of its arrays."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...contracts import ConfigError, StoreError

SCHEMA = "kview/1"
TEXTS = "texts.jsonl"
ACTIVATIONS = "activations"
DTYPES = ("float16", "float32")

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


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeSchema:
    """The root attributes of a native store; replacing them is what commits rows.

    Attributes:
        model: the language model's name.
        layers: its layer ids, in the order of the layer axis.
        hidden_size: H.
        max_tokens: T, the response tokens kept at most.
        dtype: of the activations, float16 or float32.
        shard_rows: S, the rows in a file of activations.
        column_rows: the rows in a file of any other array.
        rows: committed rows; what arrays hold beyond them does not exist.
        texts_bytes: committed bytes of texts.jsonl.
        grouped: rows have a group.
    """

    model: str
    layers: tuple[int, ...]
    hidden_size: int
    max_tokens: int
    dtype: str
    shard_rows: int
    column_rows: int
    rows: int = 0
    texts_bytes: int = 0
    grouped: bool = False

    def __post_init__(self) -> None:
        sizes = (self.hidden_size, self.max_tokens, self.shard_rows, self.column_rows)
        if min(sizes) < 1 or not self.layers or len(set(self.layers)) < len(self.layers):
            raise ConfigError(
                f"hidden_size={self.hidden_size}, max_tokens={self.max_tokens}, "
                f"shard_rows={self.shard_rows}, layers={list(self.layers)}: sizes must be at least "
                "1 and layers at least one, each once"
            )
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype is {self.dtype!r}; a store holds {' or '.join(DTYPES)}")

    @property
    def itemsize(self) -> int:
        """Bytes of one activation."""
        return np.dtype(self.dtype).itemsize

    @property
    def block_bytes(self) -> int:
        """Bytes of one layer of one row, without its checksum."""
        return self.max_tokens * self.hidden_size * self.itemsize

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the arrays with one value per row."""
        return tuple(n for n in COLUMN_TYPES if n != "group" or self.grouped)

    def group_json(self) -> bytes:
        """The root's `zarr.json`."""
        attributes: dict[str, Any] = {
            "schema": SCHEMA,
            "model": self.model,
            "layers": list(self.layers),
            "hidden_size": self.hidden_size,
            "max_tokens": self.max_tokens,
            "dtype": self.dtype,
            "shard_rows": self.shard_rows,
            "column_rows": self.column_rows,
            "rows": self.rows,
            "texts_bytes": self.texts_bytes,
            "grouped": self.grouped,
        }
        return _json({"zarr_format": 3, "node_type": "group", "attributes": attributes})

    def activations_json(self, rows: int) -> bytes:
        """The metadata of the activations, for so many rows."""
        layers, tokens, hidden = len(self.layers), self.max_tokens, self.hidden_size
        sharding = {
            "chunk_shape": [1, 1, tokens, hidden],
            "codecs": _CODECS,
            "index_codecs": _CODECS,
            "index_location": "end",
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


def parse_schema(attributes: dict[str, Any], name: str) -> NativeSchema:
    """A native store's root attributes.

    Args:
        attributes: as read.
        name: the store's path, for messages.

    Raises:
        StoreError: one is missing or makes no sense.
    """
    try:
        return NativeSchema(
            model=str(attributes["model"]),
            layers=tuple(int(layer) for layer in attributes["layers"]),
            hidden_size=int(attributes["hidden_size"]),
            max_tokens=int(attributes["max_tokens"]),
            dtype=str(attributes["dtype"]),
            shard_rows=int(attributes["shard_rows"]),
            column_rows=int(attributes["column_rows"]),
            rows=int(attributes["rows"]),
            texts_bytes=int(attributes["texts_bytes"]),
            grouped=bool(attributes["grouped"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"{name}: its root attributes are not those of a {SCHEMA} store "
            f"({type(error).__name__}: {error})"
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
