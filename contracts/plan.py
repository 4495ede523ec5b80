"""What a set of annotated values must satisfy, compiled once and answered fast."""

from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

from jaxtyping import AbstractArray

from .axes import AtLeast, Len, Length
from .levels import Level


class Planned:
    """Marks a type that brings a plan of its own: the contracts."""

    __slots__ = ()


class Hint:
    """One annotation taken apart: its alternatives, its markers, whether None will do.

    Attributes:
        arrays: the jaxtyping alternatives.
        types: the other alternatives, None apart.
        element: what a list or sequence holds, or None.
        contract: the contract it is, or is a sequence of, or None.
        minimum: smallest sizes by axis.
        length: the axis that a list's length is, or None.
    """

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        self.optional = False
        self.arrays: list[Any] = []
        self.types: list[Any] = []
        self.minimum: dict[str, int] = {}
        self.length: Len | None = None
        self.element: Any = None
        self._take(annotation)
        self.contract = next((t for t in (*self.types, self.element) if _is(t, Planned)), None)

    def _take(self, hint: Any) -> None:
        origin, args = get_origin(hint), get_args(hint)
        if origin is Annotated:
            for marker in args[1:]:
                if isinstance(marker, AtLeast):
                    self.minimum.update(marker.sizes)
                elif isinstance(marker, Len):
                    self.length = marker
            self._take(args[0])
        elif origin in (Union, UnionType):
            for arg in args:
                self._take(arg)
        elif hint is None or hint is NoneType:
            self.optional = True
        elif _is(hint, AbstractArray):
            self.arrays.append(hint)
        else:
            self.types.append(hint)
            if _is(origin, Sequence) and origin is not tuple:
                self.element = args[0]

    @property
    def expected(self) -> str:
        """The annotation in words: `Float (B, K, T, H)`, `list of str of length B`."""
        words = [_array_words(a) for a in self.arrays]
        if self.element is not None:
            inner = Hint(self.element).expected
            words.append(
                f"list of {inner}" + (f" of length {self.length.axis}" if self.length else "")
            )
        else:
            words += [getattr(t, "__name__", str(t)) for t in self.types]
        return " or ".join(words + ["None"] * self.optional)


def _array_words(array: Any) -> str:
    """A jaxtyping annotation in words: `Float (B, K)`, `Float scalar`."""
    axes = array.dim_str.split()
    shape = f"({', '.join(axes)}{',' * (len(axes) == 1)})" if axes else "scalar"
    return f"{array.__name__.partition('[')[0]} {shape}"


class Plan:
    """The fast check of named values; the caller holds the jaxtyping context that binds the axes.

    beartype checks a fixed tuple of annotations whole and fast. It samples lists, and knows neither
    our markers nor our contracts, so those few are looked at one by one.
    """

    def __init__(self, annotations: Mapping[str, Any]) -> None:
        self.hints = {name: Hint(annotation) for name, annotation in annotations.items()}
        self._fixed = tuple.__class_getitem__(tuple(annotations.values()))
        hints = list(enumerate(self.hints.values()))
        self._lengths = [(i, h.length.hint) for i, h in hints if h.length]
        self._contracts = [(i, h.element is not None) for i, h in hints if h.contract]
        self._elements = [
            (i, h.element) for i, h in hints if isinstance(h.element, type) and not h.contract
        ]
        self._minima = [
            (i, axis, h.minimum[dim.name])
            for i, h in hints
            for array in h.arrays[:1]
            for axis, dim in enumerate(array.dims)
            if getattr(dim, "name", None) in h.minimum
        ]

    def accepts(
        self, values: Sequence[object], level: Level, nested: Callable[[Any, Level], bool]
    ) -> bool:
        """Whether every value fits its annotation, and all of them agree on the axes."""
        from beartype.door import is_bearable  # 100 ms to import: paid by the first check

        if not is_bearable(tuple(values), self._fixed):
            return False
        for i, axis, least in self._minima:
            value = cast(Any, values[i])
            if value is not None and value.shape[axis] < least:
                return False
        for i, length in self._lengths:
            value = cast(Any, values[i])
            if value is not None and not isinstance(Length(len(value)), length):
                return False
        for i, element in self._elements:
            value = cast(Any, values[i])
            if value is not None and not all(isinstance(v, element) for v in value):
                return False
        for i, many in self._contracts:
            value = cast(Any, values[i])
            inner = value if many else (value,)
            if value is not None and not all(nested(v, level) for v in inner):
                return False
        return True


def _is(hint: Any, kind: type) -> bool:
    return isinstance(hint, type) and issubclass(hint, kind)
