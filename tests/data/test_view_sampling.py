"""Views are a pure function, and a fair one."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kview.data.view_sampling import Draw, ViewRule, draw_views

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
