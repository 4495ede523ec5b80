"""`outcome`: what an action gives, or whatever it raises."""

from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")


def outcome(action: Callable[[], R]) -> R | Exception:
    """What an action gives, or the error that it ends in.

    For looking at what somebody else made: a tensor of an odd kind, a lazy array, an encoder under
    test may raise anything at all, and a report is to say so.
    """
    try:
        return action()
    except Exception as error:  # noqa: BLE001
        return error


def words(error: Exception) -> str:
    """An error in one line: its type, and the first line of its message."""
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
