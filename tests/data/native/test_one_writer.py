"""A writer is one process's: it is not copied or sent, and its threads take turns."""

import copy
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from helpers.written_rows import SIZES, append_rows, require_rows, row_values
from kview.contracts import StoreError
from kview.data import ActivationStore, ActivationWriter, verify_store


@pytest.mark.parametrize("take", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_writer_is_not_copied(tmp_path: Path, take) -> None:
    with ActivationWriter.create(tmp_path / "a.zarr", **SIZES) as writer:
        append_rows(writer, 2)
        with pytest.raises(StoreError, match="cannot be copied or sent to another process"):
            take(writer)
        append_rows(writer, 3)
    require_rows(ActivationStore.open(tmp_path / "a.zarr"), range(3))


def test_threads_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    with ActivationWriter.create(path, **SIZES, shard_rows=8, durable=False) as writer:

        def append(row: int) -> None:
            activations, values = row_values(row)
            writer.append(activations, **values)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(append, range(400)))
    assert verify_store(path) == []
    store = ActivationStore.open(path)
    rows = {row_values(row)[1]["hashkey"]: row for row in range(400)}
    require_rows(store, [rows[key] for key in store.hashkeys])
    assert len(store) == 400


def test_a_file_that_nobody_holds_is_closed(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    writer = ActivationWriter.create(tmp_path / "a.zarr", **SIZES)
    append_rows(writer, 2)
    del writer
    assert len(os.listdir("/proc/self/fd")) == before
