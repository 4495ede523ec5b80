"""beartype, as contracts ask it: only from the first check on, and about marked annotations."""

from collections.abc import Callable
from functools import cache, partial
from typing import Annotated, Any


def fits(value: object, hint: Any) -> bool:
    """Whether beartype lets a value pass, to which an int is a float, but a bool is none."""
    return _bearable()(value, hint)


def marked(hint: Any, owner: object) -> Any:
    """An annotation that is its owner's alone.

    beartype takes hints that print alike for one, as those of a class and of the same class defined
    again by a notebook's cell do.
    """
    return Annotated[hint, owner]


@cache
def _bearable() -> Callable[[Any, Any], bool]:
    from beartype import BeartypeConf, FrozenDict  # 100 ms: paid by the first check
    from beartype.door import is_bearable
    from beartype.vale import IsInstance

    number = Annotated[float | int, ~IsInstance[bool]]
    return partial(is_bearable, conf=BeartypeConf(hint_overrides=FrozenDict({float: number})))
