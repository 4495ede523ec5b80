"""Log-probabilities of a native store: what was appended is what is read, or there is an error."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr

from helpers.written_rows import SIZES, row_values
from kview.contracts import ContractError, ResponseLogprobs, StoreError
from kview.data import ActivationDataset, ActivationStore, ActivationWriter, verify_store
from kview.data.native import schema as native_schema

R, K = 6, 2


def logprobs_of(row: int, top_k: int = K) -> Any:
    """A function of the row: of 0 to 6 tokens; some have none recorded, and each fifth row none."""
    if row % 5 == 4:
        return None
    random = np.random.default_rng(row)
    tokens = row % (R + 1)
    values = torch.from_numpy(-random.random(tokens).astype("f4"))
    ids = torch.from_numpy(random.integers(0, 99, (tokens, top_k)).astype("i4"))
    return ResponseLogprobs(
        token_ids=torch.arange(tokens, dtype=torch.int32) + row,
        token_logprobs=values,
        mask=torch.from_numpy(random.random(tokens) < 0.8),
        topk_token_ids=ids if top_k else None,
        topk_logprobs=torch.from_numpy(-random.random((tokens, top_k)).astype("f4"))
        if top_k
        else None,
    )


def append(writer: ActivationWriter, row: int, top_k: int = K) -> None:
    activations, values = row_values(row)
    writer.append(activations, **values, logprobs=logprobs_of(row, top_k))


def require(path: Path, rows: int, top_k: int = K) -> None:
    """What zarr-python reads must be what was appended, and what the store reads, too."""
    found: Any = zarr.open(path)
    ids, values = found["response_token_ids"][:], found["response_token_logprobs"][:]
    assert ids.shape == values.shape == (rows, R)
    block: Any = ActivationStore.open(path).logprobs(range(rows))
    np.testing.assert_array_equal(block.token_ids, ids)
    np.testing.assert_array_equal(block.token_logprobs, values)
    if top_k:
        np.testing.assert_array_equal(block.topk_token_ids, found["response_topk_token_ids"][:])
        np.testing.assert_array_equal(block.topk_logprobs, found["response_topk_logprobs"][:])
    for row in range(rows):
        given = logprobs_of(row, top_k)
        n = 0 if given is None else len(given.token_ids)
        assert (ids[row, n:] == -1).all()
        assert np.isnan(values[row, n:]).all()
        if given is None:
            continue
        np.testing.assert_array_equal(ids[row, :n], given.token_ids)
        expected = np.where(given.mask, given.token_logprobs, np.nan)
        np.testing.assert_array_equal(values[row, :n], expected)
        if top_k:
            np.testing.assert_array_equal(
                found["response_topk_logprobs"][row, :n], given.topk_logprobs
            )
            assert np.isnan(found["response_topk_logprobs"][row, n:]).all()


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five rows in a file, or ten without alternatives."""
    monkeypatch.setattr(native_schema, "_LOGPROB_FILE_BYTES", 10 * R * 4)


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("top_k", [0, K])
@pytest.mark.parametrize("stops", [(23,), (1, 4, 5, 12, 13, 23), (10, 20, 30)])
def test_rows_are_what_was_appended_however_often_it_was_resumed(
    tmp_path: Path, stops: tuple[int, ...], top_k: int
) -> None:
    path = tmp_path / "a"
    writer = ActivationWriter.create(path, **SIZES, logprob_tokens=R, logprobs_top_k=top_k)
    start = 0
    for stop in stops:
        with writer:
            for row in range(start, stop):
                append(writer, row, top_k)
        require(path, stop, top_k)
        start, writer = stop, ActivationWriter.resume(path)
    writer.close()
    require(path, stops[-1], top_k)
    assert verify_store(path) == []
    samples = ActivationDataset(
        ActivationStore.open(path), num_views=2, include_response_logprobs=True
    )
    given, found = logprobs_of(3, top_k), samples[3].logprobs
    assert given is not None
    assert found is not None
    assert torch.equal(found.mask[:3], given.mask)


@pytest.mark.usefixtures("small_files")
def test_what_is_missing_or_changed_is_damage_and_never_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with ActivationWriter.create(path, **SIZES, logprob_tokens=R, logprobs_top_k=K) as writer:
        for row in range(12):
            append(writer, row)
    for name, file in (
        ("response_token_logprobs", "c.0.0"),
        ("response_topk_logprobs", "c.1.0.0"),
    ):
        place = path / name / file
        whole = place.read_bytes()
        place.unlink()
        with pytest.raises(StoreError, match=f"{name}/{file} is missing"):
            ActivationStore.open(path).logprobs(range(12))
        assert [d.array for d in verify_store(path)] == [name]
        place.write_bytes(whole[:9] + bytes([whole[9] ^ 1]) + whole[10:])
        with pytest.raises(StoreError, match=f"{name}/{file} fails its checksum"):
            ActivationStore.open(path).logprobs(range(12))
        assert [d.array for d in verify_store(path)] == [name]
        place.write_bytes(whole)
    (path / "response_topk_logprobs" / "zarr.json").unlink()
    with pytest.raises(StoreError, match="there is no array response_topk_logprobs"):
        ActivationStore.open(path)
    assert "there is no array response_topk_logprobs" in str(verify_store(path)[0])


def test_what_another_begin_left_is_not_the_stores(tmp_path: Path) -> None:
    """A store that was being made and was not, and then was made with fewer log-probabilities."""
    path = tmp_path / "a"
    ActivationWriter.create(path, **SIZES, logprob_tokens=R, logprobs_top_k=K).close()
    (path / "zarr.json").unlink()
    with ActivationWriter.create(path, **SIZES, logprob_tokens=R + 1) as writer:
        activations, values = row_values(2)
        writer.append(activations, **values, logprobs=logprobs_of(2, 0))
    assert verify_store(path) == []
    store = ActivationStore.open(path)
    assert (store.logprob_tokens, store.logprobs_top_k) == (R + 1, 0)
    assert store.logprobs([0]).token_ids[0, :2].tolist() == [2, 3]


@pytest.mark.usefixtures("small_files")
def test_committed_log_probabilities_leave_memory(tmp_path: Path) -> None:
    with ActivationWriter.create(
        tmp_path / "a", **SIZES, logprob_tokens=R, logprobs_top_k=K
    ) as writer:
        for row in range(13):
            append(writer, row)
        writer.commit()
        held = [row for row, v in writer._rows.items() if v.response_token_ids is not None]
        assert held == [10, 11, 12]
        assert len(writer._rows) == 13


def test_what_does_not_fit_the_store_is_refused(tmp_path: Path) -> None:
    activations, values = row_values(6)
    given = logprobs_of(6)
    plain = ActivationWriter.create(tmp_path / "plain", **SIZES)
    with plain, pytest.raises(ContractError, match="the store was made with logprob_tokens=0"):
        plain.append(activations, **values, logprobs=given)
    small = ActivationWriter.create(tmp_path / "small", **SIZES, logprob_tokens=5, logprobs_top_k=K)
    with small, pytest.raises(ContractError, match=r"at most logprob_tokens=5, got \(6,\)"):
        small.append(activations, **values, logprobs=given)
    other = ActivationWriter.create(tmp_path / "other", **SIZES, logprob_tokens=R, logprobs_top_k=1)
    with other:
        with pytest.raises(ContractError, match="logprobs_top_k=1 alternatives a token"):
            other.append(activations, **values, logprobs=given)
        with pytest.raises(ContractError, match="given: type: expected ResponseLogprobs, got list"):
            other.append(activations, **values, logprobs=[0.1])  # type: ignore[arg-type]
        ids_alone = dataclasses.replace(logprobs_of(6, 1), topk_logprobs=None)
        with pytest.raises(ContractError, match="ids and values, or none of both, got 1 ids and N"):
            other.append(activations, **values, logprobs=ids_alone)
        plain = logprobs_of(6, 0)
        nan = dataclasses.replace(plain, token_logprobs=plain.token_logprobs * torch.nan)
        with pytest.raises(ContractError, match="a number wherever the mask says"):
            other.append(activations, **values, logprobs=nan)
        far = dataclasses.replace(plain, token_ids=plain.token_ids.long() + 2**40)
        with pytest.raises(ContractError, match="token ids of -1 to 2147483647"):
            other.append(activations, **values, logprobs=far)
        assert len(other) == 0
        other.append(activations, **values, logprobs=logprobs_of(6, 0))
    written: Any = zarr.open(tmp_path / "other")
    assert np.isnan(written["response_topk_logprobs"][:]).all()
