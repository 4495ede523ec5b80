"""What `append` accepts can be committed; all else it refuses, and the writer goes on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from helpers.written_rows import SIZES
from kview.contracts import ContractError
from kview.data import ActivationStore, ActivationWriter, verify_store

NESTED = torch.nested.nested_tensor([torch.ones(2, 5)] * 3, layout=torch.jagged)
with FakeTensorMode():
    FAKE = torch.ones(3, 2, 5)

GOOD: dict[str, Any] = {
    "activations": np.ones((3, 2, 5), "f4"),
    "token_count": 2,
    "input_length": 1,
    "hashkey": "second",
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activations": np.ones((3, 2, 4))}, r"shape: expected floats \(3, T, 5\), got float64"),
        ({"activations": torch.ones(3, 2, 4)}, r"got float32 \(3, 2, 4\)"),
        ({"activations": torch.ones(3, 10)}, r"got float32 \(3, 10\)"),
        ({"activations": np.ones((3, 2, 5), int)}, "expected floats"),
        ({"activations": torch.ones(3, 2, 5, dtype=torch.int64)}, "got int64"),
        ({"activations": torch.ones(3, 2, 5, dtype=torch.complex64)}, "got complex64"),
        ({"activations": torch.ones(3, 2, 5).to_sparse()}, "expected values in memory, got a cpu"),
        ({"activations": torch.ones(3, 2, 5, device="meta")}, "values in memory, got a meta"),
        ({"activations": NESTED}, "expected values in memory"),
        ({"activations": FAKE}, "expected values in memory"),
        ({"activations": np.ma.masked_all((3, 2, 5))}, "got MaskedArray"),
        ({"activations": [[[1.0]]]}, r"type: expected floats \(3, T, 5\), got list"),
        ({"activations": None}, "got NoneType"),
        ({"activations": np.full((3, 2, 5), 7e4, "f4")}, "float16 can hold.*70000 in layer 0"),
        ({"token_count": 3}, "at most the 2 tokens"),
        ({"token_count": -1}, "at least 0"),
        ({"token_count": 2.0}, "token_count: type: expected an integer, got float 2.0"),
        ({"token_count": True}, "expected an integer, got bool True"),
        ({"token_count": "2"}, "expected an integer, got str '2'"),
        ({"input_length": -1}, "at least 0"),
        ({"input_length": 2**31}, "at most 2147483647, got 2147483648"),
        ({"input_length": None}, "expected an integer, got NoneType None"),
        ({"response_length": 1}, "at least token_count=2"),
        ({"response_length": 2**31}, "at most 2147483647, got 2147483648"),
        ({"response_length": 2.5}, "expected an integer, got float"),
        ({"halu": 2}, "1, 0 or -1"),
        ({"halu": 256}, "1, 0 or -1, got 256"),
        ({"halu": 0.5}, "halu: type: expected an integer"),
        ({"hashkey": ""}, "non-empty string"),
        ({"hashkey": b"key"}, "hashkey: type: expected a string, got bytes"),
        ({"hashkey": "a\ud800"}, r"characters that UTF-8 has, got '\\ud800' at 1 of"),
        ({"hashkey": "first"}, "repeated hashkey.*'first'"),
        ({"group": "g"}, "group: expected none, as before"),
        ({"group": 7}, "group: type: expected a string, got int 7"),
        ({"group": "\udfff"}, "characters that UTF-8 has"),
        ({"prompt": "p"}, "both or neither"),
        ({"prompt": b"p", "response": "r"}, "prompt: type: expected a string, got bytes"),
        ({"prompt": "p", "response": "\ud83d"}, "response: text: expected characters that UTF-8"),
    ],
)
def test_a_bad_row_is_refused_and_changes_nothing(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with ActivationWriter.create(tmp_path / "a.zarr", **SIZES, durable=False) as writer:
        writer.append(**{**GOOD, "hashkey": "first"})
        with pytest.raises(ContractError, match=message):
            writer.append(**{**GOOD, **change})
        writer.append(**GOOD)
    store = ActivationStore.open(tmp_path / "a.zarr")
    assert store.hashkeys == ["first", "second"]
    assert verify_store(tmp_path / "a.zarr") == []


def test_numbers_of_other_libraries_are_numbers(tmp_path: Path) -> None:
    with ActivationWriter.create(tmp_path / "a.zarr", **SIZES, durable=False) as writer:
        writer.append(
            GOOD["activations"],
            token_count=np.int64(2),  # type: ignore[arg-type]
            response_length=torch.tensor(2**31 - 1),  # type: ignore[arg-type]
            input_length=np.uint8(255),  # type: ignore[arg-type]
            halu=np.bool_(True),  # type: ignore[arg-type]
            hashkey=np.str_("key"),
        )
    store = ActivationStore.open(tmp_path / "a.zarr")
    assert store.token_counts.tolist() == [2]
    assert store.response_lengths.tolist() == [2**31 - 1]
    assert store.input_lengths.tolist() == [255]
    assert store.halu.tolist() == [1]
    assert store.hashkeys == ["key"]


CHANGED = (
    *("token_count", "response_length", "input_length", "halu"),
    *("hashkey", "group", "prompt", "response"),
)

anything: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.binary()
    | st.lists(st.integers(), max_size=2)
)


@given(
    changes=st.dictionaries(
        st.sampled_from(CHANGED),
        anything,
        max_size=3,
    )
)
def test_whatever_is_accepted_is_there_after_closing(
    changes: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("row") / "a.zarr"
    row = {**GOOD, **changes}
    with ActivationWriter.create(path, **SIZES, durable=False) as writer:
        try:
            writer.append(**row)
        except ContractError:
            assert len(writer) == 0
            return
    store = ActivationStore.open(path)
    if not row["token_count"]:
        assert len(store) == 0
        return
    assert store.hashkeys == [row["hashkey"]]
    assert store.input_lengths.tolist() == [row["input_length"]]
    assert store.halu.tolist() == [row.get("halu", -1)]
    assert store.groups == (None if row.get("group") is None else [row["group"]])
    expected = [] if row.get("prompt") is None else [(row["prompt"], row["response"])]
    assert [(t.prompt, t.response) for t in store.texts().values()] == expected


def test_small_values_and_lazily_negated_ones_are_taken(tmp_path: Path) -> None:
    negated = torch.complex(torch.zeros(3, 2, 5), torch.ones(3, 2, 5)).conj().imag
    with ActivationWriter.create(tmp_path / "a.zarr", **SIZES, durable=False) as writer:
        with np.errstate(all="raise"):
            writer.append(**{**GOOD, "activations": np.full((3, 2, 5), 1e-9, "f4")})
        writer.append(**{**GOOD, "activations": negated, "hashkey": "third"})
    blocks = ActivationStore.open(tmp_path / "a.zarr").read([0, 1], [[0], [0]], max_tokens=2)
    assert (blocks[0] == 0).all()
    assert (blocks[1] == -1).all()
