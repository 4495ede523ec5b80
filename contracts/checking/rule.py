"""What a rule beyond shape and dtype is, and what has such rules."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule beyond shape and dtype, written once for the fast check and for the report.

    Attributes:
        fields: the fields it reads; it is skipped while one of them is malformed.
        name: its short name.
        expected: what the contract asks for.
        holds: whether a contract keeps it; the fields may still disagree on their sizes.
        got: what came, asked for only where it does not hold.
        full: checked at level `full` only.
        reads_values: it reads tensors' values, so below `full` it runs on the CPU only.
    """

    fields: tuple[str, ...]
    name: str
    expected: str
    holds: Callable[[Any], bool]
    got: Callable[[Any], str]
    full: bool = False
    reads_values: bool = True


class Ruled:
    """Marks a type whose annotated fields and rules are checked: the contracts.

    Attributes:
        rules: what its annotations cannot say.
        is_batch: it has a number of samples of its own, which others beside it need not share.
    """

    __slots__ = ()
    rules: ClassVar[tuple[Rule, ...]] = ()
    is_batch: ClassVar[bool] = False
