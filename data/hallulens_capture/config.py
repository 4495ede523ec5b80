"""A capture's `config.json`: sizes, and so the shape and dtype of every headerless array."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...contracts import StoreError
from ..layout.files import Files
from ..layout.json_text import read_json
from ..layout.metadata import MOST_AXIS, MOST_CHUNK_BYTES, MOST_ROWS

CONFIG = "config.json"
SCHEMA = "inference_capture_v1"
DTYPES = ("float16", "float32")
RESPONSES = "response_activations.npy"
PROMPT_LENGTHS, RESPONSE_LENGTHS = "prompt_len.npy", "response_len.npy"
TOKEN_IDS, TOKEN_LOGPROBS = "response_token_ids.npy", "response_token_logprobs.npy"
TOPK_IDS, TOPK_LOGPROBS = "response_topk_token_ids.npy", "response_topk_logprobs.npy"


@dataclass(frozen=True, slots=True)
class CaptureConfig:
    """What `config.json` says.

    Attributes:
        model: the language model's name.
        rows: N, rows that the arrays have room for.
        blocks: the model's layers, without the embeddings' output.
        hidden_size: H.
        max_tokens: S, response tokens kept at most.
        max_prompt: P, prompt tokens kept at most.
        attention: R, response tokens whose attention is kept.
        top_k: k, alternatives kept per token.
        dtype: of activations.
        templated: prompts went through a chat template.
        merged: rows that each of several captures brought, where they were merged into this one.
    """

    model: str
    rows: int
    blocks: int
    hidden_size: int
    max_tokens: int
    max_prompt: int
    attention: int
    top_k: int
    dtype: np.dtype[Any]
    templated: bool
    merged: tuple[int, ...] | None

    @property
    def layers(self) -> int:
        """L, the embeddings' output included."""
        return self.blocks + 1

    @property
    def arrays(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """The shape and dtype of each array, by the name of its file."""
        N, L, H, S = self.rows, self.layers, self.hidden_size, self.max_tokens
        P, R, k = self.max_prompt, self.attention, self.top_k
        number, id_ = np.dtype("f4"), np.dtype("i4")
        return {
            RESPONSES: ((N, L, S, H), self.dtype),
            PROMPT_LENGTHS: ((N,), id_),
            RESPONSE_LENGTHS: ((N,), id_),
            TOKEN_IDS: ((N, S), id_),
            TOKEN_LOGPROBS: ((N, S), number),
            TOPK_IDS: ((N, S, k), id_),
            TOPK_LOGPROBS: ((N, S, k), number),
            "prompt_activations.npy": ((N, L, P, H), self.dtype),
            "prompt_token_ids.npy": ((N, P), id_),
            "response_attention.npy": ((N, L - 1, R, R), np.dtype("f2")),
        }


def read_config(files: Files) -> CaptureConfig:
    """The configuration of a capture.

    Raises:
        StoreError: it is missing or malformed; names the field.
    """
    said = read_json(files, CONFIG)
    if not isinstance(said, dict):
        what = "there is no config.json" if said is None else f"{CONFIG} is not a JSON object"
        raise StoreError(f"{files.name}: {what}")
    name, schema, dtype = (said.get(k) for k in ("model_name", "storage_format", "dtype"))
    if schema != SCHEMA:
        raise StoreError(
            f"{files.name}: {CONFIG}: storage_format {schema!r} is unknown; {SCHEMA!r} is read"
        )
    if not isinstance(name, str):
        raise StoreError(f"{files.name}: {CONFIG}: model_name is {name!r}, not a name")
    if dtype not in DTYPES:
        raise StoreError(
            f"{files.name}: {CONFIG}: dtype {dtype!r} is none of those that are read: "
            f"{', '.join(DTYPES)}"
        )
    config = CaptureConfig(
        model=name,
        rows=_count(files, said, "n_samples", 0, MOST_ROWS),
        blocks=_count(files, said, "num_layers", 0, MOST_AXIS - 1),
        hidden_size=_count(files, said, "hidden_dim", 1, MOST_AXIS),
        max_tokens=_count(files, said, "max_response_len", 1, MOST_AXIS),
        max_prompt=_count(files, said, "max_prompt_len", 0, MOST_AXIS),
        attention=_count(files, said, "r_max", 0, MOST_AXIS),
        top_k=_count(files, said, "response_logprobs_top_k", 0, MOST_AXIS),
        dtype=np.dtype(dtype),
        templated=bool(said.get("chat_template")),
        merged=_merged(files, said),
    )
    layer_bytes = config.max_tokens * config.hidden_size * config.dtype.itemsize
    if layer_bytes > MOST_CHUNK_BYTES:
        raise StoreError(
            f"{files.name}: {CONFIG}: a layer of a row has {layer_bytes} bytes, more than "
            f"{MOST_CHUNK_BYTES}"
        )
    return config


def _count(files: Files, said: dict[str, Any], name: str, least: int, most: int) -> int:
    value = said.get(name)
    if type(value) is int and least <= value <= most:
        return value
    raise StoreError(
        f"{files.name}: {CONFIG}: {name} is {value!r}, not a number from {least} to {most}"
    )


def _merged(files: Files, said: dict[str, Any]) -> tuple[int, ...] | None:
    rows = said.get("_merged_written_rows")
    if rows is None:
        return None
    if isinstance(rows, list) and all(type(n) is int and n >= 0 for n in rows):
        return tuple(rows)
    raise StoreError(
        f"{files.name}: {CONFIG}: _merged_written_rows is {rows!r}, not a list of numbers of rows"
    )
