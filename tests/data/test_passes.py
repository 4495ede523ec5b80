"""Counts of readings, here and in other processes; test_workers.py has those of a DataLoader."""

import os
import pickle

import pytest

from kview.data import Draw
from kview.data.passes import Passes


def test_a_row_counts_its_readings() -> None:
    passes = Passes(3)
    assert [passes.next(1), passes.next(1), passes.next(2)] == [Draw(1, 0), Draw(1, 1), Draw(2, 0)]
    passes.start(5)
    assert [passes.next(0), passes.next(1)] == [Draw(0, 5), Draw(1, 5)]


def test_a_copy_counts_on_by_itself() -> None:
    passes = Passes(2)
    passes.next(1)
    copy = pickle.loads(pickle.dumps(passes))
    assert [copy.next(1), copy.next(1), passes.next(1)] == [Draw(1, 1), Draw(1, 2), Draw(1, 1)]


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="files are counted in /proc")
def test_no_file_is_kept_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    many = [Passes(10) for _ in range(20)]
    assert len(os.listdir("/proc/self/fd")) == before, many
