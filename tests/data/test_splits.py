"""Splits are stratified, disjoint, complete, and keep groups together."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from kview.contracts import ConfigError, LabelError
from kview.data import split_rows
from kview.data.splits import Splits, SplitStrategy


def sides(splits: Splits) -> list[np.ndarray]:
    return [p for p in (splits.train, splits.val, splits.test) if p is not None]


def labels_of(counts: Sequence[int], seed: int = 0) -> np.ndarray:
    labels = np.repeat(np.array([0, 1, -1], np.int8), counts)
    return np.random.default_rng(seed).permutation(labels)


def test_two_way_is_what_scikit_learn_makes() -> None:
    labels = labels_of((57, 43, 0))
    train, test = train_test_split(np.arange(100), test_size=0.2, stratify=labels, random_state=42)
    splits = split_rows(labels, strategy="two_way", seed=42)
    assert splits.val is None
    np.testing.assert_array_equal(splits.train, sorted(train))
    np.testing.assert_array_equal(splits.test, sorted(test))


def test_three_way_takes_an_eighth_of_train_with_the_next_seed() -> None:
    labels = labels_of((60, 40, 0))
    two, three = (split_rows(labels, strategy=s, seed=7) for s in ("two_way", "three_way"))
    train, val = train_test_split(
        two.train, test_size=0.125, stratify=labels[two.train], random_state=8
    )
    np.testing.assert_array_equal(three.test, two.test)
    np.testing.assert_array_equal(three.train, sorted(train))
    np.testing.assert_array_equal(three.val, sorted(val))


def test_none_is_all_test() -> None:
    splits = split_rows(labels_of((3, 1, 0)), strategy="none", seed=0)
    assert splits.train is None
    assert splits.val is None
    assert splits.test.tolist() == [0, 1, 2, 3]


@given(
    counts=st.tuples(st.integers(20, 40), st.integers(20, 40), st.sampled_from([0, 20])),
    seed=st.integers(0, 99),
    strategy=st.sampled_from(["two_way", "three_way"]),
    group_size=st.sampled_from([None, 1, 2, 3]),
)
def test_sides_are_disjoint_complete_and_stratified(
    counts: tuple[int, int, int], seed: int, strategy: SplitStrategy, group_size: int | None
) -> None:
    labels = labels_of(counts, seed)
    size = len(labels)
    groups = None if group_size is None else [str(row // group_size) for row in range(size)]
    parts = sides(split_rows(labels, strategy=strategy, seed=seed, groups=groups))
    assert sorted(np.concatenate(parts).tolist()) == list(range(size))
    slack = 1 if group_size in (None, 1) else 3 * group_size
    for part, share in zip(parts, [0.8, 0.2] if len(parts) == 2 else [0.7, 0.1, 0.2], strict=True):
        for label in np.unique(labels):
            expected = share * (labels == label).sum()
            assert abs((labels[part] == label).sum() - expected) <= slack + 1
    if groups is not None:
        names = [{groups[row] for row in part} for part in parts]
        assert not any(a & b for i, a in enumerate(names) for b in names[i + 1 :])


@pytest.mark.parametrize("groups", [None, ["a"] * 20])
def test_too_few_rows_are_named(groups: list[str] | None) -> None:
    with pytest.raises(LabelError, match=r"19 of label 0.*, 1 of label 1.*: too few"):
        split_rows(labels_of((19, 1, 0)), strategy="two_way", seed=0, groups=groups)


@pytest.mark.parametrize("groups", [None, [str(row // 2) for row in range(41)]])
@pytest.mark.parametrize("unlabelled", [1, 41])
def test_unlabelled_rows_are_never_too_few(groups: list[str] | None, unlabelled: int) -> None:
    labels = labels_of((20, 20, 1)) if unlabelled == 1 else labels_of((0, 0, 41))
    splits = split_rows(labels, strategy="two_way", seed=0, groups=groups)
    assert splits.train is not None
    assert 5 <= len(splits.test) <= 12


def test_no_rows_cannot_be_split() -> None:
    with pytest.raises(LabelError, match="no row: too few"):
        split_rows(np.array([], np.int8), strategy="two_way", seed=0)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="takes one of two_way, three_way, none"):
        split_rows(labels_of((9, 9, 0)), strategy="five_way", seed=0)  # type: ignore[arg-type]
    with pytest.raises(LabelError, match="2 groups for 18 rows"):
        split_rows(labels_of((9, 9, 0)), strategy="two_way", seed=0, groups=["a", "b"])
