"""Made-up stores: the signal lies across layers, not in one, and not in lengths."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from kview.contracts import ConfigError
from kview.data import ActivationStore, verify_store, write_synthetic_store

SIZES: dict[str, Any] = {"num_layers": 8, "hidden_size": 16, "max_tokens": 6}


def means(store: ActivationStore) -> np.ndarray:
    """(N, L, H): the mean over each row's tokens."""
    N, L = len(store), store.num_layers
    x = store.read(np.arange(N), np.tile(np.arange(L), (N, 1))).astype("f4")
    return x.sum(2) / store.token_counts[:, None, None]


def auroc(x: np.ndarray, halu: np.ndarray) -> float:
    half = len(x) // 2
    probe = LogisticRegression(max_iter=1000).fit(x[:half], halu[:half])
    return float(roc_auc_score(halu[half:], probe.decision_function(x[half:])))


@pytest.mark.parametrize("affine", [False, True])
def test_layers_together_tell_what_one_cannot(tmp_path: Path, affine: bool) -> None:
    path = tmp_path / "a.zarr"
    write_synthetic_store(path, num_rows=1200, affine_layers=affine, **SIZES)
    store = ActivationStore.open(path)
    x, halu = means(store), store.halu
    single = [auroc(x[:, layer], halu) for layer in range(8)]
    assert max(single) < 0.86
    assert min(single) > 0.7
    assert auroc(x.reshape(len(x), -1), halu) > 0.95
    lengths = roc_auc_score(halu, store.response_lengths)
    assert 0.44 < lengths < 0.56


def test_affine_layers_do_not_share_a_direction(tmp_path: Path) -> None:
    found = {}
    for affine in (False, True):
        path = tmp_path / f"{affine}.zarr"
        write_synthetic_store(path, num_rows=800, affine_layers=affine, **SIZES)
        store = ActivationStore.open(path)
        x, halu = means(store), store.halu
        probe = LogisticRegression(max_iter=1000).fit(x[:, 0], halu)
        found[affine] = roc_auc_score(halu, probe.decision_function(x[:, 5]))
    assert found[False] > 0.75
    assert found[True] < 0.75


def test_it_can_look_like_a_causal_models(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write_synthetic_store(path, num_rows=400, signal_layers=[3, 4], outliers=2, **SIZES)
    store = ActivationStore.open(path)
    x, halu = means(store), store.halu
    single = [auroc(x[:, layer, :-2], halu) for layer in range(8)]
    assert min(single[3:5]) > 0.7
    assert max(single[:3] + single[5:]) < 0.65
    size = np.abs(x).mean((0, 1))  # of each dimension
    assert size[-2:].min() > 100 * size[:-2].max()
    assert auroc(x[:, 3, -2:], halu) < 0.6  # and they say nothing of the label


@pytest.mark.parametrize("wrong", [{"signal_layers": [8]}, {"outliers": 13}, {"outliers": -1}])
def test_layers_and_dimensions_that_are_not_there_are_refused(tmp_path: Path, wrong) -> None:
    with pytest.raises(ConfigError, match="must be among the 8 layers, and outliers="):
        write_synthetic_store(tmp_path / "a", num_rows=1, **SIZES, **wrong)


def test_it_is_a_sound_store_with_texts_and_groups(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write_synthetic_store(path, num_rows=31, seed=2, unlabelled_share=0.3, shard_rows=10, **SIZES)
    assert verify_store(path) == []
    store = ActivationStore.open(path)
    assert len(store) == 31
    assert set(store.halu.tolist()) == {-1, 0, 1}
    assert store.groups is not None
    assert store.groups[:3] == ["town 0", "town 0", "town 1"]
    assert set(store.texts()) == set(store.hashkeys)
    assert (store.response_lengths > store.token_counts).any()


def test_one_seed_makes_one_store(tmp_path: Path) -> None:
    prints = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_synthetic_store(tmp_path / name, num_rows=9, seed=seed, **SIZES)
        store = ActivationStore.open(tmp_path / name)
        prints.append((store.read([3], [[2]]).tobytes(), store.fingerprint))
    assert prints[0] == prints[1]
    assert prints[0][0] != prints[2][0]


def test_sizes_that_are_too_small_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="hidden_size at least 4"):
        write_synthetic_store(tmp_path / "a", num_rows=1, **{**SIZES, "hidden_size": 3})
