"""How long work says how far it is: a function of what is done, how much of it, and of how much."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


Count = Callable[[int, int], None]
"""The same of one thing: called with how much is done, and how much there is."""


def silent(what: str, done: int, total: int) -> None:
    """Says nothing."""


def uncounted(done: int, total: int) -> None:
    """Says nothing."""
