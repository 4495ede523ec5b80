"""How much is checked: `off`, `shape` or `full`."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, cast, get_args

from .errors import ConfigError

Level = Literal["off", "shape", "full"]

VARIABLE = "KVIEW_CHECKS"
_LEVELS = get_args(Level)
_local: ContextVar[Level | None] = ContextVar("kview_checks", default=None)


def current_level() -> Level:
    """The level in force here: the innermost `checks(...)`, else KVIEW_CHECKS, else `shape`."""
    local = _local.get()
    if local is not None:
        return local
    return _known(os.environ.get(VARIABLE, "shape"), VARIABLE)


@contextmanager
def checks(level: Level) -> Generator[None, None, None]:
    """Sets the level inside a `with` block, for this thread and the processes it forks.

    Blocks nest. Spawned processes and new threads do not inherit the block; the environment
    variable KVIEW_CHECKS reaches all of them, and kview's own loader hands its level to workers.

    Args:
        level: `off`; `shape` for shapes, dtypes, lengths and cheap value rules; `full` for every
            rule on every device, finite activations included.

    Raises:
        ConfigError: the level is none of these.

    Examples:
        >>> from kview.contracts import checks, current_level
        >>> with checks("full"):
        ...     current_level()
        'full'
    """
    token = _local.set(_known(level, "checks(...)"))
    try:
        yield
    finally:
        _local.reset(token)


def _known(level: str, source: str) -> Level:
    if level not in _LEVELS:
        raise ConfigError(f"{source} is {level!r}; it takes one of {', '.join(_LEVELS)}")
    return cast(Level, level)
