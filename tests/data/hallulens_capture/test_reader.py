"""HalluLens' captures as they are: every value is that of an array written by numpy alone."""

import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.captures import Capture, capture, merge, read_lines, write_lines
from helpers.foreign_stores import masked
from kview.contracts import StoreError
from kview.data import ActivationParser, ActivationStore, find_inputs


def everything(store: ActivationStore) -> np.ndarray:
    rows = np.arange(len(store))
    return store.read(rows, np.tile(np.arange(store.num_layers), (len(store), 1)))


def assert_bits(found: np.ndarray, written: Capture) -> None:
    expected = masked(written.activations, written.lengths, found.shape[2])
    assert found.dtype == expected.dtype
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_capture_says_what_it_holds(tmp_path: Path, dtype: str) -> None:
    written = capture(lengths=[1, 3, 2, 9, 3], dtype=dtype)
    with ActivationStore.open(written.write(tmp_path / "a")) as store:
        assert (len(store), store.num_layers, store.max_tokens, store.hidden_size) == (5, 4, 3, 2)
        assert store.layer_ids == (0, 1, 2, 3)
        assert store.dtype == np.dtype(dtype)
        assert store.model == "tiny"
        assert store.hashkeys == written.keys
        assert store.token_counts.tolist() == [1, 3, 2, 3, 3]
        assert store.response_lengths.tolist() == [1, 3, 2, 9, 3]
        assert store.input_lengths.tolist() == [5, 6, 7, 8, 9]
        assert store.halu.tolist() == written.halu
        assert store.parts[0].allocated == 8
        text = store.texts()[written.keys[2]]
        assert (text.prompt, text.response) == ("question 2?", "answer to question 2?")
        assert_bits(everything(store), written)
        sent = pickle.loads(pickle.dumps(store))
        assert_bits(everything(sent), written)


@pytest.mark.parametrize("tokens", [1, 2, 5])
def test_batches_are_cut_and_padded(tmp_path: Path, tokens: int) -> None:
    written = capture(lengths=[1, 3, 2, 9, 3])
    store = ActivationStore.open(written.write(tmp_path / "a"))
    out = np.full((3, 2, tokens, 2), 7, np.float16)
    store.read([3, 0, 2], [[3, 0], [1, 2], [2, 2]], out)
    expected = masked(written.activations, written.lengths, tokens)
    assert out.tobytes() == expected[[[3], [0], [2]], [[3, 0], [1, 2], [2, 2]]].tobytes()
    assert store.stored([0], np.array([[0, 3]])).all()


def test_rows_are_found_by_the_log_alone(tmp_path: Path) -> None:
    """Rows are out of order and with holes between; what lies in the holes is never read."""
    written = capture(places=[6, 0, 3, 7, 2])
    path = written.write(tmp_path / "a")
    x = np.memmap(path / "response_activations.npy", "f2", "r+", shape=(8, 4, 3, 2))
    x[[1, 4, 5]] = np.nan
    x.flush()
    with ActivationStore.open(path) as store:
        order = np.argsort(written.places)
        assert store.hashkeys == [written.keys[i] for i in order]
        assert store.halu.tolist() == [written.halu[i] for i in order]
        assert everything(store).tobytes() == written.activations[order].tobytes()


def test_log_probabilities_end_with_the_response(tmp_path: Path) -> None:
    written = capture(lengths=[1, 3, 2, 9, 3], places=[6, 0, 3, 7, 2])
    store = ActivationStore.open(written.write(tmp_path / "a"))
    row = {key: i for i, key in enumerate(store.hashkeys)}
    block = store.logprobs([row[key] for key in written.keys])
    ids, one, topk, many = written.logprobs()
    for i, length in enumerate(written.lengths):
        topk[i, length:], many[i, length:] = -1, np.nan
    assert store.logprobs_top_k == 2
    assert block.token_ids.tobytes() == ids.tobytes()
    np.testing.assert_array_equal(block.token_logprobs, one)
    np.testing.assert_array_equal(block.topk_token_ids, topk)
    np.testing.assert_array_equal(block.topk_logprobs, many)


def test_log_probabilities_may_be_left_out(tmp_path: Path) -> None:
    path = capture().write(tmp_path / "a")
    for name in ("token_ids", "token_logprobs", "topk_token_ids"):
        (path / f"response_{name}.npy").unlink()
    with pytest.raises(StoreError, match=r"only response_topk_logprobs\.npy are there"):
        ActivationStore.open(path)
    (path / "response_topk_logprobs.npy").unlink()
    assert ActivationStore.open(path).logprobs_top_k is None


def test_rows_without_a_response_are_dropped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = capture(lengths=[1, 0, 2, 0, 3])
    with caplog.at_level(logging.WARNING, "kview.data"):
        store = ActivationStore.open(written.write(tmp_path / "a"))
    assert store.token_counts.tolist() == [1, 2, 3]
    assert store.hashkeys == [written.keys[i] for i in (0, 2, 4)]
    assert "dropped 2 rows without a response token" in caplog.text


# The log


@pytest.mark.parametrize("torn", [1, 20, 60, 150])
def test_a_torn_last_line_is_the_writers_tail(tmp_path: Path, torn: int) -> None:
    written = capture()
    path = written.write(tmp_path / "a")
    data = (path / "meta.jsonl").read_bytes()
    last = data.rstrip(b"\n").rindex(b"\n") + 1
    (path / "meta.jsonl").write_bytes(data[: last + torn])
    assert ActivationStore.open(path).hashkeys == written.keys[:4]


def test_a_log_of_nothing_is_a_capture_of_nothing(tmp_path: Path) -> None:
    path = capture().write(tmp_path / "a")
    (path / "meta.jsonl").write_text("")
    assert len(ActivationStore.open(path)) == 0


def test_what_was_generated_and_not_logged_does_not_exist(tmp_path: Path) -> None:
    """A writer that died between the text and the log, and wrote the sample again later."""
    written = capture()
    path = written.write(tmp_path / "a")
    lines = read_lines(path / "generation.jsonl")
    first = [{**lines[2], "generation": "before the crash"}, *lines]
    extra = {**lines[0], "prompt": "never", "prompt_hash": "0" * 64}
    write_lines(path / "generation.jsonl", [*first, extra])
    with (path / "generation.jsonl").open("a") as file:
        file.write('{"prompt": "torn')
    store = ActivationStore.open(path)
    assert store.hashkeys == written.keys
    assert store.texts()[written.keys[2]].response == "answer to question 2?"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 3 is malformed"),
        ("[]", "line 3 is malformed"),
        ("{}", "line 3 is malformed.*prompt_hash"),
        ({"sample_index": "2"}, "line 3 is malformed.*sample_index is '2'"),
        ({"sample_index": True}, "line 3 is malformed.*sample_index is True"),
        ({"sample_index": -1}, "line 3 is malformed.*sample_index is -1"),
        ({"sample_index": 8}, "line 3: sample_index 8 is not a row.*which has 8"),
        ({"sample_index": 0}, "lines 1 and 3: both have sample_index 0"),
        ({"prompt_hash": "\ud800"}, "line 3 is malformed.*surrogates not allowed"),
        ({"prompt_hash": ""}, "line 3 is malformed.*prompt_hash is ''"),
        ({"prompt_hash": "FIRST"}, "lines 1 and 3: both have prompt_hash"),
        ({"response_len": 1e300}, "line 3 is malformed.*response_len is 1e[+]300"),
        ({"response_len": 2}, r"line 3: response_len is 2 and response_len.npy of row 2 is 3"),
        ({"prompt_len": 3}, r"line 3: prompt_len is 3 and prompt_len.npy of row 2 is 7"),
        ({"hallucinated": "no"}, "line 3 is malformed.*hallucinated is 'no'"),
        ({"sample_index": 6}, r"line 3: prompt_len is 7 and prompt_len.npy of row 6 is 0"),
    ],
)
def test_a_bad_line_of_the_log_is_named(tmp_path: Path, line: Any, message: str) -> None:
    written = capture()
    path = written.write(tmp_path / "a")
    lines = (path / "meta.jsonl").read_text().splitlines()
    if isinstance(line, dict):
        line = json.dumps({**json.loads(lines[2]), **line}).replace("FIRST", written.keys[0])
    lines[2] = line
    (path / "meta.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(StoreError, match=message):
        ActivationStore.open(path)


# Labels


def test_labels_go_by_key_whatever_order_files_have(tmp_path: Path) -> None:
    """The label files inside a capture do not go together by position, and are not used so."""
    written = capture(rows=8, places=[3, 1, 0, 2, 7, 6, 5, 4], allocated=8)
    path = written.write(tmp_path / "a")
    by_key = dict(zip(written.keys, written.halu, strict=True))
    lines = read_lines(path / "generation.jsonl")
    write_lines(path / "generation.jsonl", lines[::-1])
    verdicts = {"halu_test_res": [1 - h for h in written.halu], "abstantion": [False] * 8}
    (path / "eval_results.json").write_text(json.dumps(verdicts))
    log = read_lines(path / "meta.jsonl")
    write_lines(path / "meta.jsonl", [log[i] for i in (5, 0, 7, 2, 1, 6, 3, 4)])
    inputs = find_inputs(path)
    assert (inputs.inference_json, inputs.eval_json) == (None, None)
    parser = ActivationParser(
        inputs.inference_json, inputs.eval_json, path, split_strategy="none", group_by="prompt"
    )
    keys = [parser.store.hashkeys[row] for row in parser.rows]
    assert parser.halu.tolist() == [by_key[key] for key in keys]
    assert {parser.store.texts()[key].prompt for key in keys} == set(written.prompts)


def test_a_row_without_a_label_is_unlabelled(tmp_path: Path) -> None:
    path = capture().write(tmp_path / "a")
    log = read_lines(path / "meta.jsonl")
    log[2]["hallucinated"] = None
    write_lines(path / "meta.jsonl", log)
    assert ActivationStore.open(path).halu.tolist() == [0, 1, -1, 1, 0]


# Sizes


@pytest.mark.parametrize("change", [-1, 1, -48, 128], ids=str)
@pytest.mark.parametrize(
    "name", ["response_activations", "response_len", "prompt_len", "response_topk_logprobs"]
)
def test_a_file_of_another_size_is_refused(tmp_path: Path, name: str, change: int) -> None:
    path = capture().write(tmp_path / "a")
    file = path / f"{name}.npy"
    data = file.read_bytes()
    file.write_bytes(data[:change] if change < 0 else data + bytes(change))
    problem = "truncated" if change < 0 else "too long"
    with pytest.raises(StoreError, match=rf"{name}\.npy has \d+ bytes, not {len(data)}.*{problem}"):
        ActivationStore.open(path)


def test_a_file_that_shrinks_while_it_is_read_is_named(tmp_path: Path) -> None:
    path = capture().write(tmp_path / "a")
    store = ActivationStore.open(path)
    (path / "response_activations.npy").write_bytes(b"short")
    with pytest.raises(StoreError, match=r"response_activations.npy, row 4, layer 1: file ends"):
        store.read([4], [[1]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "float32"}, r"response_activations.npy has 384 bytes, not 768"),
        ({"dtype": "bfloat16"}, "dtype 'bfloat16' is none of those that are read: float16"),
        ({"dtype": ["x"]}, "is none of those that are read"),
        ({"num_layers": 4}, r"response_activations.npy has 384 bytes, not 480 \(8 x 5 x 3 x 2"),
        ({"hidden_dim": 0}, "hidden_dim is 0, not a number from 1"),
        ({"hidden_dim": 10**9}, "hidden_dim is 1000000000, not a number"),
        ({"hidden_dim": 2**20, "max_response_len": 2**20}, "a layer of a row has"),
        ({"max_response_len": 2.0}, "max_response_len is 2.0, not a number"),
        ({"n_samples": None}, "n_samples is None, not a number"),
        ({"n_samples": 9}, r"prompt_len.npy has 32 bytes, not 36"),
        ({"model_name": 5}, "model_name is 5, not a name"),
        ({"storage_format": "inference_capture_v2"}, "'inference_capture_v2' is unknown"),
        ({"_merged_written_rows": "5"}, "_merged_written_rows is '5'"),
    ],
)
def test_a_configuration_that_does_not_fit_is_named(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = capture(config=change).write(tmp_path / "a")
    with pytest.raises(StoreError, match=message):
        ActivationStore.open(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000])
def test_a_configuration_that_is_no_json_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = capture().write(tmp_path / "a")
    (path / "config.json").write_text(text)
    with pytest.raises(StoreError, match=r"config\.json"):
        ActivationStore.open(path)


@pytest.mark.parametrize(
    "name", ["response_activations.npy", "response_len.npy", "prompt_len.npy", "config.json"]
)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    path = capture().write(tmp_path / "a")
    (path / name).unlink()
    with pytest.raises(StoreError, match=name if name != "config.json" else "no Zarr group"):
        ActivationStore.open(path)


def test_links_out_of_a_capture_are_refused(tmp_path: Path) -> None:
    path = capture().write(tmp_path / "a")
    file = path / "response_activations.npy"
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is a link out of the store"):
        ActivationStore.open(path)
    assert len(ActivationStore.open(path, follow_symlinks=True)) == 5


# Several captures


def two(folder: Path, **second: Any) -> tuple[tuple[Path, int, int], tuple[Path, int, int]]:
    """Two captures, the rows they have room for and those that are written."""
    one = capture(lengths=[1, 3, 2, 9, 3])
    other = capture(rows=4, name="riddle", seed=1, **second)
    return (one.write(folder / "a"), 8, 5), (other.write(folder / "b"), other.allocated, 4)


def test_captures_are_read_as_one_in_a_list(tmp_path: Path) -> None:
    (a, *_), (b, *_) = two(tmp_path)
    one, other = capture(lengths=[1, 3, 2, 9, 3]), capture(rows=4, name="riddle", seed=1)
    store = ActivationStore.open([a, b])
    assert store.hashkeys == [*one.keys, *other.keys]
    assert store.halu.tolist() == [*one.halu, *other.halu]
    expected = np.concatenate([masked(one.activations, one.lengths, 3), other.activations])
    assert everything(store).tobytes() == expected.tobytes()


def test_a_merged_capture_is_read_like_its_parts(tmp_path: Path) -> None:
    parts = two(tmp_path)
    merged = ActivationStore.open(merge(tmp_path / "merged", *parts))
    listed = ActivationStore.open([parts[0][0], parts[1][0]])
    assert merged.hashkeys == listed.hashkeys
    assert merged.halu.tolist() == listed.halu.tolist()
    assert everything(merged).tobytes() == everything(listed).tobytes()
    rows = range(len(merged))
    np.testing.assert_array_equal(
        merged.logprobs(rows).topk_logprobs, listed.logprobs(rows).topk_logprobs
    )
    assert merged.texts() == listed.texts()


def whole_files(path: Path, parts: tuple[tuple[Path, int, int], ...]) -> None:
    """Rows that were never written lie between the parts, and the log does not count them."""
    for file in path.glob("*.npy"):
        row = len(file.read_bytes()) // 9
        both = b"".join((part / file.name).read_bytes() for part, _, _ in parts)
        file.write_bytes(both[: 9 * row])


def shorter_log(path: Path) -> None:
    write_lines(path / "meta.jsonl", read_lines(path / "meta.jsonl")[:-1])


def swapped_lines(path: Path) -> None:
    log = read_lines(path / "meta.jsonl")
    log[0]["sample_index"], log[6]["sample_index"] = log[6]["sample_index"], log[0]["sample_index"]
    write_lines(path / "meta.jsonl", log)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path, parts: whole_files(path, parts), "misaligned merge"),
        (lambda path, parts: shorter_log(path), r"5 \+ 4 rows were merged.*meta.jsonl has 8"),
        (lambda path, parts: swapped_lines(path), "misaligned merge"),
    ],
    ids=["unwritten rows between", "log cut short", "rows of each other"],
)
def test_a_misaligned_merge_is_refused(
    tmp_path: Path, spoil: Callable[..., None], message: str
) -> None:
    parts = two(tmp_path)
    path = merge(tmp_path / "merged", *parts)
    spoil(path, parts)
    with pytest.raises(StoreError, match=message) as caught:
        ActivationStore.open(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"layers": 5}, "layers"),
        ({"hidden": 3}, "hidden size 3 and 2"),
        ({"dtype": "float32"}, "dtype float32 and float16"),
        ({"config": {"model_name": "other"}}, "model other and tiny"),
    ],
)
def test_captures_that_do_not_fit_are_not_read_as_one(
    tmp_path: Path, second: dict[str, Any], message: str
) -> None:
    (a, *_), (b, *_) = two(tmp_path, **second)
    with pytest.raises(StoreError, match=rf"cannot be read as one.*{message}"):
        ActivationStore.open([a, b])


def test_one_prompt_in_two_captures_is_refused(tmp_path: Path) -> None:
    a, b = capture().write(tmp_path / "a"), capture(seed=1).write(tmp_path / "b")
    with pytest.raises(StoreError, match="stands at rows 0 and 5"):
        _ = ActivationStore.open([a, b]).hashkeys
