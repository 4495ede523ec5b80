"""A store has one writer, in one process."""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.written_rows import SIZES, append_rows
from kview.contracts import StoreError
from kview.data import ActivationStore, ActivationWriter

in_a_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def fork(action: Callable[[], object]) -> int:
    """A process that ends with 0 where the action returns, and 1 where kview refuses it."""
    child = os.fork()
    if not child:
        code = 2
        try:
            action()
            code = 0
        except StoreError:
            code = 1
        finally:
            os._exit(code)
    return child


def exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_store_has_one_writer_at_a_time(tmp_path: Path) -> None:
    with ActivationWriter.create(tmp_path / "a.zarr", **SIZES) as writer:
        append_rows(writer, 1)
        with pytest.raises(StoreError, match="another writer"):
            ActivationWriter.resume(tmp_path / "a.zarr")
    with pytest.raises(StoreError, match="closed"):
        append_rows(writer, 2)


@in_a_fork
def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    ActivationWriter.create(path, **SIZES).close()
    assert exit_code(fork(lambda: ActivationWriter.resume(path))) == 0
    ActivationWriter.resume(path).close()


def test_the_lock_ends_with_a_writer_that_nobody_has(tmp_path: Path) -> None:
    writer = ActivationWriter.create(tmp_path / "a.zarr", **SIZES)
    del writer
    ActivationWriter.resume(tmp_path / "a.zarr").close()


def test_a_store_that_another_made_in_between_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process gets the lock first, commits and ends."""
    path, plain = tmp_path / "a.zarr", fcntl.flock

    def later(fd: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", plain)
        with ActivationWriter.create(path, **SIZES) as other:
            append_rows(other, 3)
        plain(fd, operation)

    monkeypatch.setattr(fcntl, "flock", later)
    with pytest.raises(StoreError, match="is a store already"):
        ActivationWriter.create(path, **SIZES)
    assert len(ActivationStore.open(path)) == 3


def test_a_refused_resume_lets_go_of_the_store(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    with ActivationWriter.create(path, **SIZES) as writer:
        append_rows(writer, 3)
    column = path / "halu" / "c.0"
    sound = column.read_bytes()
    column.write_bytes(b"damaged")
    for _ in range(2):
        with pytest.raises(StoreError, match=r"halu/c.0"):
            ActivationWriter.resume(path)
    column.write_bytes(sound)
    with ActivationWriter.resume(path) as writer:
        append_rows(writer, 4)


@in_a_fork
def test_a_forked_process_neither_writes_nor_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    writer = ActivationWriter.create(path, **SIZES)
    append_rows(writer, 2)

    def use() -> None:
        with pytest.raises(StoreError, match="another process's"), writer:
            append_rows(writer, 3)

    assert exit_code(fork(use)) == 0
    assert writer.rows == len(ActivationStore.open(path)) == 0
    child = fork(lambda: time.sleep(60))
    try:
        writer.close()
        ActivationWriter.resume(path).close()
        assert len(ActivationStore.open(path)) == 2
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


@in_a_fork
def test_of_processes_that_make_one_store_one_does(tmp_path: Path) -> None:
    for turn in range(10):
        path = tmp_path / f"{turn}.zarr"
        wait, go = os.pipe()

        def race(path: Path = path, wait: int = wait, go: int = go) -> None:
            os.close(go)
            os.read(wait, 1)
            with ActivationWriter.create(path, **SIZES, durable=False) as writer:
                append_rows(writer, 20)

        racers = [fork(race) for _ in range(3)]
        os.close(wait)
        os.close(go)  # they go
        assert sorted(exit_code(racer) for racer in racers) == [0, 1, 1]
        assert len(ActivationStore.open(path)) == 20
