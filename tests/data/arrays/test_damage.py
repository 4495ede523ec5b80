"""Random damage to plain arrays: an error in one sentence, or values of the right shape."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers.damaged import read_all, refusal
from helpers.plain_arrays import KINDS, values, write
from kview.data import verify_store

SEEDS = [*range(100), *(pytest.param(s, marks=pytest.mark.soak) for s in range(100, 600))]
HEAD = 400
"""Headers lie in the first bytes, and a zip's directory in the last."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    rows = [{"halu": i % 2, "token_count": 1 + i % 3, "hashkey": f"key {i}"} for i in range(5)]
    for kind in KINDS:
        said = {"layers": [0, 3, 6, 9], "model": "m"}
        write(
            folder / f"x.{kind}", values(), ("row", "layer", "token", "hidden"), rows=rows, **said
        )
    return folder


def harm(data: bytes, rng: np.random.Generator) -> bytes:
    """Bits flipped at an end, a piece cut off or out, or bytes put in."""
    kind, found = rng.integers(4), bytearray(data)
    if kind == 0:
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(min(HEAD, len(data))))
            found[at if rng.random() < 0.7 else -1 - at] ^= 1 << int(rng.integers(8))
        return bytes(found)
    at, size = int(rng.integers(len(data))), int(rng.integers(1, 40))
    if kind == 1:
        return data[:at]
    return data[:at] + (data[at + size :] if kind == 2 else rng.bytes(size) + data[at:])


@pytest.mark.parametrize("seed", SEEDS)
def test_damage_is_told_or_changes_values_alone(tmp_path: Path, sound: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    folder = Path(shutil.copytree(sound, tmp_path / "a"))
    file = folder / f"x.{KINDS[seed % 3]}"
    hit = (file, file, folder / "x.axes.json", folder / "x.rows.jsonl")[rng.integers(4)]
    hit.write_bytes(harm(hit.read_bytes(), rng))
    found: list[tuple[str, bytes, int]] = []
    said = [refusal(lambda: found.extend(read_all(file))), refusal(lambda: verify_store(file))]
    assert "\n" not in "".join(said)
    expected = read_all(sound / file.name)
    if found and hit == file:
        assert [(key, len(x), halu) for key, x, halu in found] == [
            (key, len(x), halu) for key, x, halu in expected
        ]
    elif found and hit.name == "x.axes.json":
        assert found == expected
