"""Views, orders and shares are pure functions, and fair ones."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kview.contracts import ConfigError
from kview.data.view_sampling import (
    Draw,
    ViewRule,
    balanced_order,
    draw_views,
    dropped_tail,
    epoch_batches,
    epoch_order,
)

N = 6000


def views(
    rule: ViewRule, *, seed: int = 0, epoch: int = 0, layers: int = 6, n: int = N
) -> np.ndarray:
    return draw_views(
        rule,
        seed=seed,
        rows=np.arange(n),
        draws=[Draw(row, epoch) for row in range(n)],
        available=np.ones((n, layers), bool),
    )


def assert_equally_likely(counts: Counter[tuple[int, ...]], outcomes: int) -> None:
    """Pearson's chi-square statistic stays below its mean plus five standard deviations."""
    total = counts.total()
    expected = total / outcomes
    statistic = sum((n - expected) ** 2 for n in counts.values()) / expected
    statistic += (outcomes - len(counts)) * expected
    freedom = outcomes - 1
    assert statistic < freedom + 5 * np.sqrt(2 * freedom), (statistic, freedom)


@pytest.mark.parametrize("num_views", [2, 3, 5])
@pytest.mark.parametrize("seed", [0, 1, 2**70])
def test_every_subset_is_equally_likely(num_views: int, seed: int) -> None:
    drawn = views(ViewRule(num_views), seed=seed)
    subsets = Counter(tuple(sorted(v)) for v in drawn.tolist())
    assert_equally_likely(subsets, len(list(combinations(range(6), num_views))))


def test_every_order_is_equally_likely() -> None:
    assert_equally_likely(Counter(map(tuple, views(ViewRule(3), layers=4).tolist())), 24)


def test_epochs_draw_independently() -> None:
    first, second = (views(ViewRule(2), epoch=e, layers=4) for e in (0, 1))
    pairs = np.concatenate([np.sort(first), np.sort(second)], axis=1)
    assert_equally_likely(Counter(map(tuple, pairs.tolist())), 36)


def test_neighbouring_rows_draw_independently() -> None:
    drawn = np.sort(views(ViewRule(2), layers=4))
    pairs = np.concatenate([drawn[::2], drawn[1::2]], axis=1)
    assert_equally_likely(Counter(map(tuple, pairs.tolist())), 36)


def test_replacement_draws_every_sequence_equally() -> None:
    drawn = views(ViewRule(3, replacement=True), layers=4)
    assert_equally_likely(Counter(map(tuple, drawn.tolist())), 64)


@pytest.mark.parametrize("replacement", [False, True])
def test_the_fixed_view_comes_first_and_never_again(replacement: bool) -> None:
    drawn = views(ViewRule(3, fixed=2, replacement=replacement), layers=5)
    assert (drawn[:, 0] == 2).all()
    assert (drawn[:, 1:] != 2).all()
    assert_equally_likely(Counter(map(tuple, drawn[:, 1:].tolist())), 16 if replacement else 12)


@given(
    seed=st.integers(0, 2**40),
    layers=st.integers(2, 9),
    num_views=st.integers(2, 9),
    replacement=st.booleans(),
    data=st.data(),
)
def test_views_are_available_and_distinct(
    seed: int, layers: int, num_views: int, replacement: bool, data: st.DataObject
) -> None:
    num_views = num_views if replacement else min(num_views, layers)
    least = 1 if replacement else num_views
    kept = data.draw(
        st.lists(st.sets(st.integers(0, layers - 1), min_size=least), min_size=1, max_size=4)
    )
    available = np.zeros((len(kept), layers), bool)
    for row, positions in enumerate(kept):
        available[row, list(positions)] = True
    draws = [Draw(row, epoch=seed % 5, repeat=row % 2) for row in range(len(kept))]
    rule = ViewRule(num_views, replacement=replacement)
    rows = np.arange(len(kept))
    drawn = draw_views(rule, seed=seed, rows=rows, draws=draws, available=available)
    assert drawn.shape == (len(kept), num_views)
    assert np.take_along_axis(available, drawn, 1).all()
    if not replacement:
        assert all(len(set(row)) == num_views for row in drawn.tolist())
    one = draw_views(rule, seed=seed, rows=rows[-1:], draws=draws[-1:], available=available[-1:])
    np.testing.assert_array_equal(one[0], drawn[-1])


def test_a_layer_that_is_taken_away_changes_nothing_among_the_others() -> None:
    full = views(ViewRule(2), n=500)
    available = np.ones((500, 6), bool)
    available[:, 4] = False
    draws = [Draw(row) for row in range(500)]
    less = draw_views(ViewRule(2), seed=0, rows=np.arange(500), draws=draws, available=available)
    without = ~(full == 4).any(1)
    np.testing.assert_array_equal(less[without], full[without])
    assert not (less == 4).any()


def test_repeats_are_seen_anew() -> None:
    def first(repeat: int) -> np.ndarray:
        draws = [Draw(row, 0, repeat) for row in range(50)]
        available = np.ones((50, 6), bool)
        return draw_views(ViewRule(3), seed=0, rows=np.arange(50), draws=draws, available=available)

    assert (first(0) != first(1)).any()
    np.testing.assert_array_equal(first(1), first(1))


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
