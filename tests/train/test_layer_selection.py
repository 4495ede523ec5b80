"""Which layers to draw views from."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from helpers.sources import MemorySource
from kview.contracts import ConfigError, ContractError, LabelError
from kview.eval.detection.folds import folds
from kview.train import layer_selection, select_layers


def source_with_signal(
    layers: dict[int, float], num_rows: int = 120, hidden_size: int = 16
) -> MemorySource:
    source = MemorySource(num_rows, num_views=8, shift=0.0, hidden_size=hidden_size)
    source._views = lambda row, epoch: np.arange(8)
    for layer, signal in layers.items():
        source.x[:, layer, :, 2] += signal * torch.from_numpy(source.labels)[:, None]
    return source


def test_the_layers_that_tell_the_labels_are_chosen():
    found = select_layers(source_with_signal({1: 1.0, 5: 3.0, 6: 2.0}), count=2)
    assert found.layers == (5, 6)
    assert max(found.auroc, key=found.auroc.__getitem__) == 5
    assert set(found.auroc) == set(range(8))


def test_each_folds_scores_are_those_of_ridge_regression_on_the_others():
    source = source_with_signal({3: 0.7}, num_rows=60)
    groups = [str(row // 3) for row in range(60)]
    found = select_layers(source, count=1, groups=groups, seed=4)
    x, y = source.x.mean(2)[:, 3].double().numpy(), source.labels.astype(int)
    x = (x - x.mean(0)) / x.std(0)
    penalty = layer_selection._RIDGE * (x**2).sum(1).mean()
    expected = []
    for fit, out in folds(y, 4, groups):
        ridge = Ridge(alpha=penalty, fit_intercept=False).fit(x[fit], y[fit] - y.mean())
        expected.append(roc_auc_score(y[out], ridge.predict(x[out])))
    assert found.auroc[3] == pytest.approx(np.mean(expected), abs=1e-9)


def test_groups_are_kept_whole_so_that_near_copies_tell_nothing():
    source = source_with_signal({}, num_rows=200, hidden_size=100)
    random = np.random.default_rng(0)
    source.x = source.x[torch.arange(200) // 5] + 0.01 * torch.randn(source.x.shape)
    source.labels = np.repeat(random.permutation(40) % 2, 5).astype(np.int8)
    groups = [str(row // 5) for row in range(200)]
    fooled = select_layers(source, count=1).auroc
    assert min(fooled.values()) > 0.9
    honest = select_layers(source, count=1, groups=groups).auroc
    assert np.mean(list(honest.values())) < 0.65


def test_unlabelled_rows_are_left_out():
    source = source_with_signal({2: 2.0})
    without = source_with_signal({2: 2.0})
    source.labels[::4] = -1
    kept = np.flatnonzero(source.labels >= 0)
    without.x, without.labels = without.x[kept], without.labels[kept]
    without.hashkeys = [without.hashkeys[row] for row in kept]
    assert select_layers(source, count=1) == select_layers(without, count=1)


def test_layers_may_be_shown_in_another_order_in_each_row():
    source, turned = source_with_signal({1: 1.0, 5: 3.0}), source_with_signal({1: 1.0, 5: 3.0})
    turned._views = lambda row, epoch: np.random.default_rng(row).permutation(8)
    assert select_layers(turned, count=2) == select_layers(source, count=2)
    with pytest.raises(ConfigError, match="4 views of 8 layers, and not every layer once"):
        select_layers(MemorySource(num_views=4), count=2)


def test_activations_that_are_not_finite_are_named():
    source = source_with_signal({})
    source.x[7, 3] = float("inf")
    with pytest.raises(ContractError, match=r"NaN or infinity in samples \['key-0-7'\]"):
        select_layers(source, count=2)


def test_too_few_labels_and_a_count_below_one_are_refused():
    source = source_with_signal({})
    source.labels[:] = 0
    source.labels[0] = 1
    with pytest.raises(LabelError, match="1 rows labelled hallucinated and 119 labelled not"):
        select_layers(source, count=2)
    with pytest.raises(ConfigError, match="count=0"):
        select_layers(source, count=0)
    with pytest.raises(ConfigError, match="count=9 exceeds the 8 layers"):
        select_layers(source, count=9)
    with pytest.raises(LabelError, match="3 groups for 120 rows"):
        select_layers(source, count=2, groups=["a"] * 3)
