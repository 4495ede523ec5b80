"""Writes plain arrays in files of every kind, by their own libraries, and what lies beside them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

KINDS = ("npy", "safetensors", "pt")
AXES = ("row", "layer", "token", "hidden")


def values(
    rows: int = 5, layers: int = 4, tokens: int = 3, hidden: int = 2, dtype: str = "float16"
) -> np.ndarray:
    """(N, L, T, H), never zero."""
    rng = np.random.default_rng(0)
    return rng.uniform(1, 2, (rows, layers, tokens, hidden)).astype(dtype)


def save_array(file: Path, x: np.ndarray) -> Path:
    """An array, in the format that the file's name says."""
    x = np.ascontiguousarray(x)
    if file.suffix == ".npy":
        np.save(file, x)
    elif file.suffix == ".safetensors":
        save_file({"x": x}, file)
    else:
        torch.save(torch.from_numpy(x), file)
    return file


def write(
    file: Path,
    x: np.ndarray,
    axes: Sequence[str] = AXES,
    *,
    rows: Sequence[dict[str, Any]] | None = None,
    **said: Any,
) -> Path:
    """(N, L, T, H) with its axes in this order, or without T, and the two files beside it."""
    order = [AXES.index(axis) for axis in axes]
    if "token" not in axes:
        x = x[:, :, 0]
        order = [i - (i > 2) for i in order]
    save_array(file, x.transpose(order))
    beside = file.parent / file.stem
    Path(f"{beside}.axes.json").write_text(json.dumps({"axes": list(axes), **said}))
    if rows is not None:
        Path(f"{beside}.rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file
