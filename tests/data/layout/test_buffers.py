"""Memory is used again when it is free, and never before."""

import pickle

import numpy as np
import pytest
import torch

from kview.data import ActivationStore
from kview.data.layout.buffers import Buffers

SHAPE, DTYPE = (3, 5), np.dtype("f2")


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_memory_that_is_free_is_used_again() -> None:
    buffers = Buffers()
    first = buffers.take(SHAPE, DTYPE)
    where = address(first)
    del first
    again = buffers.take((5, 3), DTYPE)
    assert address(again) == where
    assert (again.shape, again.dtype) == ((5, 3), DTYPE)


@pytest.mark.parametrize(
    "hold",
    [
        lambda x: x,
        lambda x: x[1:],
        lambda x: x.T,
        lambda x: x.data,
        lambda x: torch.from_numpy(x),
        lambda x: torch.from_numpy(x)[1],
        lambda x: torch.from_numpy(x).view(-1).untyped_storage(),
    ],
)
def test_memory_that_anything_holds_is_left_alone(hold: object) -> None:
    buffers = Buffers()
    first = buffers.take(SHAPE, DTYPE)
    where = address(first)
    held = hold(first)  # type: ignore[operator]
    del first
    others = [buffers.take(SHAPE, DTYPE) for _ in range(6)]
    assert where not in {address(other) for other in others}
    del held


def test_little_memory_is_kept() -> None:
    buffers = Buffers()
    held = [buffers.take(SHAPE, DTYPE) for _ in range(9)]
    assert len(buffers._kept) == 4
    assert len({address(array) for array in held}) == 9
    buffers.clear()
    assert not buffers._kept
    assert not pickle.loads(pickle.dumps(buffers))._kept


def test_batches_that_are_held_keep_their_values(synthetic_store: ActivationStore) -> None:
    reads = [([row], [[row % 6, 5]]) for row in range(20)]
    held = [synthetic_store.read(*read) for read in reads]
    for read, found in zip(reads, held, strict=True):
        fresh = np.empty_like(found)
        np.testing.assert_array_equal(synthetic_store.read(*read, fresh), found)
