"""`ActivationDataset`: rows seen at K views."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.foreign_stores import Grid, foreign, masked
from kview.contracts import ConfigError, KViewBatch, KViewItem, LabelError, StoreError, checks
from kview.data import ActivationDataset, ActivationStore, Draw, collate_kview


@given(
    num_views=st.integers(2, 8),
    layers=st.permutations(range(6)),
    kept=st.integers(2, 6),
    pad_length=st.integers(1, 8),
    fixed=st.none() | st.integers(0, 1),
    replacement=st.booleans(),
    epoch=st.integers(0, 3),
    rows=st.lists(st.integers(0, 40), min_size=1, max_size=4),
)
def test_a_batch_holds_what_the_store_holds(
    synthetic_store: ActivationStore,
    num_views: int,
    layers: list[int],
    kept: int,
    pad_length: int,
    fixed: int | None,
    replacement: bool,
    epoch: int,
    rows: list[int],
) -> None:
    store, relevant = synthetic_store, layers[:kept]
    dataset = ActivationDataset(
        store,
        num_views=num_views if replacement else min(num_views, kept),
        relevant_layers=relevant,
        fixed_layer=fixed,
        pad_length=pad_length,
        view_sampling_with_replacement=replacement,
    )
    draws = [Draw(row, epoch) for row in rows]
    with checks("full"):
        batch = dataset.__getitems__(draws)
        items = [dataset[draw] for draw in draws]
        assert collate_kview(items).equals(batch)
    everything = store.read(np.arange(41), np.tile(np.arange(6), (41, 1)))
    x = masked(everything, store.token_counts.tolist(), pad_length)
    places = np.array(relevant)[batch.view_indices.numpy()]  # type: ignore[union-attr]
    expected = x[np.array(rows)[:, None], places]
    np.testing.assert_array_equal(batch.views_activations.numpy(), expected)
    assert batch.views_activations.dtype == torch.float16
    assert batch.hashkey == [store.hashkeys[row] for row in rows]
    assert batch.halu.tolist() == store.halu[rows].tolist()
    assert batch.input_length.tolist() == store.input_lengths[rows].tolist()
    assert batch.token_mask is not None
    tokens = np.minimum(store.token_counts[rows], pad_length).tolist()
    assert batch.token_mask.sum(1).tolist() == tokens
    assert not batch.views_activations.transpose(1, 2)[~batch.token_mask].any()
    if fixed is not None:
        assert (batch.view_indices[:, 0] == fixed).all()  # type: ignore[index]


def test_views_follow_the_epoch_and_nothing_else(synthetic_store: ActivationStore) -> None:
    dataset = ActivationDataset(synthetic_store, num_views=3)

    def views(*draws: Draw) -> list[list[int]]:
        found = dataset.__getitems__(list(draws)).view_indices
        assert found is not None
        return found.tolist()

    alone = [views(Draw(row, 5))[0] for row in range(20)]
    assert views(*(Draw(row, 5) for row in range(20))) == alone
    assert views(*(Draw(row, 6) for row in range(20))) != alone
    assert views(*(Draw(row, 5, 1) for row in range(20))) != alone
    some = dataset.select([7, 3])
    assert [some[Draw(i, 5)].view_indices.tolist() for i in (0, 1)] == [alone[7], alone[3]]


def test_an_index_means_epoch_zero(synthetic_store: ActivationStore) -> None:
    dataset = ActivationDataset(synthetic_store, num_views=3)
    assert dataset[np.int64(4)].equals(dataset[Draw(4)])
    assert dataset[-1].equals(dataset[40])
    assert len(list(iter(dataset))) == 41
    with pytest.raises(IndexError, match="row 41 of a dataset of 41"):
        dataset[41]


def test_an_item_can_carry_every_relevant_layer(synthetic_store: ActivationStore) -> None:
    dataset = ActivationDataset(
        synthetic_store, num_views=2, relevant_layers=[5, 1, 2], return_all_activations=True
    )
    item = dataset[3]
    assert isinstance(item, KViewItem)
    assert len(item.all_activations) == 3
    for view, layer in zip(item.views_activations, item.view_indices.tolist(), strict=True):
        assert torch.equal(view, item.all_activations[layer])


def test_fixed_views_are_the_same_for_all_rows_and_epochs(
    synthetic_store: ActivationStore,
) -> None:
    dataset = ActivationDataset(synthetic_store, num_views=4, relevant_layers=[1, 3, 5, 0, 2])
    seen = dataset.with_views([4, 0, 2])
    assert seen.num_views == 3
    assert seen.layer_ids == dataset.layer_ids
    for epoch in (0, 7):
        for batch in seen.batches(epoch=epoch, batch_size=16):
            assert batch.view_indices is not None
            assert batch.view_indices.unique(dim=0).tolist() == [[4, 0, 2]]
    expected = synthetic_store.read([9], [[2, 1, 5]])[0]
    np.testing.assert_array_equal(seen[9].views_activations.numpy(), expected)
    for wrong in ([1], [0, 5], [0, -1], [2, 2]):
        with pytest.raises(ConfigError, match="positions from 0 to 4"):
            dataset.with_views(wrong)
    repeated = ActivationDataset(
        synthetic_store, num_views=8, view_sampling_with_replacement=True
    ).with_views([0, 0, 1])
    assert repeated[0].views_repeat


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"num_views": 8},
            r"^num_views=8 exceeds the 6 layers available \(relevant_layers=0\.\.5\); lower "
            r"num_views or pass view_sampling_with_replacement=True$",
        ),
        ({"num_views": 3, "relevant_layers": [5, 2]}, "exceeds the 2 layers.*relevant_layers=5, 2"),
        ({"num_views": 1}, "^ViewSettings: num_views=1 should be greater than or equal to 2$"),
        ({"num_views": 2.0}, r"^ViewSettings: num_views=2\.0 should be a valid integer$"),
        ({"num_views": "2"}, "^ViewSettings: num_views='2' should be a valid integer$"),
        ({"random_seed": -1}, "^ViewSettings: random_seed=-1 should be greater than or equal"),
        ({"response_logprobs_top": 1}, "^response_logprobs_top is no setting; known are relevant"),
        ({"relevant_layers": [0, 6]}, r"relevant_layers=\[0, 6\] must be layers of the store"),
        ({"relevant_layers": [0, 0, 1]}, "each once"),
        ({"fixed_layer": 6}, "fixed_layer=6 must be a position"),
        ({"min_target_layers": 1}, "min_target_layers=1 is less than num_views=2"),
        ({"min_target_layers": 7}, "min_target_layers=7 is not in 1 to 6"),
        ({"pad_length": 0}, "pad_length=0"),
        ({"include_response_logprobs": True}, "has no log-probabilities"),
        ({"response_logprobs_top_k": 1}, "cannot take effect"),
        ({"labels": [1]}, "1 labels for 41 rows"),
        ({"rows": [3, 41]}, "^row 41 is out of range: there are 41$"),
        ({"rows": [-1]}, "row -1 is out of range"),
        ({"rows": [0.5]}, "^rows are float64; they must be whole numbers, 0 to 40$"),
    ],
)
def test_settings_that_do_not_fit_are_one_clear_sentence(
    synthetic_store: ActivationStore, settings: dict[str, Any], message: str
) -> None:
    asked: Any = {"num_views": 2, **settings}
    with pytest.raises(ConfigError, match=message):
        ActivationDataset(synthetic_store, **asked)


@pytest.mark.parametrize("wrong", [256, -2, 0.5, float("nan"), "1"])
def test_a_label_that_is_none_is_refused(synthetic_store: ActivationStore, wrong: Any) -> None:
    with pytest.raises(LabelError, match=r"^the label of row \d is .*; labels are 1, 0 or -1$"):
        ActivationDataset(synthetic_store, [4, 7], [1, wrong], num_views=2)
    sound: Any = [True, -1.0, 0]
    seen = ActivationDataset(synthetic_store, [4, 7, 9], sound, num_views=2)
    assert seen.labels.tolist() == [1, -1, 0]


def test_rows_that_are_not_there_cannot_be_asked_for(synthetic_store: ActivationStore) -> None:
    dataset = ActivationDataset(synthetic_store, num_views=3)
    for wrong in (41, -42):
        with pytest.raises(IndexError, match=f"row {wrong} of a dataset of 41"):
            dataset.__getitems__([0, wrong])
        with pytest.raises(IndexError, match=f"row {wrong} of a dataset of 41"):
            dataset.__getitems__([Draw(wrong)])
    with pytest.raises(ConfigError, match="row 41 is out of range"):
        dataset.select([41])
    with pytest.raises(ConfigError, match="rows are bool"):
        dataset.select(np.ones(41, bool))


def test_the_fingerprint_changes_with_what_it_stands_for(synthetic_store: ActivationStore) -> None:
    def of(**settings: Any) -> ActivationDataset:
        asked: Any = {"num_views": 2, **settings}
        return ActivationDataset(synthetic_store, **asked)

    variants = [
        of(),
        of(num_views=3),
        of(random_seed=1),
        of(relevant_layers=[0, 1]),
        of(rows=range(40)),
        of(labels=[1] * 41),
        of(fixed_layer=0),
        of(view_sampling_with_replacement=True),
        of(pad_length=2),
        of().with_views([0, 1]),
    ]
    found = [v.fingerprint for v in variants]
    assert len(set(found)) == len(found)
    assert of().fingerprint == found[0]


def test_a_dataset_can_be_sent_to_another_process(synthetic_store: ActivationStore) -> None:
    dataset = ActivationDataset(synthetic_store, num_views=3)
    assert pickle.loads(pickle.dumps(dataset))[3].equals(dataset[3])


@pytest.fixture
def patchy(tmp_path: Path) -> ActivationStore:
    """Rows 0 to 4 with 6 layers; row 1 lacks layers 0 to 2, row 3 lacks layer 5."""
    path = foreign(layers=6, grid=Grid(chunks=(1, 1, 4, 2))).write(tmp_path / "a.zarr")
    for name in ("1.0.0.0", "1.1.0.0", "1.2.0.0", "3.5.0.0"):
        (path / "arrays/response_activations" / name).unlink()
    return ActivationStore.open(path)


def test_views_are_drawn_from_the_available_layers(patchy: ActivationStore) -> None:
    dataset = ActivationDataset(patchy, num_views=3)
    for epoch in range(20):
        batch = dataset.__getitems__([Draw(row, epoch) for row in range(5)])
        assert batch.view_indices is not None
        assert sorted(batch.view_indices[1].tolist()) == [3, 4, 5]
        assert 5 not in batch.view_indices[3]
        assert batch.views_activations.all()


def test_too_few_layers_raise_with_the_counts(patchy: ActivationStore) -> None:
    dataset = ActivationDataset(patchy, num_views=4)
    with pytest.raises(StoreError, match=r"has 3 of the 6 relevant layers and 4 are needed"):
        dataset.__getitems__(list(range(5)))
    kept = dataset.select(dataset.available_rows())
    assert len(kept) == 4
    assert isinstance(kept.__getitems__(list(range(4))), KViewBatch)
    strict = ActivationDataset(patchy, num_views=2, min_target_layers=6)
    assert strict.available_rows().tolist() == [0, 2, 4]
    assert strict.available_rows(5).tolist() == [0, 2, 3, 4]
    with pytest.raises(StoreError, match="has 5 of the 6 relevant layers and 6 are needed"):
        strict[3]


def test_replacement_takes_what_there_is(patchy: ActivationStore) -> None:
    dataset = ActivationDataset(
        patchy, num_views=8, view_sampling_with_replacement=True, min_target_layers=2
    )
    assert set(dataset[1].view_indices.tolist()) <= {3, 4, 5}
    assert dataset[1].views_repeat


def test_a_fixed_layer_that_is_missing_is_named(patchy: ActivationStore) -> None:
    dataset = ActivationDataset(patchy, num_views=3, fixed_layer=1)
    assert dataset.available_rows().tolist() == [0, 2, 3, 4]
    with pytest.raises(StoreError, match=r"no activations of fixed_layer=1 \(layer 1\)"):
        dataset[1]
    seen = ActivationDataset(patchy, num_views=3).with_views([0, 5])
    assert seen[0].view_indices.tolist() == [0, 5]
    assert seen.available_rows().tolist() == [0, 2, 4]
    with pytest.raises(StoreError, match="no activations of layer 5"):
        seen[3]


@pytest.mark.parametrize("top_k", [None, 0, 1, 3])
def test_log_probabilities_come_along(tmp_path: Path, top_k: int | None) -> None:
    written = foreign(lengths=[1, 4, 2, 3, 4], top_k=3)
    store = ActivationStore.open(written.write(tmp_path / "a.zarr"))
    dataset = ActivationDataset(
        store, num_views=2, include_response_logprobs=True, response_logprobs_top_k=top_k
    )
    with checks("full"):
        batch = dataset.__getitems__([2, 0])
        assert collate_kview([dataset[2], dataset[0]]).equals(batch)
    found = batch.logprobs
    assert found is not None
    assert found.mask.sum(1).tolist() == [2, 1]
    assert (found.token_ids == -1).sum(1).tolist() == [2, 3]
    if top_k == 0:
        assert found.topk_logprobs is None
    else:
        assert found.topk_logprobs is not None
        assert found.topk_logprobs.shape == (2, 4, top_k or 3)
    with pytest.raises(ConfigError, match="exceeds the 3"):
        ActivationDataset(
            store, num_views=2, include_response_logprobs=True, response_logprobs_top_k=4
        )
