"""Ctrl-C at any moment: in a loop that is run again, and in a block that it leaves."""

import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from helpers.faults import fault
from helpers.written_rows import OLD, SIZES, append_rows, require_rows, row_values
from kview.data import ActivationStore, ActivationWriter, verify_store

ROWS = 24

pytestmark = pytest.mark.filterwarnings(
    # Python drops an interrupt that falls into a finalizer, and says so
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


def interrupted(action: Callable[[], object], seconds: float) -> bool:
    """Whether an action was interrupted by the one interrupt that comes after some seconds."""
    armed = True

    def interrupt(number: int, frame: FrameType | None) -> None:
        if armed:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            action()
        finally:
            armed = False
    except KeyboardInterrupt:
        return True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return False


def append_missing(writer: ActivationWriter, returned: list[int] | None = None) -> None:
    """The cell of a notebook: appends the rows that the writer does not have."""
    for row in range(ROWS):
        activations, values = row_values(row)
        if values["hashkey"] not in writer:
            writer.append(activations, **values)
            if returned is not None:
                returned.append(row)


def loops_that_go_on(folder: Path, interrupts: int) -> None:
    """Interrupts a loop, and runs it again with the same writer until it is through."""
    rng = np.random.default_rng(0)
    fell = store = 0
    while fell < interrupts:
        store += 1
        path = folder / f"{store}.zarr"
        writer = ActivationWriter.create(path, **SIZES, shard_rows=8, durable=False)
        while interrupted(lambda w=writer: append_missing(w), rng.exponential(0.005)):
            fell += 1
            left = ActivationStore.open(path)
            assert len(left) in (writer.rows, len(writer))  # a commit may end as it is interrupted
            require_rows(left, range(len(left)))
        assert len(writer) == ROWS
        while interrupted(writer.commit, rng.exponential(0.002)):
            fell += 1
        writer.close()
        require_rows(ActivationStore.open(path), range(ROWS))
        assert verify_store(path) == []


def blocks_that_are_left(folder: Path, interrupts: int) -> None:
    """Interrupts a block, looks what is left, and writes the rest."""
    rng = np.random.default_rng(1)
    fell = store = 0
    rows_left = set()

    def block(path: Path, returned: list[int]) -> None:
        with ActivationWriter.create(path, **SIZES, shard_rows=8, durable=False) as writer:
            append_missing(writer, returned)

    start = time.perf_counter()
    block(folder / "whole.zarr", [])
    seconds = time.perf_counter() - start
    while fell < interrupts:
        store += 1
        path = folder / f"{store}.zarr"
        returned: list[int] = []
        fell += interrupted(lambda p=path, r=returned: block(p, r), rng.uniform(0, seconds))
        if not (path / "zarr.json").exists():
            assert not returned
            ActivationWriter.create(path, **SIZES, shard_rows=8, durable=False).close()
        rows = len(ActivationStore.open(path))
        rows_left.add(rows)
        assert rows <= len(returned) + 1  # the last may have been appended and not yet noted down
        assert rows >= len(returned) // 8 * 8 - 8  # what needed another file was committed before
        require_rows(ActivationStore.open(path), range(rows))
        with ActivationWriter.resume(path, durable=False) as writer:
            assert len(writer) == rows
            append_missing(writer)
        require_rows(ActivationStore.open(path), range(ROWS))
    assert len(rows_left) > 1, f"the interrupts fell at one moment: {rows_left}"


@pytest.mark.parametrize(
    ("old", "logprobs"),
    [(False, {}), (True, {}), (False, {"logprob_tokens": 2, "logprobs_top_k": 1})],
    ids=["index at the start", "index at the end", "log-probabilities"],
)
def test_a_commit_may_be_interrupted_after_every_call(
    tmp_path: Path, old: bool, logprobs: dict[str, Any]
) -> None:
    at, finished = 0, False
    while not finished:
        at += 1
        path = tmp_path / str(at)
        if old:
            shutil.unpack_archive(OLD, path)
        else:
            begun = ActivationWriter.create(path, **SIZES, shard_rows=3, durable=False, **logprobs)
            begun.close()
        writer = ActivationWriter.resume(path, durable=False)
        append_rows(writer, 6)
        with fault(KeyboardInterrupt(), at, after=True) as faults, suppress(KeyboardInterrupt):
            writer.commit()
        rows = len(ActivationStore.open(path))
        assert rows in (writer.rows, 6)
        append_rows(writer, 8)
        require_rows(ActivationStore.open(path), range(6))  # the seventh row needed another file
        writer.close()
        require_rows(ActivationStore.open(path), range(8))
        shutil.rmtree(path)
        finished = faults.calls < at
    assert at > 50


def test_a_loop_that_is_interrupted_goes_on(tmp_path: Path) -> None:
    loops_that_go_on(tmp_path, 200)


def test_a_block_that_is_interrupted_leaves_whole_rows(tmp_path: Path) -> None:
    blocks_that_are_left(tmp_path, 200)
