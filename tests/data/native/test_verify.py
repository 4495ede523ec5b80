"""Damage to a native store is named when it is read, and listed by `verify_store`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.written_rows import append_rows
from kview.contracts import StoreError
from kview.data import ActivationStore, ActivationWriter, verify_store

ROWS, LAYERS = 7, 3
CHUNK = 4 * 5 * 2 + 4
"""Bytes of a layer of a row, with its checksum."""
INDEX = 3 * LAYERS * 16
"""Bytes of a shard's index, which its chunks follow."""


def write(path: Path, rows: int = ROWS) -> Path:
    with ActivationWriter.create(
        path, layers=[0, 3, 7], hidden_size=5, max_tokens=4, model="m", shard_rows=3, durable=False
    ) as writer:
        append_rows(writer, rows)
    return path


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 0xFF
    file.write_bytes(data)


def truncate(file: Path, by: int) -> None:
    file.write_bytes(file.read_bytes()[:-by])


def lose_chunk(path: Path, row: int, layer: int) -> None:
    """Marks a chunk as missing in its shard's index."""
    file = path / f"activations/c.{row // 3}.0.0.0"
    data = bytearray(file.read_bytes())
    at = (row % 3 * LAYERS + layer) * 16
    data[at : at + 16] = b"\xff" * 16
    file.write_bytes(data)


def put_number(file: Path, row: int, value: int) -> None:
    """Puts a value in a column of int32, with a fitting checksum."""
    import google_crc32c

    data = bytearray(file.read_bytes())
    data[4 * row : 4 * row + 4] = value.to_bytes(4, "little", signed=True)
    data[-4:] = google_crc32c.value(bytes(data[:-4])).to_bytes(4, "little")
    file.write_bytes(data)


DATA = "activations"
CASES: list[tuple[str, Callable[[Path], object], tuple[str, int | None, int | None, str]]] = [
    (
        "flipped data",
        lambda p: flip(p / "activations/c.1.0.0.0", INDEX + 4 * CHUNK + 3),
        (DATA, 4, 1, "fails its checksum"),
    ),
    (
        "flipped checksum",
        lambda p: flip(p / "activations/c.0.0.0.0", INDEX + CHUNK - 1),
        (DATA, 0, 0, "fails its checksum"),
    ),
    (
        "flipped offset",
        lambda p: flip(p / "activations/c.1.0.0.0", 16),
        (DATA, 3, 1, "fails its checksum"),
    ),
    (
        "flipped length",
        lambda p: flip(p / "activations/c.1.0.0.0", 24),
        (DATA, 3, 1, f"chunk has {CHUNK ^ 0xFF} bytes in the index"),
    ),
    (
        "truncated shard",
        lambda p: truncate(p / "activations/c.2.0.0.0", 30),
        (DATA, 6, 2, "chunk is truncated"),
    ),
    (
        "shard without its index",
        lambda p: (p / "activations/c.2.0.0.0").write_bytes(b"12345"),
        (DATA, 6, 0, "truncated: it has 5 bytes"),
    ),
    (
        "missing chunk",
        lambda p: lose_chunk(p, 4, 2),
        (DATA, 4, 2, "chunk is missing"),
    ),
    (
        "array too short",
        lambda p: (p / "halu/zarr.json").write_text(
            (p / "halu/zarr.json").read_text().replace(f"{ROWS}\n", "5\n")
        ),
        ("halu", None, None, f"halu has 5 rows and the store holds {ROWS}"),
    ),
    (
        "missing column",
        lambda p: (p / "input_length/c.0").unlink(),
        ("input_length", 0, None, "c.0 is missing"),
    ),
    (
        "flipped column",
        lambda p: flip(p / "token_count/c.0", 4),
        ("token_count", 0, None, "fails its checksum"),
    ),
    (
        "negative prompt",
        lambda p: put_number(p / "input_length/c.0", 2, -7),
        ("input_length", None, None, "input_length of row 2 is -7, not in 0 to 2147483647"),
    ),
    (
        "text cut short",
        lambda p: truncate(p / "texts.jsonl", 1),
        ("texts.jsonl", None, None, "committed ones"),
    ),
    (
        "malformed text",
        lambda p: flip(p / "texts.jsonl", 0),
        ("texts.jsonl", None, None, "line 1 is malformed"),
    ),
]


@pytest.mark.parametrize(("change", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_damage_is_listed_and_reading_it_raises(
    tmp_path: Path,
    change: Callable[[Path], object],
    expected: tuple[str, int | None, int | None, str],
) -> None:
    path = write(tmp_path / "a.zarr")
    assert verify_store(path) == []
    change(path)
    array, row, layer, problem = expected
    (damage,) = verify_store(path)
    assert (damage.array, damage.row, damage.layer) == (array, row, layer)
    assert problem in damage.problem
    with pytest.raises(StoreError) as caught:
        read_all(path)
    if array == DATA:
        assert f"{DATA}, row {row}, layer {layer}: " in str(caught.value)
        assert problem in str(caught.value)


def read_all(path: Path) -> None:
    store = ActivationStore.open(path)
    store.texts()
    for row in range(len(store)):
        for layer in range(store.num_layers):
            store.read([row], [[layer]])


def test_all_damage_is_listed_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr")
    flip(path / "activations/c.0.0.0.0", INDEX + 2 * CHUNK)
    flip(path / "activations/c.0.0.0.0", INDEX + 5 * CHUNK)
    (path / "activations/c.1.0.0.0").unlink()
    flip(path / "group/c.0", 9)
    found = [(d.array, d.row, d.layer) for d in verify_store(path)]
    assert found == [
        ("group", 0, None),
        (DATA, 0, 2),
        (DATA, 1, 2),
        *((DATA, row, layer) for row in (3, 4, 5) for layer in range(LAYERS)),
    ]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("sound") / "a.zarr")


@given(shard=st.integers(0, 2), at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_flipped_bit_of_a_shard_goes_unnoticed(
    shard: int, at: int, bit: int, sound: Path
) -> None:
    file = sound / f"activations/c.{shard}.0.0.0"
    before = file.read_bytes()
    data = bytearray(before)
    data[at % len(data)] ^= 1 << bit
    file.write_bytes(data)
    try:
        assert verify_store(sound)
    finally:
        file.write_bytes(before)


def test_rows_that_change_places_in_the_index_are_listed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr")
    file = path / "activations/c.0.0.0.0"
    data = bytearray(file.read_bytes())
    data[:16], data[48:64] = data[48:64], data[:16]
    file.write_bytes(data)
    problem = "its entry in the index of shard activations/c.0.0.0.0 is damaged"
    assert [(d.row, d.layer, d.problem) for d in verify_store(path)] == [
        (0, 0, problem),
        (1, 0, problem),
    ]


@pytest.mark.parametrize(
    "change", [{"shard_rows": 2}, {"shard_rows": 10**14}, {"index_location": "end"}], ids=str
)
def test_attributes_that_lay_the_rows_out_otherwise_are_listed(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    path = write(tmp_path / "a.zarr")
    root = json.loads((path / "zarr.json").read_text())
    root["attributes"] |= change
    (path / "zarr.json").write_text(json.dumps(root))
    (damage,) = verify_store(path)
    assert damage.array == DATA
    assert "it is not laid out as the root attributes say" in damage.problem


def test_repeated_keys_are_listed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr", rows=2)
    one, two = (f"key-{row}-é".encode() for row in range(2))
    file = path / "hashkey/c.0"
    data = file.read_bytes()[:-4].replace(two, one)
    import google_crc32c

    file.write_bytes(data + google_crc32c.value(data).to_bytes(4, "little"))
    (damage,) = verify_store(path)
    assert str(damage) == "hashkey, row 1: 'key-0-é' stands at row 0 already"
    with pytest.raises(StoreError, match="stands at rows 0 and 1"):
        _ = ActivationStore.open(path).hashkeys


def test_values_that_cannot_be_are_listed(tmp_path: Path) -> None:
    x = np.ones((4, 3, 2, 5), "f2")
    x[1, 2, 1, 4] = np.nan
    x[2, 0, 0, 0] = np.inf
    x[3] = 0
    x[0, 1] = 0
    with ActivationWriter.create(
        tmp_path / "a.zarr", layers=[0, 1, 2], hidden_size=5, max_tokens=4, model="m"
    ) as writer:
        for row, block in enumerate(x):
            writer.append(block, token_count=2, input_length=0, hashkey=str(row))
    assert [str(d) for d in verify_store(tmp_path / "a.zarr")] == [
        "activations, row 0, layer 1: all zeros",
        "activations, row 1, layer 2: not finite at tokens [1]",
        "activations, row 2, layer 0: not finite at tokens [0]",
        "activations, row 3: all zeros in every layer",
    ]


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    verify_store(write(tmp_path / "a.zarr"), lambda done, total: told.append((done, total)))
    assert told == [(done, ROWS) for done in range(1, ROWS + 1)]
