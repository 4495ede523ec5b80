"""Several stores as one, and the edges of reading."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from helpers.foreign_stores import foreign, masked
from kview.contracts import ConfigError, StoreError
from kview.data import (
    ActivationDataset,
    ActivationStore,
    ActivationWriter,
    write_synthetic_store,
)


def test_several_stores_are_read_as_one(tmp_path: Path) -> None:
    one, two = foreign(lengths=[1, 0, 4, 3, 2]), foreign(rows=3, seed=1)
    two.index = [{**e, "key": f"other {i}"} for i, e in enumerate(two.entries())]
    paths = [one.write(tmp_path / "a.zarr"), two.write(tmp_path / "b.zarr")]
    store = ActivationStore.open(paths)
    assert len(store) == 7
    assert store.hashkeys[3:5] == [one.keys[4], "other 0"]
    expected = np.concatenate(
        [masked(one.activations, one.lengths, 4)[[0, 2, 3, 4]], two.activations]
    )
    rows, layers = np.array([6, 0, 4, 3, 5, 0]), np.array([[0, 2]] * 6)
    np.testing.assert_array_equal(store.read(rows, layers), expected[rows[:, None], layers])
    assert store.stored(rows, layers).all()


def test_stores_of_different_lengths_are_padded_to_the_longest(tmp_path: Path) -> None:
    one, two = foreign(tokens=2), foreign(tokens=5, rows=1, seed=1)
    two.index = [{**two.entries()[0], "key": "other"}]
    store = ActivationStore.open([one.write(tmp_path / "a.zarr"), two.write(tmp_path / "b.zarr")])
    assert store.max_tokens == 5
    found = store.read([0, 5], [[0, 1], [0, 1]])
    assert found[0, :, :2].all()
    assert not found[0, :, 2:].any()
    assert found[1].all()


def test_stores_that_do_not_fit_are_named(tmp_path: Path) -> None:
    paths = [
        foreign().write(tmp_path / "a.zarr"),
        foreign(layers=2).write(tmp_path / "b.zarr"),
    ]
    with pytest.raises(StoreError, match=r"b\.zarr cannot be read as one with .*a\.zarr: layers"):
        ActivationStore.open(paths)


def test_one_key_in_two_stores_is_named(tmp_path: Path) -> None:
    paths = [foreign().write(tmp_path / "a.zarr"), foreign(seed=1).write(tmp_path / "b.zarr")]
    store = ActivationStore.open(paths)
    with pytest.raises(StoreError, match=r"stands at rows 0 and 5"):
        _ = store.hashkeys


def test_log_probabilities_of_several_stores_are_read_as_one(tmp_path: Path) -> None:
    one = foreign(lengths=[1, 4, 2, 3, 4], top_k=3)
    two = foreign(rows=3, tokens=5, lengths=[5, 2, 3], seed=1, top_k=2)
    two.index = [{**e, "key": f"other {i}"} for i, e in enumerate(two.entries())]
    paths = [one.write(tmp_path / "a.zarr"), two.write(tmp_path / "b.zarr")]
    alone = [ActivationStore.open(path).logprobs([1, 0]) for path in paths]
    found = ActivationStore.open(paths).logprobs([6, 1, 0, 5])
    assert found.token_ids.shape == (4, 5)
    assert found.topk_token_ids is not None
    assert found.topk_token_ids.shape == (4, 5, 2)
    assert (found.token_ids[[1, 2], 4] == -1).all()
    for block, mine in zip(alone, ([1, 2], [0, 3]), strict=True):
        tokens = block.token_ids.shape[1]
        np.testing.assert_array_equal(found.token_ids[mine, :tokens], block.token_ids)
        np.testing.assert_array_equal(found.token_logprobs[mine, :tokens], block.token_logprobs)
        assert block.topk_token_ids is not None
        np.testing.assert_array_equal(
            found.topk_token_ids[mine, :tokens], block.topk_token_ids[..., :2]
        )
    with pytest.raises(ConfigError, match="row 8 is out of range"):
        ActivationStore.open(paths).logprobs([8])


def test_big_endian_log_probabilities_are_read(tmp_path: Path) -> None:
    path = foreign(top_k=1).write(tmp_path / "a.zarr")
    store = ActivationStore.open(path)
    expected = store.logprobs([3, 0]).token_logprobs
    values = np.asarray(zarr.open_array(path / "arrays/response_token_logprobs"))
    arrays = zarr.open_group(path / "arrays")
    arrays.create_array(
        "response_token_logprobs", data=values.astype(">f4"), overwrite=True, compressors=None
    )
    dataset = ActivationDataset(
        ActivationStore.open(path), num_views=2, include_response_logprobs=True
    )
    found = dataset.__getitems__([3, 0]).logprobs
    assert found is not None
    np.testing.assert_array_equal(found.token_logprobs.numpy(), expected)


def test_no_path_is_an_error() -> None:
    with pytest.raises(ConfigError, match="empty"):
        ActivationStore.open([])


def test_reading_out_of_range_is_an_error(tmp_path: Path) -> None:
    store = ActivationStore.open(foreign().write(tmp_path / "a.zarr"))
    with pytest.raises(ConfigError, match="row 5 is out of range"):
        store.read([0, 5], [[0], [0]])
    with pytest.raises(ConfigError, match="layer -1 is out of range"):
        store.read([0], [[0, -1]])
    with pytest.raises(ConfigError, match=r"must be \(B,\) and \(B, K\)"):
        store.read([0, 1], [[0]])
    for out in (np.empty((1, 1, 4, 3), "f2"), np.empty((1, 1, 4, 2)), np.empty((2, 1, 4, 2), "f2")):
        with pytest.raises(ConfigError, match="out is"):
            store.read([0], [[0]], out)


def test_the_fingerprint_knows_rows_and_labels(tmp_path: Path) -> None:
    def fingerprint(name: str, halu: int, key: str = "a") -> str:
        with ActivationWriter.create(
            tmp_path / name, layers=[1, 2], hidden_size=2, max_tokens=2, model="m", durable=False
        ) as writer:
            writer.append(
                np.ones((2, 2, 2), "f4"), token_count=2, input_length=1, hashkey=key, halu=halu
            )
        return ActivationStore.open(tmp_path / name).fingerprint

    first = fingerprint("a", 0)
    assert first == fingerprint("b", 0)
    assert first != fingerprint("c", 1)
    assert first != fingerprint("d", 0, "b")


def test_opening_reads_no_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write_synthetic_store(path, num_rows=9, num_layers=2, hidden_size=4, max_tokens=2)
    for file in (path / "hashkey").glob("c.*"):
        file.unlink()
    store = ActivationStore.open(path)
    assert len(store) == 9
    with pytest.raises(StoreError, match=r"hashkey/c\.0 is missing"):
        _ = store.hashkeys
