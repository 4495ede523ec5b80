"""Folds of labelled rows."""

import numpy as np
import pytest

from kview.contracts import LabelError
from kview.eval.detection.folds import folds


def test_every_row_is_held_out_once_and_classes_are_spread():
    labels = np.arange(50) % 2
    parts = folds(labels, seed=0)
    assert len(parts) == 5
    assert sorted(np.concatenate([out for _, out in parts]).tolist()) == list(range(50))
    for fit, out in parts:
        assert set(fit) & set(out) == set()
        assert labels[out].mean() == 0.5


def test_groups_stay_whole():
    random = np.random.default_rng(0)
    groups = np.array([f"g{g}" for g in random.integers(0, 12, 60)])
    labels = random.integers(0, 2, 60)
    for fit, out in folds(labels, 1, groups):
        assert set(groups[fit]) & set(groups[out]) == set()
        assert set(labels[out]) == set(labels[fit]) == {0, 1}


def test_few_rows_or_groups_make_fewer_folds_or_none():
    assert len(folds(np.array([0, 0, 0, 1, 1]), 0)) == 2
    with pytest.raises(LabelError, match="1 rows labelled hallucinated and 2 labelled not"):
        folds(np.array([0, 0, 1]), 0)
    with pytest.raises(LabelError, match="1 groups labelled hallucinated and 2 labelled not"):
        folds(np.array([0, 0, 1, 1]), 0, ["a", "b", "c", "c"])
