"""Writes stores as other programs do: HalluLens' layout through zarr-python, in any grid."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr.codecs


@dataclass(frozen=True, kw_only=True)
class Grid:
    """How an array is cut up and encoded."""

    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None = None
    zarr_format: int = 2
    compressors: Any = None
    order: str = "C"
    dtype: str = "<f2"


@dataclass(kw_only=True)
class Foreign:
    """A HalluLens store to be written: its values, and what its index says."""

    activations: np.ndarray
    lengths: Sequence[int]
    grid: Grid
    allocated: int | None = None
    index: list[dict[str, Any]] | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    write_keys: bool = True
    top_k: int | None = None

    @property
    def keys(self) -> list[str]:
        return [f"{i:064x}" for i in range(len(self.lengths))]

    def entries(self) -> list[dict[str, Any]]:
        """A line of the index per row."""
        return [
            {
                "key": key,
                "sample_index": row,
                "response_len": int(self.lengths[row]),
                "prompt_len": 2,
                "input_length": 5 + row,
                "prompt": f"prompt {row}",
                "response": f"response {row}",
                "model": "tiny",
            }
            for row, key in enumerate(self.keys)
        ]

    def write(self, path: Path) -> Path:
        """Writes the store and returns its path."""
        x, grid = self.activations, self.grid
        rows = self.allocated or len(x)
        _, L, T, H = x.shape
        root = zarr.create_group(path, zarr_format=grid.zarr_format)  # type: ignore[arg-type]
        root.attrs.update(
            {
                "schema_version": "zarr-v1",
                "num_layers": L,
                "hidden_size": H,
                "response_max_tokens": T,
                **self.attributes,
            }
        )
        arrays = root.create_group("arrays")
        layout: Any = {"order": grid.order} if grid.zarr_format == 2 else {}
        if grid.zarr_format == 3 and grid.dtype[0] == ">":
            layout = {"serializer": zarr.codecs.BytesCodec(endian="big")}
        stored = arrays.create_array(
            "response_activations",
            shape=(rows, L, T, H),
            dtype=grid.dtype,
            chunks=grid.chunks,
            shards=grid.shards,
            compressors=grid.compressors,
            fill_value=0,
            **layout,
        )
        stored[: len(x)] = x
        for name, values in (("response_len", self.lengths), ("prompt_len", [2] * len(x))):
            column = arrays.create_array(
                name, shape=(rows,), dtype="i4", chunks=(7,), compressors=None, fill_value=0
            )
            column[: len(x)] = np.array(values, "i4")
        if self.write_keys:
            keys = arrays.create_array(
                "sample_key", shape=(rows,), dtype=str, chunks=(7,), compressors=None
            )
            keys[: len(x)] = np.array(self.keys)
        if self.top_k is not None:
            self._write_logprobs(arrays, rows, T, self.top_k)
        index = self.entries() if self.index is None else self.index
        (path / "meta").mkdir()
        (path / "meta" / "index.jsonl").write_text("".join(json.dumps(e) + "\n" for e in index))
        return path

    def _write_logprobs(self, arrays: zarr.Group, rows: int, R: int, k: int) -> None:
        rng = np.random.default_rng(0)
        for name, shape, dtype, fill in (
            ("response_token_ids", (rows, R), "i4", -1),
            ("response_token_logprobs", (rows, R), "f4", np.nan),
            ("response_topk_token_ids", (rows, R, k), "i4", -1),
            ("response_topk_logprobs", (rows, R, k), "f4", np.nan),
        ):
            array = arrays.create_array(
                name,
                shape=shape,
                dtype=dtype,
                chunks=(3, *shape[1:]),
                compressors=None,
                fill_value=fill,
            )
            for row, length in enumerate(self.lengths):
                value = rng.integers(0, 99, shape[1:]) if dtype == "i4" else -rng.random(shape[1:])
                array[row, :length] = value[:length].astype(dtype)


def foreign(
    *,
    rows: int = 5,
    layers: int = 3,
    tokens: int = 4,
    hidden: int = 2,
    grid: Grid | None = None,
    lengths: Sequence[int] | None = None,
    seed: int = 0,
    **settings: Any,
) -> Foreign:
    """A small store with values that are never zero."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(1, 2, (rows, layers, tokens, hidden)).astype("f2")
    return Foreign(
        activations=x,
        lengths=[tokens] * rows if lengths is None else lengths,
        grid=grid or Grid(chunks=(1, 1, tokens, hidden)),
        **settings,
    )


def masked(x: np.ndarray, lengths: Sequence[int], max_tokens: int) -> np.ndarray:
    """(N, L, T, H) cut or padded to `max_tokens`, with zeros behind each row's tokens."""
    N, L, T, H = x.shape
    out = np.zeros((N, L, max_tokens, H), x.dtype)
    for row, length in enumerate(lengths):
        kept = min(length, max_tokens, T)
        out[row, :, :kept] = x[row, :, :kept]
    return out
