"""A model of the writer: whatever is done to it and wherever it fails, the store does not lie."""

import errno
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import zarr
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from helpers.faults import KilledError, fault
from helpers.written_rows import SIZES, require_rows, row_values, stored_row
from kview.contracts import ContractError, StoreError
from kview.data import ActivationStore, ActivationWriter
from kview.data.native.folder import Folder
from kview.data.native.schema import new_schema
from kview.data.native.tables import write_metadata

ERRORS: list[Callable[[], BaseException]] = [
    KeyboardInterrupt,
    KilledError,
    lambda: OSError(errno.ENOSPC, "No space left on device"),
    MemoryError,
]
calls = st.integers(1, 12) | st.integers(1, 110)
"""A commit makes about a hundred; those of the activations come first."""
faults = st.none() | st.tuples(st.sampled_from(ERRORS), calls, st.booleans())
Fault = tuple[Callable[[], BaseException], int, bool] | None


class WriterMachine(RuleBasedStateMachine):
    """Appends, commits, closes and resumes, and fails at any system call.

    Attributes:
        steps: taken by all machines.
        ends: how often an operation ended in which way, of all machines.
    """

    steps = 0
    ends: ClassVar[dict[str, int]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "a.zarr"
        self.writer: ActivationWriter | None = None
        self.appended: list[int] = []
        self.committed = 0
        self.next_row = 0
        self.beside: tuple[ActivationStore, list[int]] | None = None

    @initialize(
        location=st.sampled_from(["start", "start", "end"]),
        shard_rows=st.integers(1, 4),
        column_rows=st.integers(1, 5),
    )
    def begin(self, location: str, shard_rows: int, column_rows: int) -> None:
        schema = new_schema(**SIZES, dtype="float16", shard_rows=shard_rows)
        self.path.mkdir()
        folder = Folder(self.path, durable=False)
        write_metadata(folder, replace(schema, index_location=location, column_rows=column_rows))
        self.writer = ActivationWriter.resume(self.path)

    def attempt(self, what: Fault, action: Callable[[], object]) -> bool:
        """Does something that may fail at a system call; True where it returned.

        Afterwards there is a writer only if the failure left one that goes on.
        """
        error = None if what is None else what[0]()
        _, at, after = what or (None, 0, False)
        try:
            with fault(error, at, after=after):
                action()
        except (KeyboardInterrupt, MemoryError) as caught:
            end, returned = type(caught).__name__, False
        except KilledError:
            end, returned = "killed", False
            self.abandon()
        except StoreError:
            assert isinstance(error, OSError), "nothing was injected that would be a StoreError"
            end, returned = "cannot write", False
            if self.writer is not None:
                with pytest.raises(StoreError, match=r"failed before|closed"):
                    self.append_next(self.writer)
                self.writer.close()
                self.writer = None
        else:
            end, returned = "returned", True
        self.ends[end] = self.ends.get(end, 0) + 1
        return returned

    def abandon(self) -> None:
        """What a kill leaves: the system closes files and lets go of locks; nothing is written."""
        if self.writer is not None:
            if self.writer._shard is not None:
                self.writer._shard.close()
            self.writer._lock.close()
            self.writer = None

    def append_next(self, writer: ActivationWriter) -> None:
        activations, values = row_values(self.next_row)
        writer.append(activations, **values)

    def settle(self, allowed: set[int]) -> None:
        """Looks how many rows are committed, which must be among those that may be."""
        found = json.loads((self.path / "zarr.json").read_text())["attributes"]["rows"]
        assert found in allowed, f"{found} rows are committed, not one of {allowed}"
        self.committed = found

    def lose_uncommitted(self) -> None:
        if self.writer is None:
            del self.appended[self.committed :]

    @precondition(lambda self: self.writer is not None)
    @rule(what=faults, again=st.booleans())
    def append_two(self, what: Fault, again: bool) -> None:
        self.append(None, again)
        if self.writer is not None:
            self.append(what, again)

    def append(self, what: Fault, again: bool) -> None:
        writer = self.writer
        assert writer is not None
        done = self.attempt(what, lambda: self.append_next(writer))
        before = len(self.appended)
        self.settle({self.committed, before})
        if done:
            self.appended.append(self.next_row)
        if done or not again:
            self.next_row += 1
        self.lose_uncommitted()

    @precondition(lambda self: self.writer is not None)
    @rule(what=faults)
    def commit(self, what: Fault) -> None:
        assert self.writer is not None
        done = self.attempt(what, self.writer.commit)
        self.settle({len(self.appended)} if done else {self.committed, len(self.appended)})
        self.lose_uncommitted()

    @precondition(lambda self: self.writer is not None)
    @rule(what=faults)
    def close(self, what: Fault) -> None:
        """As leaving the block does, by an exception or not."""
        writer = self.writer
        assert writer is not None
        done = self.attempt(what, writer.close)
        self.abandon()
        self.settle({len(self.appended)} if done else {self.committed, len(self.appended)})
        with pytest.raises(StoreError, match="closed"):
            self.append_next(writer)
        self.lose_uncommitted()

    @precondition(lambda self: self.writer is not None)
    @rule()
    def kill(self) -> None:
        self.abandon()
        self.lose_uncommitted()

    @precondition(lambda self: self.writer is None)
    @rule(what=faults)
    def resume(self, what: Fault) -> None:
        def action() -> None:
            self.writer = ActivationWriter.resume(self.path)

        self.attempt(what, action)
        self.settle({self.committed})

    @precondition(lambda self: self.writer is not None)
    @rule()
    def be_refused(self) -> None:
        assert self.writer is not None
        with pytest.raises(StoreError, match="another writer has this store open"):
            ActivationWriter.resume(self.path)
        with pytest.raises(StoreError, match="another writer has this store open"):
            ActivationWriter.create(self.path, **SIZES)
        if self.appended:
            activations, values = row_values(self.appended[-1])
            with pytest.raises(ContractError, match="repeated hashkey"):
                self.writer.append(activations, **values)

    @rule()
    def look(self) -> None:
        """With zarr-python; and a reader is left beside the writer."""
        rows = self.appended[: self.committed]
        group = zarr.open_group(self.path, mode="r")
        assert group.attrs["rows"] == len(rows)
        if rows:
            blocks = np.asarray(group["activations"][: len(rows)])  # type: ignore[index]
            assert [b.tobytes() for b in blocks] == [stored_row(row)[0] for row in rows]
            keys = np.asarray(group["hashkey"][: len(rows)]).tolist()  # type: ignore[index]
            assert keys == [row_values(row)[1]["hashkey"] for row in rows]
        self.beside = ActivationStore.open(self.path), rows

    @invariant()
    def the_store_holds_what_was_committed(self) -> None:
        type(self).steps += 1
        require_rows(ActivationStore.open(self.path), self.appended[: self.committed])

    @invariant()
    def the_writer_has_what_was_appended(self) -> None:
        if self.writer is not None:
            assert len(self.writer) == len(self.appended)
            assert all(row_values(row)[1]["hashkey"] in self.writer for row in self.appended)
            assert row_values(self.next_row)[1]["hashkey"] not in self.writer

    @invariant()
    def the_reader_beside_reads_what_it_saw(self) -> None:
        if self.beside is not None:
            require_rows(*self.beside)

    def teardown(self) -> None:
        self.abandon()
        if self.beside is not None:
            self.beside[0].close()
        shutil.rmtree(self.folder)


def run_steps(steps: int, examples: int) -> None:
    """Runs machines until they have taken so many steps."""
    WriterMachine.steps = 0
    WriterMachine.ends = {}
    while WriterMachine.steps < steps:
        run_state_machine_as_test(
            WriterMachine,
            settings=settings(max_examples=examples, stateful_step_count=50, deadline=None),
        )


def test_the_store_never_lies() -> None:
    run_steps(2_000, 60)
    assert WriterMachine.ends.keys() >= {"returned", "killed", "cannot write", "KeyboardInterrupt"}


@pytest.mark.soak
def test_the_store_never_lies_for_long() -> None:
    run_steps(100_000, 1_000)
