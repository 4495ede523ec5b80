"""Random damage to a capture: an error in one sentence, or nothing but right values."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.captures import Capture, capture, merge
from helpers.damaged import read_all, refusal
from kview.data import verify_store

SEEDS = [*range(100), *(pytest.param(s, marks=pytest.mark.soak) for s in range(100, 600))]
FILES = (
    *("config.json", "meta.jsonl", "meta.jsonl", "generation.jsonl", "response_activations.npy"),
    *("response_len.npy", "prompt_len.npy", "response_token_ids.npy", "eval_results.json"),
)
"""The log is hit twice as often."""

PARTS = (
    capture(rows=6, lengths=[1, 3, 2, 9, 3, 1], dtype="float32"),
    capture(rows=7, name="riddle", seed=1, places=[6, 5, 4, 3, 2, 1, 0], dtype="float32"),
)
FLIPPED = ("config.json", "meta.jsonl", "generation.jsonl", "response_len.npy", "prompt_len.npy")
"""Where a changed byte does not make a value that nobody can tell from another."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sound")
    a, b = (part.write(folder / name) for part, name in zip(PARTS, "ab", strict=True))
    return {"one": b, "merged": merge(folder / "merged", (a, 9, 6), (b, 10, 7))}


def flip(data: bytes, rng: np.random.Generator) -> bytes:
    found = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        found[rng.integers(len(found))] ^= 1 << rng.integers(8)
    return bytes(found)


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(len(data))]


def cut_out(data: bytes, rng: np.random.Generator) -> bytes:
    start = rng.integers(len(data))
    return data[:start] + data[start + rng.integers(1, 40) :]


def put_in(data: bytes, rng: np.random.Generator) -> bytes:
    at = rng.integers(len(data) + 1)
    return data[:at] + rng.bytes(int(rng.integers(1, 20))) + data[at:]


def shuffle_lines(data: bytes, rng: np.random.Generator) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join(lines[i] for i in rng.permutation(len(lines)))


def repeat_lines(data: bytes, rng: np.random.Generator) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join([*lines, lines[rng.integers(len(lines))]])


DAMAGE: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    *(flip, cut, cut_out, put_in, shuffle_lines, repeat_lines),
)


def truth(parts: tuple[Capture, ...]) -> dict[str, tuple[bytes, int]]:
    """The values and the label of each key."""
    found = {}
    for part in parts:
        x = part.activations.copy()
        for row, length in enumerate(part.lengths):
            x[row, :, length:] = 0
        for key, values, halu in zip(part.keys, x, part.halu, strict=True):
            found[key] = (values.tobytes(), halu)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_damage_is_told_or_does_no_harm(tmp_path: Path, sound: dict[str, Path], seed: int) -> None:
    rng = np.random.default_rng(seed)
    name = "one" if rng.random() < 0.5 else "merged"
    path = Path(shutil.copytree(sound[name], tmp_path / "a"))
    file = path / FILES[rng.integers(len(FILES))]
    if not file.exists():
        return
    if rng.random() < 0.05:
        file.unlink()
    else:
        kind = DAMAGE[rng.integers(len(DAMAGE))]
        if file.name not in FLIPPED:
            kind = cut if rng.random() < 0.5 else put_in
        file.write_bytes(kind(file.read_bytes(), rng))
    found: list[tuple[str, bytes, int]] = []
    said = [refusal(lambda: found.extend(read_all(path))), refusal(lambda: verify_store(path))]
    assert "\n" not in "".join(said)
    known = truth(PARTS)
    for key, values, label in found:
        if key in known:
            assert (values, label) == known[key]
        else:
            assert file.name == "meta.jsonl"
            assert [d for d in verify_store(path) if d.array == "generation.jsonl"]
