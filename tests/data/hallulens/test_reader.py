"""HalluLens stores as they are."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from helpers.foreign_stores import Grid, foreign, masked
from kview.contracts import StoreError
from kview.data import ActivationStore

V2, V3 = Grid(chunks=(1, 1, 4, 2)), Grid(chunks=(1, 1, 4, 2), zarr_format=3)


def everything(store: ActivationStore) -> np.ndarray:
    rows = np.arange(len(store))
    return store.read(rows, np.tile(np.arange(store.num_layers), (len(store), 1)))


@pytest.mark.parametrize("grid", [V2, V3], ids=["v2", "v3"])
def test_a_store_says_what_it_holds(tmp_path: Path, grid: Grid) -> None:
    written = foreign(grid=grid, lengths=[1, 4, 2, 3, 4], allocated=9)
    with ActivationStore.open(written.write(tmp_path / "a.zarr")) as store:
        assert (len(store), store.num_layers, store.max_tokens, store.hidden_size) == (5, 3, 4, 2)
        assert store.layer_ids == (0, 1, 2)
        assert store.dtype == np.float16
        assert store.model == "tiny"
        assert store.hashkeys == written.keys
        assert store.token_counts.tolist() == [1, 4, 2, 3, 4]
        assert store.input_lengths.tolist() == [5, 6, 7, 8, 9]
        assert store.halu.tolist() == [-1] * 5
        assert store.groups is None
        assert store.texts()[written.keys[2]].response == "response 2"
        assert store.parts[0].allocated == 9
        np.testing.assert_array_equal(
            everything(store), masked(written.activations, written.lengths, 4)
        )


@pytest.mark.parametrize(
    "chunks", [(1, 1, 2, 2), (1, 1, 3, 2), (1, 1, 9, 2), (32, 1, 4, 2), (2, 3, 4, 2)], ids=str
)
def test_chunks_of_any_size(tmp_path: Path, chunks: tuple[int, ...]) -> None:
    written = foreign(grid=Grid(chunks=chunks), lengths=[1, 4, 2, 3, 4])
    store = ActivationStore.open(written.write(tmp_path / "a.zarr"))
    np.testing.assert_array_equal(
        everything(store), masked(written.activations, written.lengths, 4)
    )


def test_a_folder_that_holds_the_store_will_do(tmp_path: Path) -> None:
    foreign().write(tmp_path / "activations.zarr")
    assert len(ActivationStore.open(tmp_path)) == 5


def test_the_last_line_of_a_key_wins(tmp_path: Path) -> None:
    written = foreign(rows=3)
    written.index = [*written.entries()[:2], {**written.entries()[0], "sample_index": 2}]
    store = ActivationStore.open(written.write(tmp_path / "a.zarr"))
    assert store.hashkeys == [written.keys[1], written.keys[0]]
    np.testing.assert_array_equal(everything(store), written.activations[[1, 2]])


def test_entries_of_text_only_have_no_row(tmp_path: Path) -> None:
    written = foreign(rows=2)
    text = {"key": "words", "sample_index": None, "prompt": "p", "response": "r"}
    written.index = [text, *written.entries()]
    store = ActivationStore.open(written.write(tmp_path / "a.zarr"))
    assert store.hashkeys == written.keys
    assert store.texts()["words"].prompt == "p"


def test_an_empty_index_falls_back_to_sample_keys(tmp_path: Path) -> None:
    written = foreign(rows=3, allocated=8, index=[], lengths=[2, 4, 1])
    store = ActivationStore.open(written.write(tmp_path / "a.zarr"))
    assert store.hashkeys == written.keys
    assert store.token_counts.tolist() == [2, 4, 1]


def test_a_missing_index_falls_back_to_sample_keys(tmp_path: Path) -> None:
    written = foreign(rows=3, allocated=8)
    path = written.write(tmp_path / "a.zarr")
    (path / "meta/index.jsonl").unlink()
    assert ActivationStore.open(path).hashkeys == written.keys


def test_rows_without_a_response_are_dropped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = foreign(lengths=[1, 0, 2, 0, 3])
    with caplog.at_level(logging.WARNING, "kview.data"):
        store = ActivationStore.open(written.write(tmp_path / "a.zarr"))
    assert store.token_counts.tolist() == [1, 2, 3]
    assert store.parts[0].dropped == 2
    assert "dropped 2 rows without a response token" in caplog.text
    np.testing.assert_array_equal(
        everything(store), masked(written.activations, written.lengths, 4)[[0, 2, 4]]
    )


def test_responses_longer_than_the_store_keep_their_length(tmp_path: Path) -> None:
    written = foreign(lengths=[9, 4, 2, 30, 1])
    store = ActivationStore.open(written.write(tmp_path / "a.zarr"))
    assert store.token_counts.tolist() == [4, 4, 2, 4, 1]
    assert store.response_lengths.tolist() == [9, 4, 2, 30, 1]


def test_a_layer_that_was_not_logged_is_unavailable(tmp_path: Path) -> None:
    written = foreign(grid=Grid(chunks=(1, 1, 2, 2)), lengths=[1, 4, 2, 3, 4])
    path = written.write(tmp_path / "a.zarr")
    (path / "arrays/response_activations/1.2.1.0").unlink()  # row 1, layer 2, tokens 2 and 3
    (path / "arrays/response_activations/2.0.1.0").unlink()  # behind the tokens of row 2
    store = ActivationStore.open(path)
    assert store.available_layers(1) == (0, 1)
    assert store.available_layers(2) == (0, 1, 2)
    assert store.read([2], [[0]]).shape == (1, 1, 4, 2)
    assert store.read([1], [[2]], max_tokens=2).all()
    with pytest.raises(StoreError, match=r"response_activations, row 1, layer 2: chunk is missing"):
        store.read([1], [[2]])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 6 is malformed"),
        ("[]", "line 6 is malformed"),
        ('{"sample_index": 1}', "line 6 is malformed.*KeyError"),
        ('{"key": "a", "sample_index": "1"}', "line 6 is malformed.*sample_index is '1'"),
        ('{"key": "a", "sample_index": 77}', "line 6: sample_index 77 is not a row"),
        ('{"key": "a", "sample_index": 0}', "lines 1 and 6.*one sample_index, 0"),
    ],
)
def test_a_bad_index_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = foreign().write(tmp_path / "a.zarr")
    with (path / "meta/index.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(StoreError, match=message):
        ActivationStore.open(path)


def test_lengths_that_disagree_are_named(tmp_path: Path) -> None:
    written = foreign()
    written.index = written.entries()
    written.index[3]["response_len"] = 2
    with pytest.raises(StoreError, match=r"line 4: response_len is 2.*row 3 is 4"):
        ActivationStore.open(written.write(tmp_path / "a.zarr"))


def test_attributes_that_disagree_with_the_array_are_named(tmp_path: Path) -> None:
    written = foreign(attributes={"num_layers": 9})
    with pytest.raises(StoreError, match="num_layers is 9"):
        ActivationStore.open(written.write(tmp_path / "a.zarr"))


def test_a_shorter_array_is_named(tmp_path: Path) -> None:
    path = foreign().write(tmp_path / "a.zarr")
    meta = path / "arrays/response_len/.zarray"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "shape": [3]}))
    with pytest.raises(StoreError, match="response_len has 3 rows and the store holds 5"):
        ActivationStore.open(path)


@pytest.mark.parametrize(
    ("attributes", "schema"), [({"schema_version": "zarr-v9"}, "zarr-v9"), ({}, "None")]
)
def test_an_unknown_schema_is_named(
    tmp_path: Path, attributes: dict[str, Any], schema: str
) -> None:
    zarr.create_group(tmp_path / "a.zarr", attributes=attributes)
    with pytest.raises(StoreError, match=f"schema .?{schema}.? is unknown"):
        ActivationStore.open(tmp_path / "a.zarr")


def test_no_store_at_all_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no Zarr group"):
        ActivationStore.open(tmp_path / "nothing")


def test_log_probabilities_are_padded_as_stored(tmp_path: Path) -> None:
    written = foreign(lengths=[1, 4, 2, 0, 3], top_k=2)
    store = ActivationStore.open(written.write(tmp_path / "a.zarr"))
    block = store.logprobs([3, 0])
    assert store.logprobs_top_k == 2
    assert (block.token_ids == -1).sum(1).tolist() == [1, 3]
    assert np.isnan(block.token_logprobs).sum(1).tolist() == [1, 3]
    assert block.topk_logprobs is not None
    assert block.topk_logprobs.shape == (2, 4, 2)
    plain = ActivationStore.open(foreign().write(tmp_path / "b.zarr"))
    assert plain.logprobs_top_k is None
    with pytest.raises(StoreError, match="has no log-probabilities"):
        plain.logprobs([0])
