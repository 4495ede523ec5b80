"""What rows are grouped by."""

from pathlib import Path

import numpy as np
import pytest

from kview.contracts import ConfigError, LabelError
from kview.data import ActivationParser, ActivationWriter


def store(path: Path, prompts: list[str | None], groups: list[str] | None = None) -> Path:
    with ActivationWriter.create(
        path, layers=[0, 1], hidden_size=2, max_tokens=1, model="m"
    ) as writer:
        for row, prompt in enumerate(prompts):
            writer.append(
                np.ones((2, 1, 2), "f2"),
                token_count=1,
                input_length=1,
                hashkey=f"k{row}",
                halu=row % 2,
                group=None if groups is None else groups[row],
                prompt=prompt,
                response=None if prompt is None else f"answer {row}",
            )
    return path


def parse(path: Path, group_by: str | None) -> ActivationParser:
    return ActivationParser(None, None, path, split_strategy="none", group_by=group_by)


PROMPTS = ["p", "q", "p", None, None, "r"]
GROUPS = ["a", "a", "b", "b", "c", "c"]


def test_auto_takes_the_stores_own_groups_first(tmp_path):
    parser = parse(store(tmp_path / "s", PROMPTS, GROUPS), "auto")
    assert (parser.grouped_by, parser.groups) == ("group", GROUPS)


@pytest.mark.parametrize("groups", [None, list("abcdef"), ["all"] * 6])
def test_auto_takes_equal_prompts_where_groups_tie_nothing_together(groups, tmp_path):
    parser = parse(store(tmp_path / "s", PROMPTS, groups), "auto")
    assert parser.grouped_by == "prompt"
    assert parser.groups is not None
    same = [[a == b for b in parser.groups] for a in parser.groups]
    assert same == [
        [i == j or (i, j) in ((0, 2), (2, 0)) for j in range(6)] for i in range(6)
    ]  # rows without a prompt are alone


@pytest.mark.parametrize("prompts", [[None] * 4, list("abcd")])
def test_auto_groups_nothing_where_nothing_repeats(prompts, tmp_path):
    parser = parse(store(tmp_path / "s", prompts), "auto")
    assert (parser.grouped_by, parser.groups) == (None, None)


def test_python_groups_nothing_unless_it_is_told_to(tmp_path):
    path = store(tmp_path / "s", PROMPTS, GROUPS)
    assert parse(path, None).groups is None
    assert parse(path, "prompt").grouped_by == "prompt"


def test_prompts_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="by `prompt`, which are not in it"):
        parse(store(tmp_path / "s", [None] * 4), "prompt")


def test_texts_are_read_once_for_groups_and_for_what_repeats(tmp_path, monkeypatch):
    parser = parse(store(tmp_path / "s", PROMPTS), "auto")
    monkeypatch.setattr(parser.store, "texts", lambda: pytest.fail("read again"))
    assert parser.text_fields["prompt"].tolist() == [0, 1, 0, -1, -1, 2]


def test_groups_that_cannot_be_split_are_named(tmp_path):
    path = store(tmp_path / "s", ["p", "q"] * 10)
    with pytest.raises(LabelError) as error:
        ActivationParser(None, None, path, group_by="auto")
    assert "rows with one `prompt` stay on one side" in error.value.__notes__[0]
