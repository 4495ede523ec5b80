"""Plain arrays as stores: every value at its row, layer and token, whatever order the axes have."""

import itertools
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from helpers.foreign_stores import masked
from helpers.plain_arrays import AXES, KINDS, save_array, values, write
from kview.contracts import StoreError
from kview.data import ActivationStore, prompt_key

ORDERS = list(itertools.permutations(("row", "layer", "hidden")))

every_kind = pytest.mark.parametrize("kind", KINDS)


def everything(store: ActivationStore) -> np.ndarray:
    rows = np.arange(len(store))
    return store.read(rows, np.tile(np.arange(store.num_layers), (len(store), 1)))


@every_kind
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_an_array_says_what_it_holds(tmp_path: Path, kind: str, dtype: str) -> None:
    x = values(dtype=dtype)
    lengths = [1, 3, 2, 3, 1]
    rows = [
        {"token_count": n, "input_length": 7, "halu": i % 2, "group": f"g{i % 2}"}
        | {"prompt": f"p{i}", "response": f"r{i}"}
        for i, n in enumerate(lengths)
    ]
    file = write(tmp_path / f"x.{kind}", x, rows=rows, layers=[0, 3, 6, 9], model="tiny")
    with ActivationStore.open(file) as store:
        assert (len(store), store.num_layers, store.max_tokens, store.hidden_size) == (5, 4, 3, 2)
        assert (store.layer_ids, store.model, store.dtype) == ((0, 3, 6, 9), "tiny", dtype)
        assert store.hashkeys == [prompt_key(f"p{i}") for i in range(5)]
        assert store.halu.tolist() == [0, 1, 0, 1, 0]
        assert store.groups == ["g0", "g1", "g0", "g1", "g0"]
        assert store.input_lengths.tolist() == [7] * 5
        assert store.texts()[prompt_key("p2")].response == "r2"
        assert everything(store).tobytes() == masked(x, lengths, 3).tobytes()
        sent = pickle.loads(pickle.dumps(store))
        assert everything(sent).tobytes() == masked(x, lengths, 3).tobytes()


@every_kind
@pytest.mark.parametrize("axes", list(itertools.permutations(AXES)), ids="-".join)
def test_axes_may_stand_in_any_order(tmp_path: Path, kind: str, axes: tuple[str, ...]) -> None:
    x = values()
    store = ActivationStore.open(write(tmp_path / f"x.{kind}", x, axes))
    assert everything(store).tobytes() == x.tobytes()
    out = np.full((2, 2, 5, 2), 7, np.float16)
    store.read([3, 0], [[3, 0], [1, 2]], out)
    assert out.tobytes() == masked(x, [3] * 5, 5)[[[3], [0]], [[3, 0], [1, 2]]].tobytes()


@every_kind
@pytest.mark.parametrize("axes", ORDERS, ids="-".join)
def test_an_array_without_tokens_has_one(tmp_path: Path, kind: str, axes: tuple[str, ...]) -> None:
    x = values(tokens=1)
    store = ActivationStore.open(write(tmp_path / f"x.{kind}", x, axes))
    assert store.max_tokens == 1
    assert everything(store).tobytes() == x.tobytes()


def test_fortran_order_and_the_other_byte_order_are_read(tmp_path: Path) -> None:
    x = values()
    file = write(tmp_path / "x.npy", x)
    np.save(file, np.asfortranarray(x.astype(">f2")))
    store = ActivationStore.open(file)
    assert store.dtype == np.float16
    assert everything(store).tobytes() == x.tobytes()


@every_kind
def test_without_names_an_array_is_refused_and_told_how_to_name_them(
    tmp_path: Path, kind: str
) -> None:
    file = save_array(tmp_path / f"x.{kind}", values())
    told = r'5 x 4 x 3 x 2 and nothing says.*x\.axes\.json.*\["row", "layer", "token", "hidden"\]'
    with pytest.raises(StoreError, match=told):
        ActivationStore.open(file)
    save_array(file, values()[:, :, 0])
    with pytest.raises(StoreError, match=r'5 x 4 x 2.*\{"axes": \["row", "layer", "hidden"\]\}'):
        ActivationStore.open(file)


@pytest.mark.parametrize("shape", [(), (5,), (5, 2), (5, 4, 3, 2, 1)], ids=str)
def test_other_numbers_of_axes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    file = save_array(tmp_path / "x.npy", np.ones(shape, np.float16))
    with pytest.raises(StoreError, match=r"three axes \(row, layer, hidden\) or four"):
        ActivationStore.open(file)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"axes": ["row", "layer", "hidden"]}, "5 x 4 x 3 x 2 and x.axes.json names 3 axes"),
        ({"axes": ["row", "layer", "token", "token"]}, "each once"),
        ({"axes": ["N", "L", "T", "H"]}, "they are row, layer, token, hidden in any order"),
        ({"axes": ["row", "layer", "token", ["x"]]}, "in any order"),
        ({"axes": "row layer"}, "in any order"),
        ({"axis": list(AXES)}, "'axis' is none of axes, layers, model and tensor"),
        ({"axes": list(AXES), "layers": [0, 1, 2]}, "4 along its layer axis.*3 layers.*order"),
        ({"axes": ["row", "token", "layer", "hidden"], "layers": [0, 1, 2, 3]}, "right order"),
        ({"axes": list(AXES), "layers": [0, 1, 2, 2]}, "each once"),
        ({"axes": list(AXES), "layers": [0, 1, 2, "3"]}, "each once"),
        ({"axes": list(AXES), "model": 5}, "model and tensor are names"),
        ({"axes": list(AXES), "tensor": "y"}, "holds the tensors x, not 'y'; name one as"),
        ([], "is not a JSON object"),
    ],
)
def test_what_is_said_of_axes_must_fit(tmp_path: Path, said: Any, message: str) -> None:
    file = save_array(tmp_path / "x.safetensors", values())
    (tmp_path / "x.axes.json").write_text(json.dumps(said))
    with pytest.raises(StoreError, match=message):
        ActivationStore.open(file)


def test_swapped_names_are_found_by_what_is_known_of_the_rows(tmp_path: Path) -> None:
    rows = [{"halu": 0}] * 5
    file = write(tmp_path / "x.npy", values(), ("layer", "row", "token", "hidden"), rows=rows)
    assert len(ActivationStore.open(file)) == 5
    (tmp_path / "x.axes.json").write_text(json.dumps({"axes": AXES}))
    with pytest.raises(StoreError, match=r"x\.rows\.jsonl has 5 lines and the row axis.* has 4"):
        ActivationStore.open(file)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "is malformed"),
        ("[]", "is malformed"),
        ({"halu": 2}, "halu is 2; a label is 1, 0 or -1"),
        ({"halu": 1.0}, "halu is 1.0"),
        ({"halu": "1"}, "halu is '1'"),
        ({"halu": []}, r"halu is \[\]"),
        ({"token_count": 4}, "token_count is 4, not a number from 0 to 3"),
        ({"token_count": True}, "token_count is True"),
        ({"token_count": 2, "response_length": 1}, "response_length is 1, not a number from 2"),
        ({"input_length": -1}, "input_length is -1"),
        ({"hashkey": 5}, "hashkey is 5, not a string"),
        ({"hashkey": "\ud800"}, "surrogates not allowed"),
        ({"prompt": "\ud800"}, "surrogates not allowed"),
    ],
)
def test_a_bad_line_about_a_row_is_named(tmp_path: Path, line: Any, message: str) -> None:
    file = write(tmp_path / "x.npy", values(), rows=[{}] * 5)
    lines = ["{}"] * 5
    lines[1] = line if isinstance(line, str) else json.dumps(line)
    (tmp_path / "x.rows.jsonl").write_text("\n".join(lines))
    with pytest.raises(StoreError, match=rf"x\.rows\.jsonl, line 2.*{message}"):
        ActivationStore.open(file)


def test_rows_are_numbers_where_nothing_is_known_of_them(tmp_path: Path) -> None:
    store = ActivationStore.open(write(tmp_path / "x.npy", values()))
    assert store.hashkeys == ["0", "1", "2", "3", "4"]
    assert store.halu.tolist() == [-1] * 5
    assert store.groups is None
    assert store.token_counts.tolist() == [3] * 5


def test_rows_without_a_token_are_left_out(tmp_path: Path) -> None:
    rows = [{"token_count": n, "group": None if n == 1 else "g"} for n in (1, 0, 2, 0, 3)]
    store = ActivationStore.open(write(tmp_path / "x.npy", values(), rows=rows))
    assert store.hashkeys == ["0", "2", "4"]
    assert store.groups == ["0", "g", "g"]
    assert store.parts[0].dropped == 2
    assert everything(store).tobytes() == masked(values(), [1, 0, 2, 0, 3], 3)[[0, 2, 4]].tobytes()


# Files


def test_one_of_several_tensors_is_named(tmp_path: Path) -> None:
    x, y = values(), values() + 1
    for kind in ("safetensors", "pt"):
        file = tmp_path / f"x.{kind}"
        if kind == "pt":
            torch.save({"x": torch.from_numpy(x), "y": torch.from_numpy(y), "note": 3}, file)
        else:
            save_file({"x": x, "y": y}, file)
        (tmp_path / "x.axes.json").write_text(json.dumps({"axes": AXES}))
        with pytest.raises(StoreError, match="holds the tensors x, y, which is not said; name one"):
            ActivationStore.open(file)
        for name, expected in (("x", x), ("y", y)):
            (tmp_path / "x.axes.json").write_text(json.dumps({"axes": AXES, "tensor": name}))
            assert everything(ActivationStore.open(file)).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        *(("npy", n) for n in (-1, 1, -20, 64)),
        *(("safetensors", n) for n in (-1, 1, -20, 64)),
        *(("pt", n) for n in (-1, -20, -200)),  # a zip archive may be followed by anything
    ],
)
def test_a_file_of_another_size_is_refused(tmp_path: Path, kind: str, change: int) -> None:
    file = write(tmp_path / f"x.{kind}", values())
    data = file.read_bytes()
    file.write_bytes(data[:change] if change < 0 else data + bytes(change))
    with pytest.raises(StoreError, match=re.escape(f"x.{kind} cannot be read (")) as caught:
        ActivationStore.open(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("npy", np.ones((5, 4, 3, 2)), "is of float64; float16 and float32 are read"),
        ("npy", np.ones((5, 4, 3, 2), int), "is of int64"),
        ("npy", np.ones((5, 4, 0, 2), np.float16), "an axis is empty"),
        ("npy", np.array([[[[None]]]]), "Python objects"),
        ("safetensors", np.ones((5, 4, 3, 2)), "dtype F64 is none of F16, F32"),
        ("pt", np.ones((5, 4, 3, 2)), "torch.float64 is none of float16 and float32"),
    ],
)
def test_other_values_are_refused(tmp_path: Path, kind: str, value: Any, message: str) -> None:
    file = tmp_path / f"x.{kind}"
    if value.dtype == object:
        np.save(file, value, allow_pickle=True)
    else:
        save_array(file, value)
    (tmp_path / "x.axes.json").write_text(json.dumps({"axes": AXES}))
    with pytest.raises(StoreError, match=message):
        ActivationStore.open(file)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    write(tmp_path / "x.pt", values())
    torch.save({"x": Trap(tmp_path / "sprung")}, tmp_path / "x.pt")
    with pytest.raises(StoreError, match=r"x\.pt cannot be read"):
        ActivationStore.open(tmp_path / "x.pt")
    (tmp_path / "x.npy").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(StoreError, match=r"x\.npy cannot be read"):
        ActivationStore.open(tmp_path / "x.npy")
    assert not (tmp_path / "sprung").exists()


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    file = write(tmp_path / "a" / "x.npy", values())
    file.rename(tmp_path / "elsewhere.npy")
    file.symlink_to(tmp_path / "elsewhere.npy")
    with pytest.raises(StoreError, match="is a link out of the store"):
        ActivationStore.open(file)
    assert len(ActivationStore.open(file, follow_symlinks=True)) == 5
