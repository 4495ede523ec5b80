"""Orders and shares of an epoch are pure functions, and fair ones."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kview.contracts import ConfigError
from kview.data import Draw
from kview.data.epochs import balanced_order, dropped_tail, epoch_batches, epoch_order


def test_an_epoch_has_every_row_once_in_an_order_of_its_own() -> None:
    orders = [epoch_order(size=50, seed=3, epoch=e, shuffle=True) for e in (0, 1, 0)]
    assert [sorted(d.row for d in o) for o in orders] == [list(range(50))] * 3
    assert orders[0] == orders[2]
    assert [d.row for d in orders[0]] != [d.row for d in orders[1]]
    assert epoch_order(size=3, seed=3, epoch=4, shuffle=False) == [Draw(i, 4) for i in range(3)]


@given(
    zeros=st.integers(1, 20),
    ones=st.integers(1, 20),
    unlabelled=st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_balanced_epochs_draw_classes_evenly(
    zeros: int, ones: int, unlabelled: int, seed: int
) -> None:
    labels = np.array([0] * zeros + [1] * ones + [-1] * unlabelled, np.int8)
    order = balanced_order(labels=labels, seed=seed, epoch=2)
    assert len(order) == len(labels)
    drawn = labels[[d.row for d in order]]
    assert abs((drawn == 0).sum() - (drawn == 1).sum()) <= 1
    assert len(set(order)) == len(order)
    for label in (0, 1):
        counts = Counter(d.row for d in order if labels[d.row] == label)
        members = (labels == label).sum()
        times = [counts[row] for row in np.flatnonzero(labels == label).tolist()]
        assert max(times) - min(times) <= 1, (members, counts)
        for row, count in counts.items():
            assert {d.repeat for d in order if d.row == row} == set(range(count))


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, -1], [-1, -1]])
def test_one_class_cannot_be_balanced(labels: list[int]) -> None:
    with pytest.raises(ConfigError, match="rows of both labels"):
        balanced_order(labels=np.array(labels), seed=0, epoch=0)


@given(
    size=st.integers(0, 30),
    batch_size=st.integers(1, 9),
    world_size=st.integers(1, 3),
    start_step=st.integers(0, 4),
)
def test_ranks_share_the_batches_of_one_process(
    size: int, batch_size: int, world_size: int, start_step: int
) -> None:
    batch_size = max(batch_size, world_size)
    order = epoch_order(size=size, seed=0, epoch=0, shuffle=True)
    alone = list(epoch_batches(order, batch_size=batch_size))
    shares = [
        list(
            epoch_batches(
                order,
                batch_size=batch_size,
                start_step=start_step,
                rank=rank,
                world_size=world_size,
            )
        )
        for rank in range(world_size)
    ]
    dropped = dropped_tail(size, batch_size=batch_size, world_size=world_size)
    kept = alone if not dropped else alone[:-1]
    assert sum(map(len, kept)) == size - dropped
    assert len({len(s) for s in shares}) == 1
    for step, batch in enumerate(kept[start_step:]):
        parts = [share[step] for share in shares]
        assert all(parts)
        assert sorted(d for part in parts for d in part) == sorted(batch)


@pytest.mark.parametrize(
    "change", [{"rank": 2}, {"world_size": 9}, {"start_step": -1}, {"batch_size": 0}], ids=str
)
def test_numbers_out_of_range_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="a batch needs a sample for every rank"):
        list(epoch_batches([], **{"batch_size": 4, "world_size": 2, **change}))
