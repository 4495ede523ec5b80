"""Rows that are a function of their number; as a program, it appends them until it is killed."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from kview.data import ActivationWriter


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


def append_rows(writer: ActivationWriter, rows: int) -> None:
    """Appends rows until the writer has so many."""
    for row in range(len(writer), rows):
        activations, values = row_values(row)
        writer.append(activations, **values)


if __name__ == "__main__":
    print("ready", flush=True)
    with ActivationWriter.create(
        Path(sys.argv[1]),
        layers=[0, 3, 7],
        hidden_size=5,
        max_tokens=4,
        model="m",
        shard_rows=4,
        durable=False,
    ) as writer:
        append_rows(writer, int(sys.argv[2]))
