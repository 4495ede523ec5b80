"""Collects everything that is wrong with a set of annotated values into one ContractError."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar, cast, get_origin

import torch
from torch import Tensor

from ..errors import ContractError, Violation, listed
from .axes import one_table
from .plan import Hint, is_sequence

R = TypeVar("R")
Size = int | tuple[int, ...]
Nested = Callable[[Any, str], None]

_LINES = 20


class Report:
    """Violations and the table of axes, filled value by value.

    Attributes:
        violations: what is wrong so far.
        axes: size by field, for each axis: `axes["K"]["views_activations"] == 4`.
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.violations: list[Violation] = []
        self.axes: dict[str, dict[str, Size]] = {}
        self._scope = ""
        self._seen: list[tuple[str, str, str]] = []  # name, expected, got

    def add(self, fields: tuple[str, ...], rule: str, expected: str, got: str) -> None:
        """Adds one violation."""
        self.violations.append(Violation(fields, rule, expected, got))

    def put(self, axis: str, name: str, size: Size) -> None:
        """Puts one size on the table of axes."""
        self.axes.setdefault(axis + self._scope, {})[name] = size

    def read(self, name: str, hint: Hint, value: object, nested: Nested) -> None:
        """Adds what is wrong with one value on its own, and its sizes to the table of axes.

        Args:
            nested: reads a contract found inside, under the given name.
        """
        if value is None and hint.optional:
            return
        self._seen.append((name, hint.expected, describe(value)))
        if any(_is_array(a, value) for a in hint.arrays):
            self._read_array(name, hint, value)
        elif hint.contracts and isinstance(value, tuple(hint.contracts)):
            with self._apart(name) if hint.apart else nullcontext():
                nested(value, name)
        elif hint.element is not None and is_sequence(value):
            self._read_list(name, hint, cast(Sequence[Any], value), nested)
        elif hint.parts is not None and isinstance(value, tuple):
            self._read_tuple(name, hint, cast(tuple[Any, ...], value), nested)
        elif (isinstance(value, str) and hint.refuses_letters) or not _fits(value, hint):
            self._refuse(name, hint, value)

    def error(self) -> ContractError:
        """The error with all violations; sizes that disagree are one violation an axis."""
        violations = [*self.violations, *self._disagreements()] or [self._unexplained()]
        count = "1 rule" if len(violations) == 1 else f"{len(violations)} rules"
        lines = [f"{self.subject} breaks {count} of its contract:"]
        lines += [f"  - {violation}" for violation in violations[:_LINES]]
        if len(violations) > _LINES:
            lines.append(f"  ... and {len(violations) - _LINES} more, in .violations")
        rows = [
            f"  {axis}: {_row(sizes)}"
            for axis, sizes in self.axes.items()
            if _disagree(sizes) or " of " not in axis
        ]
        lines += ["sizes by axis:", *rows] if rows else []
        return ContractError("\n".join(lines), tuple(violations))

    def attempt(self, name: str, action: Callable[[], R]) -> R | None:
        """What an action gives, or None after adding how it breaks a contract, under `name`."""
        try:
            return action()
        except ContractError as error:
            for violation in error.violations:
                fields = tuple(f"{name}.{field}" for field in violation.fields)
                self.add(fields, violation.rule, violation.expected, violation.got)
            return None

    def raise_if_any(self) -> None:
        """Raises the error if there is anything in it."""
        if self.violations or any(self._disagreements()):
            raise self.error()

    @contextmanager
    def _apart(self, scope: str) -> Generator[None, None, None]:
        """Inside, axes belong to `scope` alone: its sizes need not agree with those outside."""
        outer, self._scope = self._scope, f" of {scope}"
        yield
        self._scope = outer

    def _disagreements(self) -> Iterator[Violation]:
        for axis, sizes in self.axes.items():
            if _disagree(sizes):
                yield Violation(tuple(sizes), f"axis {axis}", "one size", grouped(sizes))

    def _unexplained(self) -> Violation:
        """Of values that fit one by one, where only jaxtyping knows why not together: `B+1`."""
        names, expected, got = (tuple(column) for column in zip(*self._seen, strict=True))
        return Violation(names, "together", listed(expected), listed(got))

    def _read_array(self, name: str, hint: Hint, value: Any) -> None:
        ranked = [a for a in hint.arrays if _is_array(a, value) and _has_rank(a, value.ndim)]
        if not ranked:
            self.add((name,), "rank", hint.expected, describe(value))
            return
        typed = [a for a in ranked if _has_dtype(a, value)]
        if not typed:
            self.add((name,), "dtype", hint.expected, describe(value))
        elif not any(_has_fixed_sizes(a, value) for a in typed):
            self.add((name,), "size", hint.expected, describe(value))
        for axis, size in _named_sizes((typed or ranked)[0], value):
            self.put(axis, name, size)
            if isinstance(size, int) and size < hint.minimum.get(axis, 0):
                expected = f"{axis} >= {hint.minimum[axis]}"
                self.add((name,), f"size of {axis}", expected, f"{axis} = {size}")

    def _read_list(self, name: str, hint: Hint, value: Sequence[Any], nested: Nested) -> None:
        if not any(isinstance(value, get_origin(t) or t) for t in hint.types):
            self._refuse(name, hint, value)
            return
        if hint.length:
            self.put(hint.length.axis, name, len(value))
        element = cast(Hint, hint.element)
        for i, item in enumerate(value):
            self.read(f"{name}[{i}]", element, item, nested)

    def _read_tuple(self, name: str, hint: Hint, value: tuple[Any, ...], nested: Nested) -> None:
        parts = cast(tuple[Hint, ...], hint.parts)
        if len(value) != len(parts):
            self._refuse(name, hint, value)
            return
        for i, (part, item) in enumerate(zip(parts, value, strict=True)):
            self.read(f"{name}[{i}]", part, item, nested)

    def _refuse(self, name: str, hint: Hint, value: object) -> None:
        got = describe(value)
        if hint.contracts and isinstance(value, Mapping):
            got += f"; {hint.contracts[0].__name__}.from_dict(...) builds one from a dict"
        self.add((name,), "type", hint.expected, got)


def describe(value: object) -> str:
    """What a value is, never what is in it: `float32 (2, 3) on cuda:0`, `list of 3 str`."""
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        items = cast(Sequence[Any], value)
        kinds = "/".join(sorted({type(item).__name__ for item in items}))
        return f"{type(items).__name__} of {len(items)} {kinds}".rstrip()
    if isinstance(value, Tensor):
        where = "" if value.device == torch.device("cpu") else f" on {value.device}"
        dtype = str(value.dtype).removeprefix("torch.")
        return f"{dtype} {_shape(tuple(value.shape))}{where}"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        array = cast(Any, value)  # of another library
        return f"{type(array).__name__} {array.dtype} {_shape(tuple(array.shape))}"
    return type(value).__name__


def _shape(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})" if shape else "scalar"


def _fits(value: object, hint: Hint) -> bool:
    from beartype.door import is_bearable

    with one_table():
        return is_bearable(value, hint.outside)


def _is_array(array: Any, value: object) -> bool:
    if array.array_type is Any:
        return hasattr(value, "shape") and hasattr(value, "dtype")
    return isinstance(value, array.array_type)


def _has_dtype(array: Any, value: Any) -> bool:
    return isinstance(value, array.dtype[array.array_type, "..."])


def _has_rank(array: Any, rank: int) -> bool:
    if array.index_variadic is None:
        return len(array.dims) == rank
    return len(array.dims) - 1 <= rank


def _by_axis(array: Any, value: Any) -> Iterator[tuple[Any, Size]]:
    """Each axis of an annotation with its size; what a variadic one stands for is one tuple."""
    dims, shape, variadic = array.dims, tuple(value.shape), array.index_variadic
    for i, dim in enumerate(dims):
        if i == variadic:
            yield dim, shape[i : len(shape) - (len(dims) - i - 1)]
        else:
            yield dim, shape[i if variadic is None or i < variadic else i - len(dims)]


def _named_sizes(array: Any, value: Any) -> Iterator[tuple[str, Size]]:
    for dim, size in _by_axis(array, value):
        if hasattr(dim, "name"):  # others are anonymous, fixed or symbolic
            yield f"*{dim.name}" if isinstance(size, tuple) else dim.name, size


def _has_fixed_sizes(array: Any, value: Any) -> bool:
    return all(getattr(dim, "size", size) == size for dim, size in _by_axis(array, value))


def _disagree(sizes: Mapping[str, Size]) -> bool:
    return len(set(sizes.values())) > 1


def _row(sizes: Mapping[str, Size]) -> str:
    """One line of the table: a size that all agree on, or each field's."""
    if not _disagree(sizes):
        return str(next(iter(sizes.values())))
    if len(sizes) > 8:
        return grouped(sizes)
    return ", ".join(f"{name}={size}" for name, size in sizes.items())


def grouped(sizes: Mapping[str, object]) -> str:
    """`4 in views_activations; 3 in view_indices`: the commonest size first."""
    groups: dict[object, list[str]] = {}
    for name, size in sizes.items():
        groups.setdefault(size, []).append(name)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return "; ".join(f"{size} in {listed(names)}" for size, names in ordered)
