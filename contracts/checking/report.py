"""Collects everything that is wrong with a set of annotated values into one ContractError."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from ..errors import ContractError, Violation, listed
from .outcome import outcome, words

R = TypeVar("R")

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
        self.axes: dict[str, dict[str, object]] = {}
        self._scope = ""
        self._seen: dict[str, tuple[str, str]] = {}  # what was expected, and what came

    def add(self, fields: tuple[str, ...], rule: str, expected: str, got: str) -> None:
        """Adds one violation."""
        self.violations.append(Violation(fields, rule, expected, got))

    def put(self, axis: str, name: str, size: object) -> None:
        """Puts one size on the table of axes; what a symbolic one is called, where it is none."""
        known = isinstance(size, int | tuple)
        self.axes.setdefault(axis + self._scope, {})[name] = size if known else str(size)

    def see(self, name: str, expected: str, value: object) -> None:
        """Remembers what is asked of a value that is read next, and what came."""
        self._seen[name] = expected, describe(value)

    def refuse(self, name: str, rule: str, advice: str = "") -> None:
        """Adds the violation of a value that was seen, with advice behind what came."""
        expected, got = self._seen[name]
        self.add((name,), rule, expected, got + advice)

    def error(self) -> ContractError:
        """The error with all violations; sizes that disagree are one violation per axis."""
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

    def attempt(self, name: str, expected: str, action: Callable[[], R]) -> R | None:
        """What an action gives, or None after adding what it raises instead, under `name`."""
        result = outcome(action)
        if isinstance(result, ContractError) and result.violations:
            for violation in result.violations:
                fields = tuple(f"{name}.{field}" for field in violation.fields)
                self.add(fields, violation.rule, violation.expected, violation.got)
            return None
        if isinstance(result, Exception):
            self.add((name,), "raises", expected, words(result))
            return None
        return result

    def raise_if_any(self) -> None:
        """Raises the error if there is anything in it."""
        if self.violations or any(self._disagreements()):
            raise self.error()

    @contextmanager
    def apart(self, scope: str) -> Generator[None, None, None]:
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
        expected, got = zip(*self._seen.values(), strict=True)
        return Violation(tuple(self._seen), "together", listed(expected), listed(got))


def describe(value: object) -> str:
    """What a value is, never what is in it: `float32 (2, 3) on cuda:0`, `list of 3 str`."""
    described = outcome(lambda: _described(value))
    return type(value).__name__ if isinstance(described, Exception) else described


def _described(value: object) -> str:
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        items = cast(Sequence[Any], value)
        kinds = "/".join(sorted({type(item).__name__ for item in items}))
        return f"{type(items).__name__} of {len(items)} {kinds}".rstrip()
    if isinstance(value, Tensor):
        where = "" if value.device == torch.device("cpu") else f" on {value.device}"
        dtype = str(value.dtype).removeprefix("torch.")
        kind = "" if is_dense(value) else f"{str(value.layout).removeprefix('torch.')} "
        if value.is_nested:
            return f"nested {dtype} of {value.size(0)} tensors{where}"
        return f"{kind}{dtype} {_shape(tuple(value.shape))}{where}"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        array = cast(Any, value)  # of another library
        return f"{type(array).__name__} {array.dtype} {_shape(tuple(array.shape))}"
    return type(value).__name__


def is_dense(x: Tensor) -> bool:
    """Whether a tensor has a place for every value, as everything behind a contract takes it."""
    return x.layout is torch.strided and not x.is_nested


def _shape(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})" if shape else "scalar"


def _disagree(sizes: Mapping[str, object]) -> bool:
    return len(set(sizes.values())) > 1


def _row(sizes: Mapping[str, object]) -> str:
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
