"""Damage to a plain array is listed by `verify_store`."""

from pathlib import Path

import numpy as np
import pytest

from helpers.plain_arrays import KINDS, save_array, values, write
from kview.data import verify_store


@pytest.mark.parametrize("kind", KINDS)
def test_values_that_are_none_are_listed(tmp_path: Path, kind: str) -> None:
    x = values()
    file = write(tmp_path / f"x.{kind}", x, rows=[{"token_count": n} for n in (1, 3, 2, 3, 3)])
    assert verify_store(file) == []
    x[1, 2, 1] = np.inf
    x[2, 3, :2] = 0
    x[4] = 0
    x[0, 1, 2] = np.nan  # behind its one token
    save_array(file, x)
    told: list[tuple[int, int]] = []
    found = verify_store(file, lambda done, total: told.append((done, total)))
    name = f"x.{kind}"
    assert [(d.array, d.row, d.layer) for d in found] == [
        (name, 1, 2),
        (name, 2, 3),
        (name, 4, None),
    ]
    assert told == [(n, 5) for n in range(1, 6)]


def test_what_cannot_be_opened_and_keys_that_repeat_are_listed(tmp_path: Path) -> None:
    rows = [{"hashkey": key} for key in "abacc"]
    file = write(tmp_path / "x.npy", values(), rows=rows)
    assert [d.row for d in verify_store(file)] == [0, 2, 3, 4]
    file.write_bytes(file.read_bytes()[:-1])
    [damage] = verify_store(file)
    assert "truncated" in damage.problem


def test_bits_that_have_flipped_are_found_where_there_is_a_checksum(tmp_path: Path) -> None:
    file = write(tmp_path / "x.pt", values())
    data = bytearray(file.read_bytes())
    data[data.index(values()[2, 2].tobytes())] ^= 1
    file.write_bytes(data)
    [damage] = verify_store(file)
    assert "x/data/0 fails its checksum" in damage.problem
