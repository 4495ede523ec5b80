"""The examples in docs/evaluating.md run as they stand."""

import re

import pytest

from helpers.paths import DOCS

PAGE = DOCS / "evaluating.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_example_runs(number, capsys):
    exec(compile(EXAMPLES[number], f"{PAGE.name}[{number}]", "exec"), {"__name__": "example"})
    figures = [float(word) for word in capsys.readouterr().out.split()]
    assert figures
    assert all(-1 <= figure <= 1 for figure in figures)


def test_there_are_examples():
    assert len(EXAMPLES) == 2
