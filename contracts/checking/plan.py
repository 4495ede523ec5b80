"""What a set of annotated values must satisfy, compiled once and answered fast."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Union, cast, get_args, get_origin

from jaxtyping import AbstractArray

from ..levels import Level
from .axes import AtLeast, Len, Length, one_table
from .rule import Rule


class Planned:
    """Marks a type that brings a plan of its own: the contracts.

    Attributes:
        rules: what its annotations cannot say.
        is_batch: it has a number of samples of its own, which others beside it need not share.
    """

    __slots__ = ()
    rules: ClassVar[tuple[Rule, ...]] = ()
    is_batch: ClassVar[bool] = False


class Hint:
    """One annotation taken apart: its alternatives, its markers, whether None will do.

    Attributes:
        annotation: the whole of it.
        outside: the same without what lists hold, which beartype would sample at random.
        arrays: the jaxtyping alternatives.
        contracts: the alternatives that are contracts.
        types: all other alternatives, None apart.
        element: what a list or sequence holds, or None.
        parts: what a tuple of fixed length holds, or None.
        minimum: smallest sizes by axis.
        length: the axis that a list's length is, or None.
        apart: it is a batch with sizes of its own, not on the table that the others share.

    Raises:
        TypeError: a contract hides where it could not be checked, as in `dict[str, KViewBatch]`.
    """

    def __init__(self, annotation: Any, *, apart: bool = False) -> None:
        self.annotation = annotation
        self.outside = _outside(annotation)
        self.optional = False
        self.arrays: list[Any] = []
        self.contracts: list[type[Planned]] = []
        self.types: list[Any] = []
        self.minimum: dict[str, int] = {}
        self.length: Len | None = None
        self.parts: tuple[Hint, ...] | None = None
        self._elements: list[Any] = []
        self._take(annotation, apart)
        self.apart = apart and any(contract.is_batch for contract in self.contracts)
        self.element = (
            Hint(Union[tuple(self._elements)], apart=True)  # noqa: UP007
            if self._elements
            else None
        )

    def _take(self, hint: Any, apart: bool) -> None:
        origin, args = get_origin(hint), get_args(hint)
        if origin is Annotated:
            for marker in args[1:]:
                if isinstance(marker, AtLeast):
                    self.minimum.update(marker.sizes)
                elif isinstance(marker, Len):
                    self.length = marker
            self._take(args[0], apart)
        elif origin in (Union, UnionType):
            for arg in args:
                self._take(arg, apart)
        elif hint is None or hint is NoneType:
            self.optional = True
        elif is_kind(hint, AbstractArray):
            self.arrays.append(hint)
        elif is_kind(hint, Planned):
            self.contracts.append(hint)
        else:
            self.types.append(hint)
            if is_kind(origin, Sequence) and (origin is not tuple or args[1:] == (...,)):
                self._elements.append(args[0])
            elif origin is tuple and not self.parts:
                self.parts = tuple(Hint(arg, apart=apart) for arg in args)
            elif any(map(_mentions_contract, args)):
                raise TypeError(
                    f"{hint} hides a contract where it cannot be checked: take or return it "
                    "directly, in a list, or in a tuple"
                )

    @property
    def refuses_letters(self) -> bool:
        """A list or sequence is asked for; a string is one too, but of letters."""
        return self.element is not None and str not in self.types

    @property
    def expected(self) -> str:
        """The annotation in words: `Float (B, K, T, H)`, `list of str of length B`."""
        words = [_array_words(a) for a in self.arrays]
        words += [c.__name__ for c in self.contracts]
        words += [self._type_words(t) for t in self.types]
        return " or ".join(words + ["None"] * self.optional)

    def _type_words(self, hint: Any) -> str:
        name = getattr(get_origin(hint) or hint, "__name__", str(hint))
        if self.element is not None and get_args(hint):
            length = f" of length {self.length.axis}" if self.length else ""
            return f"{name} of {self.element.expected}{length}"
        if self.parts is not None:
            return f"{name} of ({', '.join(part.expected for part in self.parts)})"
        return name


def _array_words(array: Any) -> str:
    """A jaxtyping annotation in words: `Float (B, K)`, `Float scalar`."""
    axes: list[str] = array.dim_str.split()
    shape = f"({', '.join(axes)}{',' * (len(axes) == 1)})" if axes else "scalar"
    return f"{array.__name__.partition('[')[0]} {shape}"


class Plan:
    """The fast check of named values; the caller holds the table that binds the axes.

    beartype checks a fixed tuple of annotations whole and fast. It samples lists (with Python's
    `random`, whose state a check must leave alone), and knows neither our markers nor our
    contracts, so those few are looked at one by one.
    """

    def __init__(self, hints: Mapping[str, Hint]) -> None:
        self.hints = hints
        fixed = tuple.__class_getitem__(tuple(h.outside for h in self.hints.values()))
        # beartype takes tuples that print alike for one hint, as those of a class and of the same
        # class defined again by a notebook's cell do; with a plan's own mark they do not
        self._fixed: Any = Annotated[fixed, self]
        places = list(enumerate(hints.values()))
        self._not_letters = [i for i, h in places if h.refuses_letters]
        self._lengths = [(i, h.length.array) for i, h in places if h.length]
        self._contracts = [(i, h.apart) for i, h in places if h.contracts]
        self._tuples = [
            (i, Plan({str(n): part for n, part in enumerate(h.parts)}))
            for i, h in places
            if h.parts is not None
        ]
        self._plain = [
            (i, classes) for i, h in places if h.element and (classes := _plain(h.element))
        ]
        self._elements = [
            (i, Plan({"": h.element})) for i, h in places if h.element and not _plain(h.element)
        ]
        self._minima = [
            (i, axis, h.minimum[dim.name])
            for i, h in places
            for array in h.arrays[:1]
            for axis, dim in enumerate(array.dims)
            if getattr(dim, "name", None) in h.minimum
        ]

    def accepts(
        self, values: Sequence[Any], level: Level, nested: Callable[[Any, Level], bool]
    ) -> bool:
        """Whether every value fits its annotation, and all of them agree on the axes.

        Args:
            nested: answers for a contract among the values.
        """
        from beartype.door import is_bearable  # 100 ms to import: paid by the first check

        if not is_bearable(tuple(values), self._fixed):
            return False
        if any(isinstance(values[i], str) for i in self._not_letters):
            return False
        for i, axis, least in self._minima:
            shape = getattr(values[i], "shape", None)
            if shape is not None and shape[axis] < least:
                return False
        for i, length in self._lengths:
            value = values[i]
            if is_sequence(value) and not isinstance(Length(len(value)), length):
                return False
        for i, classes in self._plain:
            value = values[i]
            if is_sequence(value) and not all(isinstance(v, classes) for v in value):
                return False
        for i, apart in self._contracts:
            value = values[i]
            if isinstance(value, Planned):
                with one_table() if apart else nullcontext():
                    if not nested(value, level):
                        return False
        for i, plan in self._tuples:
            value = values[i]
            if isinstance(value, tuple) and not plan.accepts(
                cast(tuple[Any, ...], value), level, nested
            ):
                return False
        return all(
            plan.accepts((element,), level, nested)
            for i, plan in self._elements
            if is_sequence(values[i])
            for element in values[i]
        )


def _outside(hint: Any) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _outside(args[0])
    if origin in (Union, UnionType):
        return Union[tuple(map(_outside, args))]  # noqa: UP007
    if origin is tuple and args[1:] != (...,):
        return tuple.__class_getitem__(tuple(map(_outside, args)))
    return origin if is_kind(origin, Sequence) else hint


def _plain(hint: Hint) -> tuple[Any, ...]:
    """The classes that say all there is to say about a list's elements, or none."""
    classes = (*hint.types, *hint.arrays)
    is_all = not (hint.contracts or hint.optional or hint.minimum or hint.element or hint.parts)
    return classes if is_all and all(isinstance(c, type) for c in classes) else ()


def is_kind(hint: Any, kind: type) -> bool:
    """Whether an annotation is a class of this kind."""
    return isinstance(hint, type) and issubclass(hint, kind)


def is_sequence(value: object) -> bool:
    """Whether a value is a sequence of things, not of letters."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def _mentions_contract(hint: Any) -> bool:
    return is_kind(hint, Planned) or any(map(_mentions_contract, get_args(hint)))
