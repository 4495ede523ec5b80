"""Conversion copies everything, goes on where it stopped, and is checked."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from helpers.foreign_stores import Grid, foreign
from kview.contracts import StoreError
from kview.data import (
    ActivationStore,
    ActivationWriter,
    convert_store,
    prompt_key,
    verify_store,
    write_synthetic_store,
)
from kview.data import convert as module


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with a HalluLens store of five rows and its label files."""
    written = foreign(lengths=[1, 4, 2, 9, 3], allocated=7)
    written.index = [
        {**entry, "key": prompt_key(f"prompt {row}")} for row, entry in enumerate(written.entries())
    ]
    written.write(tmp_path / "src" / "activations.zarr")
    lines = [json.dumps({"prompt": f"prompt {i}", "question": f"q{i // 2}"}) for i in range(5)]
    (tmp_path / "src/generation.jsonl").write_text("\n".join(lines))
    verdicts = {"halu_test_res": [1, 0, 1, 0, 0], "abstantion": [False, False, False, False, True]}
    (tmp_path / "src/eval_results.json").write_text(json.dumps(verdicts))
    return tmp_path / "src"


def test_everything_is_copied(source: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    done = convert_store(
        source, tmp_path / "dst", lambda *at: told.append(at), group_by="question", shard_rows=2
    )
    assert (done.rows, done.resumed, done.layers, done.labelled) == (5, 0, (0, 1, 2), 4)
    assert told == [(i, 10) for i in range(1, 11)]
    assert verify_store(tmp_path / "dst") == []
    old, new = ActivationStore.open(source), ActivationStore.open(tmp_path / "dst")
    rows, layers = np.arange(5), np.tile(np.arange(3), (5, 1))
    np.testing.assert_array_equal(new.read(rows, layers), old.read(rows, layers))
    assert new.hashkeys == old.hashkeys
    assert new.halu.tolist() == [1, 0, 1, 0, -1]
    assert new.groups == ["q0", "q0", "q1", "q1", new.hashkeys[4]]
    assert new.response_lengths.tolist() == [1, 4, 2, 9, 3]
    assert new.input_lengths.tolist() == old.input_lengths.tolist()
    assert new.texts() == old.texts()
    assert new.model == "tiny"


def test_a_native_store_keeps_labels_and_groups(tmp_path: Path) -> None:
    write_synthetic_store(
        tmp_path / "a", num_rows=9, num_layers=3, hidden_size=4, max_tokens=2, shard_rows=2
    )
    convert_store(tmp_path / "a", tmp_path / "b", shard_rows=5)
    old, new = (ActivationStore.open(tmp_path / name) for name in "ab")
    assert new.fingerprint == old.fingerprint
    assert new.groups == old.groups


@pytest.mark.parametrize("stop", [0, 1, 2, 3, 5])
def test_it_goes_on_where_it_stopped(
    source: Path, tmp_path: Path, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert_store(source, tmp_path / "whole", shard_rows=2)

    class StoppedError(Exception):
        pass

    def stop_there(done: int, total: int) -> None:
        if done == stop:
            raise StoppedError

    if stop:
        with pytest.raises(StoppedError):
            convert_store(source, tmp_path / "dst", stop_there, shard_rows=2)
    assert convert_store(source, tmp_path / "dst", shard_rows=2).resumed == stop
    files = {
        name: {
            str(p.relative_to(tmp_path / name)): p.read_bytes()
            for p in (tmp_path / name).rglob("*")
            if p.is_file()
        }
        for name in ("whole", "dst")
    }
    assert files["dst"] == files["whole"]


THERE: dict[str, Any] = {"layers": [0, 1, 2], "hidden_size": 2, "max_tokens": 4, "model": "tiny"}
"""How `source` becomes a store."""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "other"}, "was begun with model='other', not 'tiny'"),
        ({"layers": [0, 1, 3]}, r"layers=\(0, 1, 3\), not \(0, 1, 2\)"),
        ({"hidden_size": 3}, "hidden_size=3, not 2"),
        ({"max_tokens": 5}, "max_tokens=5, not 4"),
        ({"dtype": "float32"}, "dtype='float32', not 'float16'"),
    ],
)
def test_a_store_of_another_kind_is_not_gone_on_with(
    source: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    ActivationWriter.create(tmp_path / "dst", **{**THERE, **change}).close()
    for _ in range(2):
        with pytest.raises(StoreError, match=message):
            convert_store(source, tmp_path / "dst")
    assert len(ActivationStore.open(tmp_path / "dst")) == 0


def test_other_rows_are_not_gone_on_with(source: Path, tmp_path: Path) -> None:
    with ActivationWriter.create(tmp_path / "dst", **THERE) as writer:
        writer.append(np.ones((3, 1, 2), "f2"), token_count=1, input_length=0, hashkey="mine")
    with pytest.raises(StoreError, match=r"holds rows that .* does not begin with"):
        convert_store(source, tmp_path / "dst")


def test_rows_that_were_converted_with_other_groups_are_noticed(
    source: Path, tmp_path: Path
) -> None:
    convert_store(source, tmp_path / "dst", group_by="question")
    with pytest.raises(StoreError, match="its groups are not those of"):
        convert_store(source, tmp_path / "dst")


def test_a_copy_that_differs_is_noticed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert_store(source, tmp_path / "dst")
    other = foreign(lengths=[1, 4, 2, 9, 3], seed=8)
    other.index = [
        {**entry, "key": prompt_key(f"prompt {row}")} for row, entry in enumerate(other.entries())
    ]
    monkeypatch.setattr(module, "_append", None)
    other.write(tmp_path / "other" / "activations.zarr")
    for name in ("generation.jsonl", "eval_results.json"):
        (tmp_path / "other" / name).write_bytes((source / name).read_bytes())
    with pytest.raises(StoreError, match="row 0 is not that of"):
        convert_store(tmp_path / "other", tmp_path / "dst")


def test_layers_that_no_row_has_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = foreign(grid=Grid(chunks=(1, 1, 4, 2))).write(tmp_path / "a.zarr")
    for row in range(5):
        (path / f"arrays/response_activations/{row}.1.0.0").unlink()
    with caplog.at_level(logging.WARNING, "kview.data"):
        done = convert_store(path, tmp_path / "dst")
    assert done.layers == (0, 2)
    assert "layers [1] are left out" in caplog.text
    assert ActivationStore.open(tmp_path / "dst").layer_ids == (0, 2)
    (path / "arrays/response_activations/3.2.0.0").unlink()
    with pytest.raises(StoreError, match="row 3 has no activations of layer 2, which 4 rows have"):
        convert_store(path, tmp_path / "other")


@pytest.mark.parametrize("top_k", [0, 2])
def test_log_probabilities_are_copied_bit_by_bit(tmp_path: Path, top_k: int) -> None:
    lengths = [4, 1, 3, 4, 2, 4, 4, 1, 2]
    path = foreign(rows=9, lengths=lengths, top_k=max(top_k, 1)).write(tmp_path / "a")
    if not top_k:
        for name in ("response_topk_token_ids", "response_topk_logprobs"):
            shutil.rmtree(path / "arrays" / name)
    convert_store(path, tmp_path / "b")
    assert verify_store(tmp_path / "b") == []
    source: Any = zarr.open(path)
    copy: Any = zarr.open(tmp_path / "b")
    for name in ("response_token_ids", "response_token_logprobs"):
        np.testing.assert_array_equal(copy[name][:], source[f"arrays/{name}"][:])
    for name in ("response_topk_token_ids", "response_topk_logprobs"):
        assert (name in copy) == bool(top_k)
        if top_k:
            np.testing.assert_array_equal(copy[name][:], source[f"arrays/{name}"][:])
    stores = [ActivationStore.open(tmp_path / name) for name in "ab"]
    assert stores[0].logprobs(range(9)) == stores[1].logprobs(range(9))
    convert_store(tmp_path / "b", tmp_path / "c")
    assert ActivationStore.open(tmp_path / "c").logprobs(range(9)) == stores[0].logprobs(range(9))
