"""`pytest --kview-checks=full`: the level of checking for a test run and all its processes."""

import os
from typing import get_args

import pytest

from .levels import VARIABLE, Level


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option."""
    parser.addoption(
        "--kview-checks",
        choices=get_args(Level),
        help=f"how much kview checks: off, shape or full; default: {VARIABLE}, else shape",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Puts the level where threads and processes of either start method find it."""
    level: str | None = config.getoption("--kview-checks")
    if level is not None:
        before = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = level
        config.add_cleanup(lambda: _restore(before))


def pytest_report_header(config: pytest.Config) -> str | None:
    """Says the level where one was asked for."""
    level: str | None = config.getoption("--kview-checks")
    return None if level is None else f"kview checks: {level}"


def _restore(before: str | None) -> None:
    if before is None:
        del os.environ[VARIABLE]
    else:
        os.environ[VARIABLE] = before
