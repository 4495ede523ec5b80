"""The writer: what it writes, what it refuses, and what a kill or a full disk leaves."""

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
import zarr.codecs
from hypothesis import given
from hypothesis import strategies as st

from helpers.paths import HELPERS
from helpers.written_rows import (
    SIZES,
    STORED,
    append_rows,
    require_rows,
    row_values,
    stored_row,
)
from kview.contracts import ConfigError, StoreError
from kview.data import ActivationStore, ActivationWriter, verify_store

INDEX = 3 * 3 * 16
"""Bytes of the index of a shard of three rows."""
APPENDER = HELPERS / "written_rows.py"


def contents(path: Path) -> dict[str, bytes]:
    """Every file of a store by its name."""
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def write(path: Path, rows: int, **settings: Any) -> Path:
    with ActivationWriter.create(path, **SIZES, durable=False, **settings) as writer:
        append_rows(writer, rows)
    return path


@given(rows=st.integers(0, 12), shard_rows=st.integers(1, 5), cuts=st.sets(st.integers(1, 12)))
def test_any_zarr_reader_reads_what_was_written(
    rows: int, shard_rows: int, cuts: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("w") / "a.zarr"
    with ActivationWriter.create(path, **SIZES, durable=False, shard_rows=shard_rows) as writer:
        for row in range(rows):
            append_rows(writer, row + 1)
            if row in cuts:
                writer.commit()
    group = zarr.open_group(path, mode="r")
    store = ActivationStore.open(path)
    assert group.attrs["rows"] == rows == len(store)
    require_rows(store, range(rows))
    for row in range(rows):
        block, values = stored_row(row)
        assert np.asarray(group["activations"][row]).tobytes() == block  # type: ignore[index]
        for name, value in zip(STORED, values, strict=True):
            if name in ("input_length", "halu", "hashkey", "group"):
                assert np.asarray(group[name][row]).item() == value  # type: ignore[index]
    lengths = [row_values(row)[1]["token_count"] for row in range(rows)]
    assert store.response_lengths.tolist() == lengths


def test_a_shard_is_the_one_that_zarr_writes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr", 7, shard_rows=3)
    ours = zarr.open_array(path / "activations", mode="r")
    theirs = zarr.create_array(
        tmp_path / "b.zarr",
        shape=ours.shape,
        chunks=ours.chunks,
        shards=ours.shards,
        dtype=ours.dtype,
        compressors=[zarr.codecs.Crc32cCodec()],
        config={"write_empty_chunks": True},
    )
    theirs[:] = ours[:]
    for row, layer in ((0, 0), (2, 2), (6, 1)):
        shard = np.frombuffer((tmp_path / f"b.zarr/c/{row // 3}/0/0/0").read_bytes(), "u1")
        offset, length = (
            shard[-INDEX - 4 : -4].view("<u8").reshape(3, 3, 2)[row % 3, layer].tolist()
        )
        mine = np.frombuffer((path / f"activations/c.{row // 3}.0.0.0").read_bytes(), "u1")
        my_index = mine[:INDEX].view("<u8").reshape(3, 3, 2)
        my_offset, my_length = my_index[row % 3, layer].tolist()
        assert (my_offset, my_length) == (INDEX + (row % 3 * 3 + layer) * length, length)
        np.testing.assert_array_equal(
            mine[my_offset : my_offset + length], shard[offset : offset + length]
        )


@pytest.mark.parametrize("stop", [0, 1, 2, 3, 5, 6])
def test_resuming_ends_in_the_same_store(tmp_path: Path, stop: int) -> None:
    whole = write(tmp_path / "a.zarr", 8, shard_rows=3)
    path = write(tmp_path / "b.zarr", stop, shard_rows=3)
    with ActivationWriter.resume(path, durable=False) as writer:
        assert len(writer) == writer.rows == stop
        append_rows(writer, 8)
    assert contents(path) == contents(whole)


def test_resuming_clears_what_a_killed_writer_left(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr", 6, shard_rows=3)
    before = contents(path)
    with (path / "texts.jsonl").open("a") as file:
        file.write('{"half a li')
    for name in ("activations/c.2.0.0.0", "activations/c.2.0.0.0.next", "zarr.json.next"):
        (path / name).write_bytes(b"half a file")
    assert ActivationStore.open(path).texts().keys() == {
        row_values(i)[1]["hashkey"] for i in range(6)
    }
    ActivationWriter.resume(path, durable=False).close()
    assert contents(path) == before


def test_tensors_and_layers_are_taken_as_they_come(tmp_path: Path) -> None:
    x = torch.randn(3, 2, 5)
    for name, given_ in (("a", x), ("b", x.bfloat16()), ("c", x.numpy().astype("f8"))):
        with ActivationWriter.create(tmp_path / name, **SIZES, dtype=np.float32) as writer:
            writer.append(given_, token_count=2, input_length=0, hashkey="a")
        store = ActivationStore.open(tmp_path / name)
        assert store.layer_ids == (0, 3, 7)
        assert store.dtype == np.float32
        np.testing.assert_allclose(store.read([0], [[0, 1, 2]])[0, :, :2], x, rtol=1e-2)


@pytest.mark.parametrize(
    "change",
    [
        *({"layers": []}, {"layers": [1, 1]}, {"layers": None}, {"hidden_size": 0}),
        *({"dtype": "int8"}, {"shard_rows": 0}, {"hidden_size": 2**20 + 1}, {"hidden_size": 2**70}),
        *({"max_tokens": 2**20 + 1}, {"shard_rows": 2**22}, {"model": "m\ud800"}),
    ],
    ids=repr,
)
def test_a_store_that_nobody_could_read_is_not_begun(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError):
        ActivationWriter.create(tmp_path / "a.zarr", **{**SIZES, **change})
    assert not (tmp_path / "a.zarr").exists()


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr", 2)
    with pytest.raises(StoreError, match="is a store already"):
        ActivationWriter.create(path, **SIZES)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.tex").touch()
    with pytest.raises(StoreError, match=r"not empty: it holds \['thesis.tex'\]"):
        ActivationWriter.create(tmp_path / "b", **SIZES)
    with pytest.raises(StoreError, match="none to resume"):
        ActivationWriter.resume(tmp_path / "b")


def test_an_error_in_the_block_keeps_the_rows_before_it(tmp_path: Path) -> None:
    def interrupted() -> None:
        with ActivationWriter.create(tmp_path / "a.zarr", **SIZES) as writer:
            append_rows(writer, 2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert len(ActivationStore.open(tmp_path / "a.zarr")) == 2


def test_readers_see_committed_rows_only(tmp_path: Path) -> None:
    with ActivationWriter.create(tmp_path / "a.zarr", **SIZES, shard_rows=3) as writer:
        append_rows(writer, 5)
        store = ActivationStore.open(tmp_path / "a.zarr")
        assert len(store) == writer.rows == 3
        writer.commit()
        assert len(ActivationStore.open(tmp_path / "a.zarr")) == 5
        append_rows(writer, 7)
        expected = row_values(2)[0].astype("f2")
        kept = store.token_counts[2]
        np.testing.assert_array_equal(store.read([2], [[1]])[0, 0, :kept], expected[1, :kept])
    assert len(store) == 3


def test_a_full_disk_is_named_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    writer = ActivationWriter.create(path, **SIZES, shard_rows=4)
    append_rows(writer, 6)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
    try:
        with pytest.raises(StoreError, match=r"cannot write: .*; 4 committed rows are safe"):
            append_rows(writer, 8)
        with pytest.raises(StoreError, match="the writer failed before"):
            append_rows(writer, 9)
        writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert verify_store(path) == []
    with ActivationWriter.resume(path) as again:
        append_rows(again, 8)
    assert contents(path) == contents(write(tmp_path / "b.zarr", 8, shard_rows=4))


def kill_and_resume(tmp_path: Path, seed: int, rows: int = 300) -> int:
    """Kills a writing process after a random time, looks at the store, and goes on.

    Every other one commits every row.

    Returns:
        The rows that were committed.
    """
    path = tmp_path / f"killed-{seed}.zarr"
    rng = np.random.default_rng(seed)
    with subprocess.Popen(
        [sys.executable, str(APPENDER), str(path), str(rows), str(seed % 2)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
    if not (path / "zarr.json").exists():  # killed while the store was being made: make it
        write(path, rows, shard_rows=4)
        return 0
    committed = json.loads((path / "zarr.json").read_text())["attributes"]["rows"]
    require_rows(ActivationStore.open(path), range(committed))
    assert verify_store(path) == []
    with ActivationWriter.resume(path, durable=False) as writer:
        append_rows(writer, rows)
    return committed


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return contents(write(tmp_path_factory.mktemp("whole") / "a.zarr", 300, shard_rows=4))


@pytest.mark.parametrize("seed", range(5))
def test_a_killed_writer_leaves_what_was_committed(
    tmp_path: Path, undisturbed: dict[str, bytes], seed: int
) -> None:
    kill_and_resume(tmp_path, seed)
    assert contents(tmp_path / f"killed-{seed}.zarr") == undisturbed


@pytest.mark.soak
def test_a_writer_killed_fifty_times_leaves_what_was_committed(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    committed = []
    for seed in range(100, 150):
        committed.append(kill_and_resume(tmp_path, seed))
        assert contents(tmp_path / f"killed-{seed}.zarr") == undisturbed
    assert len(set(committed)) > 10, f"the kills did not fall at different moments: {committed}"
