"""Rows that are a function of their number; as a program, it appends them until it is killed."""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kview.data import ActivationStore, ActivationWriter

SIZES: dict[str, Any] = {"layers": [0, 3, 7], "hidden_size": 5, "max_tokens": 4, "model": "m"}
"""Of the stores that these rows fit."""
STORED = ("hashkey", "token_count", "input_length", "halu", "group", "prompt", "response")
"""What a store holds of a row besides its activations."""

OLD = Path(__file__).with_name("index_at_end.zip")
"""A store of the first five rows with three to a shard, as stores were written before."""


def row_values(row: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Activations (3, T', 5) of a row, and its other values."""
    rng = np.random.default_rng(row)
    tokens = int(rng.integers(1, 7))
    return rng.normal(size=(3, tokens, 5)).astype("f4"), {
        "token_count": tokens,
        "input_length": int(rng.integers(0, 50)),
        "hashkey": f"key-{row}-é",
        "halu": int(rng.integers(-1, 2)),
        "group": f"group {row // 2}",
        "prompt": f"prompt\n{row}",
        "response": "ü" * (row % 4),
    }


@functools.cache
def stored_row(row: int) -> tuple[bytes, tuple[Any, ...]]:
    """What a store holds of a row: the bytes (3, 4, 5) of its activations, and the rest."""
    activations, values = row_values(row)
    kept = min(values["token_count"], 4)
    block = np.zeros((3, 4, 5), "f2")
    block[:, :kept] = activations[:, :kept]
    return block.tobytes(), tuple({**values, "token_count": kept}[name] for name in STORED)


def require_rows(store: ActivationStore, rows: Sequence[int]) -> None:
    """The store must hold exactly these rows, in order, each with its own values under its key."""
    assert store.hashkeys == [row_values(row)[1]["hashkey"] for row in rows]
    if not rows:
        return
    blocks = store.read(np.arange(len(rows)), np.tile(np.arange(3), (len(rows), 1)))
    assert store.groups is not None
    texts = store.texts()
    columns = (
        store.hashkeys,
        store.token_counts.tolist(),
        store.input_lengths.tolist(),
        store.halu.tolist(),
        store.groups,
        [texts[key].prompt for key in store.hashkeys],
        [texts[key].response for key in store.hashkeys],
    )
    found = zip((block.tobytes() for block in blocks), zip(*columns, strict=True), strict=True)
    assert list(found) == [stored_row(row) for row in rows]
    assert len(texts) == len(rows)


def append_rows(writer: ActivationWriter, rows: int) -> None:
    """Appends rows until the writer has so many."""
    for row in range(len(writer), rows):
        activations, values = row_values(row)
        writer.append(activations, **values)


if __name__ == "__main__":
    print("ready", flush=True)
    path, rows, commit_each = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    with ActivationWriter.create(path, **SIZES, shard_rows=4, durable=False) as writer:
        for row in range(rows):
            append_rows(writer, row + 1)
            if commit_each:
                writer.commit()
