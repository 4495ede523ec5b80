"""Collects everything that is wrong with a set of annotated values into one ContractError."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_origin

import torch
from jaxtyping import jaxtyped
from torch import Tensor

from .errors import ContractError, Violation
from .plan import Hint


class Report:
    """Violations and the table of axes, filled value by value.

    Attributes:
        violations: what is wrong so far.
        axes: size by field, for each axis: `axes["K"]["views_activations"] == 4`.
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.violations: list[Violation] = []
        self.axes: dict[str, dict[str, int]] = {}

    def add(self, fields: tuple[str, ...], rule: str, expected: str, got: str) -> None:
        self.violations.append(Violation(fields, rule, expected, got))

    def read(
        self, name: str, hint: Hint, value: object, nested: Callable[[Any, str], None]
    ) -> None:
        """Adds what is wrong with one value on its own, and its sizes to the table of axes.

        Args:
            nested: reads a contract found inside, under the given name.
        """
        if value is None and hint.optional:
            return
        if hint.contract is not None:
            self._read_contract(name, hint, value, nested)
        elif isinstance(value, Tensor) and hint.arrays:
            self._read_array(name, hint, value)
        elif (
            hint.element is not None and isinstance(value, Sequence) and not isinstance(value, str)
        ):
            self._read_list(name, hint, value, nested)
        elif not _fits(value, hint):
            self.add((name,), "type", hint.expected, describe(value))

    def error(self) -> ContractError:
        """The error with all violations; sizes that disagree are one violation an axis."""
        violations = list(self.violations)
        for axis, sizes in self.axes.items():
            if _disagree(sizes):
                table = ", ".join(f"{name}={size}" for name, size in sizes.items())
                violations.append(Violation(tuple(sizes), f"axis {axis}", "one size", table))
        rules = "1 rule" if len(violations) == 1 else f"{len(violations)} rules"
        lines = [f"{self.subject} breaks {rules} of its contract:"]
        lines += [f"  - {violation}" for violation in violations]
        if self.axes:
            lines.append("sizes by axis:")
            for axis, sizes in self.axes.items():
                table = ", ".join(f"{name}={size}" for name, size in sizes.items())
                lines.append(f"  {axis}: {table}")
        return ContractError("\n".join(lines), tuple(violations))

    def _read_array(self, name: str, hint: Hint, value: Tensor) -> None:
        ranked = [a for a in hint.arrays if _has_rank(a, value.ndim)]
        if not ranked:
            self.add((name,), "rank", hint.expected, describe(value))
            return
        if not any(_fits_array(a, value) for a in ranked):
            self.add((name,), "dtype", hint.expected, describe(value))
        for dim, size in _named_sizes(ranked[0], value):
            self.axes.setdefault(dim, {})[name] = size
            if size < hint.minimum.get(dim, 0):
                expected = f"{dim} >= {hint.minimum[dim]}"
                self.add((name,), f"size of {dim}", expected, f"{dim} = {size}")

    def _read_list(
        self, name: str, hint: Hint, value: Sequence[Any], nested: Callable[[Any, str], None]
    ) -> None:
        if hint.length:
            self.axes.setdefault(hint.length.axis, {})[name] = len(value)
        element = Hint(hint.element)
        if not any(isinstance(value, get_origin(t) or t) for t in hint.types):
            self.add((name,), "type", hint.expected, describe(value))
        for i, item in enumerate(value):
            self.read(f"{name}[{i}]", element, item, nested)

    def _read_contract(
        self, name: str, hint: Hint, value: object, nested: Callable[[Any, str], None]
    ) -> None:
        kind = hint.contract
        assert kind is not None
        if isinstance(value, kind):
            nested(value, name)
        elif hint.element is not None and isinstance(value, Sequence):
            for i, item in enumerate(value):
                self.read(f"{name}[{i}]", Hint(kind), item, nested)
        elif isinstance(value, Mapping):
            way_out = f"{kind.__name__}.from_dict(...) builds one from a dict"
            self.add((name,), "type", hint.expected, f"{describe(value)}; {way_out}")
        else:
            self.add((name,), "type", hint.expected, describe(value))


def describe(value: object) -> str:
    """What a value is, never what is in it: `float32 (2, 3) on cuda:0`, `list of 3 str`."""
    if isinstance(value, Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        shape = f"({', '.join(map(str, value.shape))}{',' * (value.ndim == 1)})"
        where = "" if value.device == torch.device("cpu") else f" on {value.device}"
        return f"{dtype} {shape if value.ndim else 'scalar'}{where}"
    if isinstance(value, (list, tuple)):
        kinds = sorted({type(v).__name__ for v in value})
        return f"{type(value).__name__} of {len(value)}" + (f" {'/'.join(kinds)}" if kinds else "")
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    return type(value).__name__


def _fits(value: object, hint: Hint) -> bool:
    from beartype.door import is_bearable

    with jaxtyped("context"):
        return is_bearable(value, hint.annotation)


def _fits_array(array: Any, value: Tensor) -> bool:
    with jaxtyped("context"):
        return isinstance(value, array)


def _has_rank(array: Any, rank: int) -> bool:
    if array.index_variadic is None:
        return len(array.dims) == rank
    return len(array.dims) - 1 <= rank


def _named_sizes(array: Any, value: Tensor) -> list[tuple[str, int]]:
    """Sizes of the named axes behind a variadic one, or of all where there is none."""
    dims = array.dims if array.index_variadic is None else array.dims[array.index_variadic + 1 :]
    sizes = value.shape[value.ndim - len(dims) :]
    return [(d.name, n) for d, n in zip(dims, sizes, strict=True) if hasattr(d, "name")]


def _disagree(sizes: Mapping[str, int]) -> bool:
    return len(set(sizes.values())) > 1
