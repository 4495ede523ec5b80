"""The page on contracts: its code runs, and its reports are what the code gives."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from helpers.paths import DOCS
from kview.contracts import ContractError

PAGE = DOCS / "contracts.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> Iterator[tuple[str, str | None]]:
    """Each block of Python with the report that follows it, if one does."""
    found = [(m.group(1), m.group(2)) for m in BLOCK.finditer(PAGE.read_text())]
    for (kind, code), (following, text) in zip(found, [*found[1:], ("", "")], strict=True):
        if kind == "python":
            yield code, text if following == "text" else None


def test_the_page_is_true() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    reports = 0
    for code, report in blocks():
        program = compile(code, f"<{PAGE.name}>", "exec")  # no file whose source could be asked for
        if report is None:
            exec(program, namespace)
            continue
        with pytest.raises(ContractError) as error:
            exec(program, namespace)
        assert str(error.value) == report.rstrip("\n")
        reports += 1
    assert reports == 3
    for name, thing in list(namespace.items()):
        if name.startswith("test_"):
            thing()
