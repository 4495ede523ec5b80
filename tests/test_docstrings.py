"""The examples in the rooms' docstrings run as they stand."""

import ast
import doctest
import tempfile
from pathlib import Path

import pytest

from helpers.paths import ROOMS, ROOT

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
HAVE_DOCSTRINGS = (ast.Module, ast.ClassDef, ast.FunctionDef)


def examples(path: Path) -> list[doctest.DocTest]:
    """A file's docstrings that hold examples.

    They are read from the source: doctest's own search passes over what a decorator has wrapped.
    """
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, HAVE_DOCSTRINGS) and ">>>" in (text := ast.get_docstring(node) or ""):
            name = getattr(node, "name", path.stem)
            line = getattr(node, "lineno", 0)
            found.append(
                doctest.DocTestParser().get_doctest(
                    text, {"__name__": "__main__"}, name, str(path), line
                )
            )
    return found


def every_example() -> list[doctest.DocTest]:
    return [
        e for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")) for e in examples(path)
    ]


def failures(example: doctest.DocTest) -> int:
    """How many of its lines print something else; what they print instead goes to stdout."""
    return doctest.DocTestRunner(optionflags=FLAGS).run(example).failed


for_every_example = pytest.mark.parametrize(
    "example", every_example(), ids=lambda e: f"{Path(e.filename).relative_to(ROOT)}:{e.name}"
)


@for_every_example
def test_the_example_runs(
    example: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert failures(example) == 0


@for_every_example
def test_the_site_shows_the_example_as_code(example: doctest.DocTest) -> None:
    """It knows the heading `Examples:`; under any other it would be prose."""
    assert "Examples:\n" in (example.docstring or "")


def test_a_wrong_example_is_found(tmp_path: Path) -> None:
    path = tmp_path / "planted.py"
    path.write_text(
        "def good():\n"
        "    '''Text.\n\n    >>> 1 + 1\n    2\n    '''\n\n"
        "@wrapped\n"
        "def bad():\n"
        "    '''Text.\n\n    >>> 1 + 1\n    3\n    '''\n"
    )
    assert {e.name: failures(e) for e in examples(path)} == {"good": 0, "bad": 1}
