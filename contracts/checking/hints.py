"""Annotations by kind: what each accepts, and beside it how it says what is wrong."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from itertools import chain
from types import NoneType, UnionType
from typing import Annotated, Any, Protocol, Union, cast, get_args, get_origin

from jaxtyping import AbstractArray

from .arrays import Arrays
from .axes import AtLeast, Len, Length, one_table
from .bearable import fits, marked
from .report import Report
from .rule import Ruled

Accepts = Callable[[Any], bool]
"""Answers for a contract found inside a value."""

Explains = Callable[[Any, str], None]
"""Reads a contract found inside a value into the report, under a name."""


class Kind(Protocol):
    """One kind of annotation.

    Attributes:
        outside: the alternatives as beartype is to check them, without what lists hold: it would
            sample that.
        words: the annotation in words, as a report says it.
        classes: the classes that say all there is to say, or none.
        needs_look: beartype does not see all of it, so `accepts` has to.
    """

    outside: tuple[Any, ...]
    words: str
    classes: tuple[Any, ...]
    needs_look: bool

    def owns(self, value: Any) -> bool:
        """Whether a value is of this kind, right or wrong."""
        ...

    def accepts(self, value: Any, nested: Accepts) -> bool:
        """The fast answer for a value that it owns and that beartype lets pass."""
        ...

    def explain(self, report: Report, name: str, value: Any, nested: Explains) -> None:
        """The slow answer for a value that it owns: adds what is wrong, and sizes, to a report."""
        ...


class Contracts:
    """The alternatives that are contracts.

    Args:
        alternatives: the contracts.
        apart: they are batches with sizes of their own, not on the table that the others share.
    """

    classes = ()
    needs_look = True

    def __init__(self, alternatives: Sequence[type[Ruled]], apart: bool) -> None:
        self.outside = tuple(alternatives)
        self.apart = apart and any(contract.is_batch for contract in alternatives)
        self.words = " or ".join(contract.__name__ for contract in alternatives)

    def owns(self, value: object) -> bool:
        return isinstance(value, self.outside)

    def accepts(self, value: Ruled, nested: Accepts) -> bool:
        with one_table() if self.apart else nullcontext():
            return nested(value)

    def explain(self, report: Report, name: str, value: Ruled, nested: Explains) -> None:
        with report.apart(name) if self.apart else nullcontext():
            nested(value, name)


class Elements:
    """Lists and sequences of something, `Sequence[KViewItem]`: each element is looked at.

    A string is a sequence, too, but of letters.

    Args:
        alternatives: `list[str]`, `Sequence[KViewItem]`, `tuple[int, ...]`.
        length: the axis that their length is, or None.
    """

    classes = ()
    needs_look = True

    def __init__(self, alternatives: Sequence[Any], length: Len | None) -> None:
        self.outside = tuple(get_origin(a) for a in alternatives)
        element = Union[tuple(get_args(a)[0] for a in alternatives)]  # noqa: UP007
        self.element = Hint(element, apart=True)
        self.length = length
        names = " or ".join(kind.__name__ for kind in self.outside)
        of_length = f" of length {length.axis}" if length else ""
        self.words = f"{names} of {self.element.expected}{of_length}"

    def owns(self, value: object) -> bool:
        return isinstance(value, self.outside) and not isinstance(value, str)

    def accepts(self, value: Sequence[Any], nested: Accepts) -> bool:
        if self.length and not isinstance(Length(len(value)), self.length.array):
            return False
        if classes := self.element.classes:
            return all(isinstance(v, classes) for v in value)
        return all(self.element.fits(v) and self.element.accepts(v, nested) for v in value)

    def explain(self, report: Report, name: str, value: Sequence[Any], nested: Explains) -> None:
        if self.length:
            report.put(self.length.axis, name, len(value))
        for i, element in enumerate(value):
            self.element.explain(report, f"{name}[{i}]", element, nested)


class FixedTuple:
    """A tuple of so many parts: `tuple[KViewBatch, Float[Tensor, "B D"]]`."""

    classes = ()

    def __init__(self, hint: Any, apart: bool) -> None:
        self.parts = [Hint(part, apart=apart) for part in get_args(hint)]
        self.outside = (tuple.__class_getitem__(tuple(part.outside for part in self.parts)),)
        self.words = f"tuple of ({', '.join(part.expected for part in self.parts)})"
        self.needs_look = any(part.needs_look for part in self.parts)

    def owns(self, value: object) -> bool:
        return isinstance(value, tuple) and len(cast(Any, value)) == len(self.parts)

    def accepts(self, value: tuple[Any, ...], nested: Accepts) -> bool:
        return all(part.accepts(v, nested) for part, v in zip(self.parts, value, strict=True))

    def explain(self, report: Report, name: str, value: tuple[Any, ...], nested: Explains) -> None:
        for i, (part, v) in enumerate(zip(self.parts, value, strict=True)):
            part.explain(report, f"{name}[{i}]", v, nested)


class Plain:
    """Whatever beartype checks whole: `str`, `dict[str, int]`, a class.

    Raises:
        TypeError: a contract hides in it, where it would not be checked.
    """

    needs_look = False

    def __init__(self, hint: Any) -> None:
        if any(map(_mentions_contract, get_args(hint))):
            raise TypeError(
                f"{hint} hides a contract where it cannot be checked: take or return it directly, "
                "in a list, or in a tuple"
            )
        self.outside = (hint,)
        self.words = getattr(get_origin(hint) or hint, "__name__", str(hint))
        self.classes = (hint,) if isinstance(hint, type) and hint is not float else ()

    def owns(self, value: object) -> bool:
        with one_table():
            return fits(value, self.outside[0])

    def accepts(self, value: object, nested: Accepts) -> bool:
        return True

    def explain(self, report: Report, name: str, value: object, nested: Explains) -> None:
        """What is owned is right."""


class Hint:
    """One annotation taken apart: its alternatives by kind, and whether None will do.

    Attributes:
        kinds: the alternatives; a value is judged by the first that owns it.
        contracts: the alternatives that are contracts.
        outside: what beartype is to check.
        expected: the annotation in words: `Float (B, K) or None`, `list of str of length B`.
        classes: the classes that say all there is to say, or none.
        needs_look: beartype does not see all of it, so `accepts` has to.

    Raises:
        TypeError: a contract hides where it could not be checked, as in `dict[str, KViewBatch]`.
    """

    def __init__(self, annotation: Any, *, apart: bool = False) -> None:
        alternatives, markers = _taken_apart(annotation)
        self.contracts = tuple(a for a in alternatives if _is_kind(a, Ruled))
        self.kinds = _kinds(alternatives, markers, apart)
        self.is_optional = NoneType in alternatives
        outside = [alternative for kind in self.kinds for alternative in kind.outside]
        words = [kind.words for kind in self.kinds]
        classes = [kind.classes for kind in self.kinds]
        if self.is_optional:
            outside, words, classes = [*outside, None], [*words, "None"], [*classes, (NoneType,)]
        self.outside: Any = Union[tuple(outside)]  # noqa: UP007
        self.expected = " or ".join(words)
        self.classes = tuple(chain(*classes)) if all(classes) else ()
        self.needs_look = any(kind.needs_look for kind in self.kinds)
        self._marked: Any = marked(self.outside, self)

    def fits(self, value: object) -> bool:
        """Whether beartype lets it pass."""
        return fits(value, self._marked)

    def accepts(self, value: object, nested: Accepts) -> bool:
        """What is left to ask of a value that beartype lets pass."""
        if value is None and self.is_optional:
            return True
        for kind in self.kinds:
            if kind.owns(value):
                return kind.accepts(value, nested)
        return False

    def explain(self, report: Report, name: str, value: object, nested: Explains) -> None:
        """Adds what is wrong with a value on its own, and its sizes, to the report."""
        if value is None and self.is_optional:
            return
        report.see(name, self.expected, value)
        for kind in self.kinds:
            if kind.owns(value):
                kind.explain(report, name, value, nested)
                return
        advice = ""
        if self.contracts and isinstance(value, Mapping):
            advice = f"; {self.contracts[0].__name__}.from_dict(...) builds one from a dict"
        report.refuse(name, "type", advice)


def _taken_apart(hint: Any) -> tuple[list[Any], list[Any]]:
    """An annotation's alternatives, and its markers."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        alternatives, markers = _taken_apart(args[0])
        return alternatives, [*markers, *args[1:]]
    if origin in (Union, UnionType):
        parts = [_taken_apart(arg) for arg in args]
        return [a for p in parts for a in p[0]], [m for p in parts for m in p[1]]
    return [NoneType if hint is None else hint], []


def _kinds(alternatives: Sequence[Any], markers: Sequence[Any], apart: bool) -> list[Kind]:
    minimum = {axis: n for m in markers if isinstance(m, AtLeast) for axis, n in m.sizes.items()}
    length = next((m for m in markers if isinstance(m, Len)), None)
    found: dict[type, list[Any]] = {}
    for alternative in alternatives:
        found.setdefault(_kind_of(alternative), []).append(alternative)
    kinds: list[Kind] = []
    if Arrays in found:
        kinds.append(Arrays(found[Arrays], minimum))
    if Contracts in found:
        kinds.append(Contracts(found[Contracts], apart))
    if Elements in found:
        kinds.append(Elements(found[Elements], length))
    kinds += [FixedTuple(alternative, apart) for alternative in found.get(FixedTuple, [])]
    kinds += [Plain(alternative) for alternative in found.get(Plain, [])]
    return kinds


def _kind_of(alternative: Any) -> type:
    origin, args = get_origin(alternative), get_args(alternative)
    if alternative is NoneType:
        return NoneType
    if _is_kind(alternative, AbstractArray):
        return Arrays
    if _is_kind(alternative, Ruled):
        return Contracts
    if origin is tuple and args[1:] != (...,):
        return FixedTuple
    return Elements if _is_kind(origin, Sequence) else Plain


def _is_kind(hint: Any, kind: type) -> bool:
    return isinstance(hint, type) and issubclass(hint, kind)


def _mentions_contract(hint: Any) -> bool:
    return _is_kind(hint, Ruled) or any(map(_mentions_contract, get_args(hint)))
