"""The arrays of a native store: their names, their dtypes, and the metadata of one."""

import json
from typing import Any

import numpy as np

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

LOGPROB_TYPES = {
    "response_token_ids": np.dtype("<i4"),
    "response_token_logprobs": np.dtype("<f4"),
    "response_topk_token_ids": np.dtype("<i4"),
    "response_topk_logprobs": np.dtype("<f4"),
}
"""The arrays with a value per response token, or k; in stores with log-probabilities alone."""

TABLE_TYPES = {**COLUMN_TYPES, **LOGPROB_TYPES}

BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
CRC = {"name": "crc32c"}
CODECS = [BYTES, CRC]


def fill_of(name: str) -> str | int | float:
    """What stands in a table where a row has no value."""
    kind = TABLE_TYPES[name].kind
    return {"O": "", "f": np.nan}.get(kind, -1 if name in LOGPROB_TYPES else 0)


def array_json(
    *,
    shape: list[int],
    data_type: str,
    chunks: list[int],
    codecs: list[Any],
    fill_value: Any,
    dimensions: list[str],
) -> bytes:
    """The metadata of a Zarr v3 array."""
    return json_bytes(
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


def json_bytes(value: Any) -> bytes:
    """A value as the text of a metadata file."""
    return json.dumps(value, indent=1).encode()
