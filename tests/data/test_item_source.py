"""Any dataset of items is a source."""

import dataclasses

import numpy as np
import pytest
import torch

from kview.contracts import ConfigError, KViewItem, KViewSource
from kview.data import ActivationDataset, ActivationStore, source_of


@pytest.fixture(scope="module")
def items(synthetic_store: ActivationStore) -> list[KViewItem]:
    dataset = ActivationDataset(synthetic_store, num_views=3)
    return [dataset[i] for i in range(11)]


def test_a_list_of_items_is_a_source(items: list[KViewItem]) -> None:
    source: KViewSource = source_of(items, num_views=3)
    assert len(source) == 11
    assert source.num_views == 3
    assert source.layer_ids == tuple(range(6))
    assert list(source.hashkeys) == [i.hashkey for i in items]
    assert source.labels.tolist() == [int(i.halu) for i in items]
    assert source.labels.dtype == np.int8
    assert source.response_lengths.tolist() == [
        int(i.token_mask.sum()) for i in items if i.token_mask is not None
    ]
    batches = list(source.batches(epoch=0, batch_size=4, num_workers=1))
    assert [len(b) for b in batches] == [4, 4, 3]
    seen = [i for b in batches for i in b.unbatch()]
    by_key = {i.hashkey: i for i in items}
    assert all(i.equals(by_key[i.hashkey].replace(halu=i.halu)) for i in seen)
    assert {i.hashkey for i in seen} == set(by_key)


def test_ranks_share_its_batches(items: list[KViewItem]) -> None:
    source = source_of(items, num_views=3)
    whole = next(source.batches(epoch=1, batch_size=8))
    parts = [next(source.batches(epoch=1, batch_size=8, rank=r, world_size=3)) for r in range(3)]
    assert sorted(k for p in parts for k in p.hashkey) == sorted(whole.hashkey)


def test_a_mask_that_is_absent_counts_all_tokens(items: list[KViewItem]) -> None:
    bare = [dataclasses.replace(i, token_mask=None) for i in items]
    assert source_of(bare, num_views=3).response_lengths.tolist() == [5] * 11


def test_the_fingerprint_changes_with_the_items(items: list[KViewItem]) -> None:
    first = source_of(items, num_views=3).fingerprint
    assert source_of(items, num_views=3).fingerprint == first
    assert source_of(items[1:], num_views=3).fingerprint != first
    assert source_of(items, num_views=3, seed=1).fingerprint != first
    flipped = [i.replace(halu=torch.tensor(0)) for i in items]
    assert source_of(flipped, num_views=3).fingerprint != first


def test_items_that_do_not_fit_are_named(items: list[KViewItem]) -> None:
    with pytest.raises(ConfigError, match="item 0 has 3 views"):
        source_of(items, num_views=4)
    with pytest.raises(ConfigError, match="seed=-1 is negative"):
        source_of(items, num_views=3, seed=-1)
    with pytest.raises(ConfigError, match="view_indices reach 5 and layer_ids has 3"):
        source_of(items, num_views=3, layer_ids=[4, 5, 6])
    repeated = items[0].replace(views_repeat=True)
    with pytest.raises(ConfigError, match="views_repeat=True; the source"):
        source_of([repeated], num_views=3)
    assert source_of([repeated], num_views=3, views_repeat=True).views_repeat
