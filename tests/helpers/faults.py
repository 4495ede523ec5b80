"""Errors that are raised at the n-th system call that changes files."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CALLS = ("open", "write", "fsync", "replace", "ftruncate", "truncate", "unlink", "mkdir", "close")


class KilledError(BaseException):
    """Stands for a kill: whoever sees it must leave everything as it is."""


class Faults:
    """Raises at one of the system calls that follow.

    Attributes:
        calls: how many there were.
    """

    def __init__(self, error: BaseException | None, at: int, *, after: bool) -> None:
        self.calls = 0
        self._error, self._at, self._after = error, at, after

    def wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self._error is None or self.calls != self._at:
                return call(*args, **kwargs)
            if name == "close":  # what was opened is closed, or the test would run out of files
                call(*args, **kwargs)
            elif self._after and name == "write":
                call(args[0], args[1][: len(args[1]) // 2])
            elif self._after:
                result = call(*args, **kwargs)
                if name == "open":
                    os.close(result)
            raise self._error

        return wrapped


@contextmanager
def fault(
    error: BaseException | None = None, at: int = 0, *, after: bool = False
) -> Iterator[Faults]:
    """Counts system calls, and raises an error at one of them.

    Args:
        error: to raise; None only counts.
        at: the number of the call, from 1 on.
        after: the call has been done, or half done if it writes.
    """
    faults = Faults(error, at, after=after)
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            plain = (lambda fd: None) if name == "fsync" else getattr(os, name)
            patch.setattr(os, name, faults.wrap(name, plain))
        yield faults
