"""The fast check of many named values at once."""

from collections.abc import Mapping, Sequence
from typing import Any

from .bearable import fits, marked
from .hints import Accepts, Hint
from .outcome import outcome


class Plan:
    """What a set of named values must satisfy; the caller holds the table that binds the axes.

    beartype checks a fixed tuple of annotations whole and fast. It samples lists (with Python's
    `random`, whose state a check must leave alone), and knows neither our markers nor our
    contracts, so those few are looked at one by one.
    """

    def __init__(self, hints: Mapping[str, Hint]) -> None:
        self.hints = hints
        outside = tuple(hint.outside for hint in hints.values())
        self._fixed = marked(tuple.__class_getitem__(outside), self)
        self._looks = [(i, h.accepts) for i, h in enumerate(hints.values()) if h.needs_look]

    def accepts(self, values: Sequence[Any], nested: Accepts) -> bool:
        """Whether every value fits its annotation, and all of them agree on the axes.

        A value that cannot be looked at does not.

        Args:
            nested: answers for a contract among the values.
        """
        accepted = outcome(
            lambda: (
                fits(tuple(values), self._fixed)
                and all(look(values[i], nested) for i, look in self._looks)
            )
        )
        return accepted is True
