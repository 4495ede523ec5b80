"""Labels are joined by key, and what does not fit is named."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kview.contracts import ConfigError, LabelError
from kview.data import ActivationStore, ActivationWriter, prompt_key
from kview.data.labels import LabelledRows, join_labels


class Case:
    """A store with a row for each key, and the two files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = [prompt_key(f"p{i}") for i in range(6)]
        self.prompts = [f"p{i}" for i in range(6)]
        self.halu: list[Any] = [True, False, True, False, 1, 0]
        self.abstained: list[Any] = [False] * 6
        self.extra: dict[str, Any] = {}
        self.groups: list[str] | None = None
        self.questions: list[Any] = [f"q{i // 2}" for i in range(6)]

    def join(self, group_by: str | None = None, *, files: bool = True) -> LabelledRows:
        with ActivationWriter.create(
            self.folder / "a.zarr", layers=[0, 1], hidden_size=2, max_tokens=1, model="m"
        ) as writer:
            for row, key in enumerate(self.keys):
                writer.append(
                    np.ones((2, 1, 2), "f2"),
                    token_count=1,
                    input_length=1,
                    hashkey=key,
                    halu=row % 2,
                    group=None if self.groups is None else self.groups[row],
                )
        self.store = ActivationStore.open(self.folder / "a.zarr")
        if not files:
            return join_labels(self.store, None, None, group_by=group_by)
        lines = [
            json.dumps({"prompt": p, "question": q})
            for p, q in zip(self.prompts, self.questions, strict=True)
        ]
        generation, labels = self.folder / "generation.jsonl", self.folder / "eval_results.json"
        generation.write_text("\n".join(lines) + "\n")
        found = {"halu_test_res": self.halu, "abstantion": self.abstained, **self.extra}
        labels.write_text(json.dumps(found))
        return join_labels(self.store, generation, labels, group_by=group_by)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_rows_are_found_by_key_in_the_order_of_the_file(case: Case) -> None:
    case.keys.reverse()
    joined = case.join("question")
    assert joined.rows.tolist() == [5, 4, 3, 2, 1, 0]
    assert joined.halu.tolist() == [1, 0, 1, 0, 1, 0]
    assert joined.halu.dtype == np.int8
    assert joined.grouping.names == ["q0", "q0", "q1", "q1", "q2", "q2"]


def test_what_cannot_be_used_is_dropped_with_a_count(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    case.prompts[4] = case.prompts[0]  # both go
    case.abstained[1] = True
    case.halu[1] = None  # an abstention has no verdict
    case.keys[2] = prompt_key("another")
    with caplog.at_level(logging.WARNING, "kview.data"):
        joined = case.join()
    assert joined.rows.tolist() == [3, 5]
    assert [r.getMessage() for r in caplog.records] == [
        "2 lines are dropped: their prompt occurs several times",
        "1 lines are dropped: the model abstained",
        "1 labelled prompts have no row in the store",
        "4 rows of the store have no label and are left out",
    ]


def test_keys_with_a_request_suffix_are_found(case: Case) -> None:
    case.keys = [f"{key}_req-{i}" for i, key in enumerate(case.keys)]
    case.keys[3] = prompt_key("p3")
    assert case.join().rows.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_prompt_with_several_requests_is_left_out(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    case.keys[0] = f"{prompt_key('p1')}_a"
    case.keys[1] = f"{prompt_key('p1')}_b"
    with caplog.at_level(logging.WARNING, "kview.data"):
        assert case.join().rows.tolist() == [2, 3, 4, 5]
    assert "1 prompts are left out: several requests" in caplog.text


def test_the_stores_own_labels_need_no_files(case: Case) -> None:
    case.groups = ["a", "a", "b", "b", "c", "c"]
    joined = case.join("group", files=False)
    assert joined.rows.tolist() == list(range(6))
    assert joined.halu.tolist() == [0, 1, 0, 1, 0, 1]
    assert joined.grouping.names == case.groups


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"halu": [True] * 5}, "halu_test_res has 5 values and .* has 6 lines"),
        ({"abstained": [False] * 7}, "abstantion has 7 values"),
        ({"halu": [True, False, "yes", True, True, True]}, r"halu_test_res\[2\] \(line 3.*'yes'"),
        ({"halu": [True, False, None, True, True, True]}, r"halu_test_res\[2\]"),
        ({"extra": {"abstantion": None}}, "lists halu_test_res and abstantion"),
        ({"keys": [f"k{i}" for i in range(6)]}, "none of the 6 labelled prompts"),
        ({"prompts": ["p0", 7, "p2", "p3", "p4", "p5"]}, "line 2: not a JSON object with a prompt"),
    ],
)
def test_files_that_do_not_fit_are_named(case: Case, change: dict[str, Any], message: str) -> None:
    for name, value in change.items():
        setattr(case, name, value)
    with pytest.raises(LabelError, match=message):
        case.join()


def test_a_group_that_is_not_there_is_named(case: Case) -> None:
    with pytest.raises(ConfigError, match=r"group_by='topic': line 1 .*\['prompt', 'question'\]"):
        case.join("topic")


def test_rows_whose_group_is_null_are_groups_of_their_own(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    case.questions = [None, "q0", None, "q0", 7, "None"]
    with caplog.at_level(logging.WARNING, "kview.data"):
        groups = case.join("question").grouping.names
    assert groups == ["null in line 1", "q0", "null in line 3", "q0", "7", "None"]
    assert "2 rows have no question (null): each is a group of its own" in caplog.text


def test_a_prompt_that_is_no_text_is_named(case: Case) -> None:
    case.prompts[3] = "half a pair: \ud83d"
    with pytest.raises(LabelError, match=r"line 4: not a JSON object.*surrogates not allowed"):
        case.join()


def test_groups_without_files_are_the_stores(case: Case) -> None:
    with pytest.raises(ConfigError, match="this store has not"):
        case.join("group", files=False)


def test_one_file_alone_is_refused(case: Case) -> None:
    case.join(files=False)
    with pytest.raises(ConfigError, match="give both, or neither"):
        join_labels(case.store, case.folder / "generation.jsonl", None, group_by=None)


def test_files_that_are_missing_are_named(case: Case) -> None:
    case.join(files=False)
    with pytest.raises(LabelError, match=r"nowhere\.jsonl cannot be read"):
        join_labels(case.store, case.folder / "nowhere.jsonl", case.folder / "b", group_by=None)
