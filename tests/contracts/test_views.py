"""Items, batches and flattened views: valid ones are accepted, and nothing is lost on the way."""

import copy
import dataclasses
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kview.contracts import (
    ContractError,
    EmbeddingBatch,
    FlatViews,
    KViewBatch,
    KViewItem,
    checks,
    restore_views,
)
from kview.contracts.strategies import embedding_batches, kview_batches, kview_items


@given(kview_batches())
def test_valid_batches_are_accepted_at_every_level(batch: KViewBatch) -> None:
    for level in ("off", "shape", "full"):
        with checks(level):
            assert KViewBatch(**dict(batch)).equals(batch)


@given(kview_items())
def test_valid_items_are_accepted_at_every_level(item: KViewItem) -> None:
    for level in ("off", "shape", "full"):
        with checks(level):
            assert KViewItem(**dict(item)).equals(item)


@given(embedding_batches())
def test_valid_embeddings_are_accepted_at_every_level(batch: EmbeddingBatch) -> None:
    for level in ("off", "shape", "full"):
        with checks(level):
            assert EmbeddingBatch(**dict(batch)).equals(batch)


@given(kview_batches())
def test_flatten_then_restore_gives_the_batch_back(batch: KViewBatch) -> None:
    flat = batch.flatten()
    B, K, T, H = batch.views_activations.shape
    assert flat.x.shape == (B * K, T, H)
    assert flat.x.data_ptr() == batch.views_activations.data_ptr()
    restored = restore_views(flat.x.flatten(1), batch.num_views).unflatten(2, (T, H))
    assert torch.equal(restored, batch.views_activations)
    if batch.view_indices is not None:
        assert flat.layer_idx is not None
        assert torch.equal(flat.layer_idx.reshape(B, K), batch.view_indices)
    else:
        assert flat.layer_idx is None


@given(kview_batches())
def test_flatten_goes_sample_by_sample(batch: KViewBatch) -> None:
    flat, K = batch.flatten(), batch.num_views
    for b in range(len(batch)):
        for k in range(K):
            assert torch.equal(flat.x[b * K + k], batch.views_activations[b, k])
            if batch.token_mask is not None:
                assert flat.token_mask is not None
                assert torch.equal(flat.token_mask[b * K + k], batch.token_mask[b])


@given(kview_batches())
def test_flattened_views_keep_their_own_contract(batch: KViewBatch) -> None:
    flat = batch.flatten()
    assert FlatViews(**dict(flat)).equals(flat)


@given(B=st.integers(0, 6), K=st.integers(2, 8), D=st.integers(1, 9))
def test_restore_views_undoes_a_reshape_for_any_size(B: int, K: int, D: int) -> None:
    z = torch.randn(B * K, D)
    restored = restore_views(z, K)
    assert restored.shape == (B, K, D)
    assert torch.equal(restored.reshape(B * K, D), z)


@given(kview_batches(view_indices=True))
def test_unbatch_gives_each_sample(batch: KViewBatch) -> None:
    items = batch.unbatch()
    assert [item.hashkey for item in items] == batch.hashkey
    stacked = batch.replace(
        halu=torch.stack([item.halu for item in items]),
        views_activations=torch.stack([item.views_activations for item in items]),
        view_indices=torch.stack([item.view_indices for item in items]),
        input_length=torch.tensor([item.input_length for item in items]),
    )
    assert stacked.equals(batch)
    assert all(item.views_repeat == batch.views_repeat for item in items)


def test_unbatch_needs_view_indices(batch: KViewBatch) -> None:
    with pytest.raises(ContractError, match=r"KViewItem: view_indices: missing") as error:
        batch.replace(view_indices=None).unbatch()
    assert error.value.violations[0].fields == ("view_indices",)


@given(kview_batches())
def test_a_batch_survives_pickle_and_copy(batch: KViewBatch) -> None:
    assert pickle.loads(pickle.dumps(batch)).equals(batch)
    assert copy.deepcopy(batch).equals(batch)
    assert dataclasses.replace(batch).equals(batch)


@given(kview_batches())
def test_names_read_the_fields(batch: KViewBatch) -> None:
    assert dict(batch)["halu"] is batch.halu
    assert batch["views_activations"] is batch.views_activations
    assert KViewBatch.from_dict(dict(batch)).equals(batch)
    assert len(batch) == batch.views_activations.shape[0]


def test_an_unknown_name_is_answered_with_the_known_ones(batch: KViewBatch) -> None:
    with pytest.raises(KeyError, match=r"'activations': KViewBatch has hashkey, halu"):
        batch["activations"]


def test_a_batch_cannot_be_changed(batch: KViewBatch) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        batch.halu = torch.zeros(3)  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises((AttributeError, TypeError)):
        batch.extra = 1  # pyright: ignore[reportAttributeAccessIssue]


def test_the_seeds_five_fields_are_a_batch() -> None:
    batch = KViewBatch(
        hashkey=["a", "a"],
        halu=torch.tensor([1.0, 1.0]),
        views_activations=torch.zeros(2, 2, 1, 1),
        view_indices=torch.tensor([[0, 1], [1, 0]]),
        input_length=torch.tensor([0, 9]),
    )
    assert batch.num_views == 2
    assert batch.token_mask is None
    assert batch.logprobs is None


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32, torch.bfloat16])
def test_an_items_label_may_be_float_bool_or_int(item: KViewItem, dtype: torch.dtype) -> None:
    assert item.replace(halu=torch.tensor(1).to(dtype)).halu.dtype == dtype


def test_equals_sees_every_difference(batch: KViewBatch) -> None:
    assert batch.equals(batch.replace())
    assert not batch.equals(batch.unbatch()[0])
    assert not batch.equals(batch.replace(hashkey=["x", "y", "z"]))
    assert not batch.equals(batch.replace(halu=batch.halu.double()))
    assert not batch.equals(batch.replace(token_mask=None))
    assert not batch.equals(batch.replace(logprobs=None))
    spoilt = batch.views_activations.clone()
    spoilt[0, 0, 0, 0] += 1
    assert not batch.equals(batch.replace(views_activations=spoilt))


def test_equals_takes_nan_for_equal_to_nan(batch: KViewBatch) -> None:
    spoilt = batch.views_activations.clone()
    spoilt[0, 0, 0, 0] = torch.nan
    with_nan = batch.replace(views_activations=spoilt)
    assert with_nan.equals(with_nan.replace(views_activations=spoilt.clone()))
    assert not with_nan.equals(batch)


def test_equality_and_hash_are_by_identity(batch: KViewBatch) -> None:
    assert batch == batch
    assert batch != batch.replace()
    assert len({batch, batch.replace()}) == 2


def test_repr_shows_shapes_dtypes_and_devices_never_values(batch: KViewBatch) -> None:
    assert repr(batch.replace(logprobs=None)) == (
        "KViewBatch(hashkey=list of 3 str, halu=float32 (3,), "
        "views_activations=float32 (3, 4, 5, 6), view_indices=int64 (3, 4), "
        "input_length=int64 (3,), token_mask=bool (3, 5), logprobs=None, views_repeat=False)"
    )
    assert "float32 (3, 4, 5, 6) on meta" in repr(batch.to("meta"))


def test_to_moves_every_tensor_and_leaves_the_rest(batch: KViewBatch) -> None:
    moved = batch.to("meta", non_blocking=True)
    assert moved.hashkey == batch.hashkey
    assert moved.halu.is_meta
    assert moved.views_activations.is_meta
    assert moved.token_mask is not None
    assert moved.token_mask.is_meta
    assert moved.logprobs is not None
    assert moved.logprobs.token_ids.is_meta
    assert not batch.halu.is_meta


def test_to_refuses_a_dtype_which_would_cast_indices_too(batch: KViewBatch) -> None:
    with pytest.raises((TypeError, RuntimeError)):
        batch.to(torch.float16)  # pyright: ignore[reportArgumentType]


def test_replace_checks_the_result(batch: KViewBatch) -> None:
    with pytest.raises(ContractError, match="axis B: expected one size, got 3 in"):
        batch.replace(halu=torch.zeros(4))
    with pytest.raises(ContractError, match=r"halus: unknown key.*did you mean halu\?"):
        batch.replace(halus=torch.zeros(3))


def test_a_batch_gives_a_sample_by_its_place(batch: KViewBatch) -> None:
    items = batch.unbatch()
    assert [batch[b].equals(items[b]) for b in (0, 1, -1)] == [True] * 3
    with pytest.raises(IndexError):
        batch[3]
    with pytest.raises(ContractError, match="view_indices: missing"):
        batch.replace(view_indices=None)[0]
