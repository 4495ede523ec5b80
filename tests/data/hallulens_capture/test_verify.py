"""Damage to a HalluLens capture is listed by `verify_store`."""

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.captures import capture, merge, read_lines, write_lines
from kview.data import verify_store


def listed(path: Path) -> list[tuple[str, int | None, int | None]]:
    return [(d.array, d.row, d.layer) for d in verify_store(path)]


def test_a_sound_capture_is_sound(tmp_path: Path) -> None:
    a = capture(lengths=[1, 3, 0, 9, 3], places=[6, 0, 3, 7, 2]).write(tmp_path / "a")
    b = capture(lengths=[1, 3, 2, 9, 3]).write(tmp_path / "b")
    c = capture(rows=4, name="riddle", allocated=4).write(tmp_path / "c")
    assert [verify_store(path) for path in (a, b, c)] == [[], [], []]
    assert verify_store(merge(tmp_path / "merged", (b, 8, 5), (c, 4, 4))) == []


def test_progress_goes_by_rows(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    verify_store(capture().write(tmp_path / "a"), lambda done, total: told.append((done, total)))
    assert told == [(n, 5) for n in range(1, 6)]


def test_values_that_are_none_are_listed(tmp_path: Path) -> None:
    written = capture(lengths=[1, 3, 2, 3, 3])
    written.activations[1, 2, 1] = np.inf
    written.activations[2, 3, :2] = 0
    written.activations[4] = 0
    written.activations[0, 1, 2] = np.nan  # behind its one token
    path = written.write(tmp_path / "a")
    name = "response_activations.npy"
    assert listed(path) == [(name, 1, 2), (name, 2, 3), (name, 4, None)]


def test_lines_of_the_log_are_listed_and_the_rest_is_still_looked_at(tmp_path: Path) -> None:
    path = capture().write(tmp_path / "a")
    log = [json.dumps(line) for line in read_lines(path / "meta.jsonl")]
    log[1] = "nonsense"
    log[3] = log[3].replace('"response_len": 3', '"response_len": 2')
    (path / "meta.jsonl").write_text("\n".join([*log, log[0]]) + "\n")
    x = np.memmap(path / "response_activations.npy", "f2", "r+", shape=(8, 4, 3, 2))
    x[2, 0, 0, 0] = np.nan
    x.flush()
    problems = [str(d) for d in verify_store(path)]
    for part, problem in zip(
        (
            "line 2 is malformed",
            "lines 1 and 6: both have sample_index 0",
            "line 4: response_len is 2",
            "response_token_ids.npy, row 3: 3 token ids are there, for a response of 2 tokens",
            "response_activations.npy, row 2, layer 0: not finite",
        ),
        problems,
        strict=True,
    ):
        assert part in problem


@pytest.mark.parametrize("name", ["prompt_activations", "response_attention", "prompt_token_ids"])
def test_files_that_are_not_read_have_their_size_checked(tmp_path: Path, name: str) -> None:
    path = capture().write(tmp_path / "a")
    (path / f"{name}.npy").write_bytes((path / f"{name}.npy").read_bytes()[:-1])
    [damage] = verify_store(path)
    assert damage.array == f"{name}.npy"
    assert "truncated" in damage.problem
    (path / f"{name}.npy").unlink()
    assert verify_store(path) == []


def test_missing_files_are_listed(tmp_path: Path) -> None:
    path = capture().write(tmp_path / "a")
    for name in ("response_activations", "prompt_len", "response_token_ids"):
        (path / f"{name}.npy").unlink()
    names = [array for array, *_ in listed(path)]
    assert names == ["response_activations.npy", "prompt_len.npy", "response_token_ids.npy"]
    (path / "config.json").write_text("{")
    assert listed(path) == [("config.json", None, None)]


def test_texts_that_are_not_the_rows_are_listed(tmp_path: Path) -> None:
    path = capture().write(tmp_path / "a")
    lines = read_lines(path / "generation.jsonl")
    lines[0]["prompt"] = "another question"
    lines[1]["prompt"] = "\ud800"
    del lines[2]["generation"]
    write_lines(path / "generation.jsonl", lines[:4])
    problems = [str(d) for d in verify_store(path)]
    assert [p.partition(", '")[0] for p in problems] == [
        "generation.jsonl: line 1: its prompt_hash is not that of its prompt",
        "generation.jsonl: line 2: its prompt_hash is not that of its prompt",
        "generation.jsonl: line 3 has no prompt_hash, prompt and generation",
        "generation.jsonl, row 2: no line has the prompt_hash of the row",
        "generation.jsonl, row 4: no line has the prompt_hash of the row",
    ]


def test_a_merge_that_is_not_whole_is_listed(tmp_path: Path) -> None:
    a = capture().write(tmp_path / "a")
    b = capture(rows=4, name="riddle", allocated=4).write(tmp_path / "b")
    path = merge(tmp_path / "merged", (a, 8, 5), (b, 4, 4))
    write_lines(path / "meta.jsonl", read_lines(path / "meta.jsonl")[:7])
    [damage] = verify_store(path)
    assert "5 + 4 rows were merged" in damage.problem
