"""A commit costs its rows, and stores whose index is at a shard's end are gone on with."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from helpers.written_rows import OLD, append_rows, require_rows
from kview.contracts import StoreError
from kview.data import ActivationStore, ActivationWriter, verify_store


def bytes_written(path: Path, rows: int, **sizes: Any) -> tuple[int, int]:
    """What committing row by row hands to the system, and the bytes of the rows."""
    shape = (len(sizes["layers"]), sizes["max_tokens"], sizes["hidden_size"])
    block = np.random.default_rng(0).normal(size=shape).astype("f2")
    total, plain = 0, os.write

    def counted(fd: int, data: Any) -> int:
        nonlocal total
        total += len(data)
        return plain(fd, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", counted)
        with ActivationWriter.create(path, **sizes, model="my-8b", durable=False) as writer:
            for row in range(rows):
                writer.append(
                    block,
                    token_count=shape[1],
                    input_length=9,
                    hashkey=f"{row:064x}",
                    halu=row % 2,
                    group=f"group {row // 2}",
                )
                writer.commit()
    return total, rows * block.nbytes


@pytest.mark.parametrize(
    "sizes",
    [
        {"layers": range(4), "hidden_size": 64, "max_tokens": 32},  # 16 KiB per row
        {"layers": range(8), "hidden_size": 128, "max_tokens": 16},  # 32 KiB
        {"layers": range(33), "hidden_size": 128, "max_tokens": 12},  # 99 KiB
        {"layers": range(4), "hidden_size": 768, "max_tokens": 64},  # 384 KiB
    ],
    ids=str,
)
def test_committing_row_by_row_costs_at_most_twice_the_rows(
    tmp_path: Path, sizes: dict[str, Any]
) -> None:
    written, rows = bytes_written(tmp_path / "a.zarr", 80, **sizes)
    assert written <= 2 * rows
    assert verify_store(tmp_path / "a.zarr") == []


def test_what_is_committed_is_never_written_again(tmp_path: Path) -> None:
    """The bytes of the activations of committed rows, and their entries in the index."""
    sizes: dict[str, Any] = {"layers": [0, 1], "hidden_size": 4, "max_tokens": 3, "shard_rows": 4}
    places: list[tuple[int, int]] = []
    plain = os.write

    def noted(fd: int, data: Any) -> int:
        at = os.lseek(fd, 0, os.SEEK_CUR)
        if "activations/c." in os.readlink(f"/proc/self/fd/{fd}"):
            places.extend((at + i, at + i + 1) for i in range(len(data)))
        return plain(fd, data)

    with ActivationWriter.create(tmp_path / "a.zarr", model="m", **sizes) as writer:
        for row in range(4):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, "write", noted)
                writer.append(
                    np.ones((2, 3, 4)), token_count=3, input_length=1, hashkey=f"row {row}"
                )
                writer.commit()
    index, chunks = 4 * 2 * 16, 4 * 2 * (3 * 4 * 2 + 4)
    # the index is filled with "missing" once, and every entry and every chunk written once
    assert sorted(places) == sorted(
        (i, i + 1) for i in (*range(index), *range(index), *range(index, index + chunks))
    )


@pytest.fixture
def old(tmp_path: Path) -> Path:
    shutil.unpack_archive(OLD, tmp_path / "old.zarr")
    return tmp_path / "old.zarr"


def test_an_old_store_is_read_and_sound(old: Path) -> None:
    assert "index_location" not in json.loads((old / "zarr.json").read_text())["attributes"]
    require_rows(ActivationStore.open(old), range(5))
    assert verify_store(old) == []


def test_an_old_store_is_gone_on_with_as_it_was_begun(old: Path) -> None:
    with ActivationWriter.resume(old) as writer:
        assert len(writer) == 5
        for rows in range(6, 12):
            append_rows(writer, rows)
            writer.commit()
            require_rows(ActivationStore.open(old), range(rows))
    assert verify_store(old) == []
    array = zarr.open_array(old / "activations", mode="r")
    assert array.shape == (11, 3, 4, 5)
    codec = json.loads((old / "activations" / "zarr.json").read_text())["codecs"][0]
    assert codec["configuration"]["index_location"] == "end"
    assert [c["name"] for c in codec["configuration"]["index_codecs"]] == ["bytes", "crc32c"]


def test_an_old_shard_that_is_truncated_is_not_gone_on_with(old: Path) -> None:
    shard = old / "activations" / "c.1.0.0.0"
    shard.write_bytes(shard.read_bytes()[:99])
    with (
        pytest.raises(StoreError, match=r"c.1.0.0.0 is truncated: committed bytes are gone"),
        ActivationWriter.resume(old) as writer,
    ):
        append_rows(writer, 6)
