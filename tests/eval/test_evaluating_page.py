"""The examples in docs/evaluating.md run as they stand."""

import re

import pytest

from helpers.paths import DOCS

PAGE = DOCS / "evaluating.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_example_runs(number, capsys):
    exec(compile(EXAMPLES[number], f"{PAGE.name}[{number}]", "exec"), {"__name__": "example"})
    values = [float(word) for word in capsys.readouterr().out.split()]
    assert values
    assert all(-1 <= value <= 1 for value in values)


def test_there_are_examples():
    assert len(EXAMPLES) == 2
