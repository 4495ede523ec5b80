"""The base of every contract: a frozen dataclass that is checked when it is built."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from typing import Any, ClassVar, Self, TypeVar, cast

import torch
from torch import Tensor

from .checking.check import plan_of, read_all, validate
from .checking.report import Report, describe
from .checking.rule import Ruled
from .errors import ContractError
from .levels import current_level

C = TypeVar("C", bound="Contract")


class Contract(Ruled):
    """Checked construction, device moves, and strict, read-only access by name.

    A subclass is a frozen, slotted, keyword-only dataclass with jaxtyping annotations; its `rules`
    say what annotations cannot. All its tensors are on one device. `batch["halu"]` and
    `dict(batch)` read the fields.
    """

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __post_init__(self) -> None:
        if torch.compiler.is_compiling():
            return
        level = current_level()
        if level != "off":
            validate(self, level)

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Self:
        """Builds the contract from a mapping whose keys are exactly its fields.

        Raises:
            ContractError: it is no mapping, a key is unknown or missing, or a value breaks the
                contract.
        """
        if not (hasattr(mapping, "keys") and hasattr(mapping, "__getitem__")):
            subject, got = f"{cls.__name__}.from_dict", describe(mapping)
            raise ContractError.of(subject, "mapping", "type", "a mapping of the fields", got)
        known = {f.name: f for f in fields(cls)}
        missing = [n for n, f in known.items() if n not in mapping and _is_required(f)]
        unknown = [n for n in mapping if n not in known]
        if not missing and not unknown:
            return cls(**mapping)
        report = Report(cls.__name__)
        for name in missing:
            report.add((name,), "missing key", "a value", "no such key")
        for name in unknown:
            near = get_close_matches(str(name), known, 1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            report.add((str(name),), "unknown key", f"only {', '.join(known)}", f"{name!r}{meant}")
        present = {n: mapping[n] for n in known if n in mapping}
        read_all(report, plan_of(cls).hints, present, current_level())
        raise report.error()

    def keys(self) -> tuple[str, ...]:
        """The names of the fields, in order."""
        return tuple(plan_of(type(self)).hints)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __getitem__(self, name: str) -> Any:
        if name not in self.keys():
            raise KeyError(f"{name!r}: {type(self).__name__} has {', '.join(self.keys())}")
        return getattr(self, name)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields exchanged, checked like any other."""
        return type(self).from_dict({**dict(self), **changes})

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """A copy with every tensor on `device`: nothing checked changes, nothing is re-checked."""
        target = torch.device(device)  # a dtype here would cast indices and masks too
        return self.map_tensors(lambda x: x.to(target, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """A copy with every tensor in pinned memory, for asynchronous copies to a GPU."""
        return self.map_tensors(lambda x: x.pin_memory())

    def map_tensors(self, change: Callable[[Tensor], Tensor]) -> Self:
        """A copy with every tensor changed, unchecked: `change` keeps shapes, dtypes and values."""
        return build_unchecked(type(self), {n: _map(getattr(self, n), change) for n in self.keys()})

    def equals(self, other: object) -> bool:
        """Whether `other` is the same contract with the same values; NaN equals NaN."""
        return type(other) is type(self) and all(
            _equal(getattr(self, n), getattr(other, n)) for n in self.keys()
        )

    def __repr__(self) -> str:
        inside = ", ".join(f"{n}={describe(getattr(self, n))}" for n in self.keys())
        return f"{type(self).__name__}({inside})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """For IPython and hypothesis, which print a dataclass's values otherwise."""
        printer.text(repr(self))


def build_unchecked(cls: type[C], values: Mapping[str, Any]) -> C:
    """A contract from the fields of one that has been checked: a move, a reshape."""
    contract = object.__new__(cls)
    for name, value in values.items():
        object.__setattr__(contract, name, value)
    return contract


def _map(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Contract):
        return value.map_tensors(change)
    if isinstance(value, list):
        return [_map(v, change) for v in cast(list[Any], value)]
    return value


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Contract):
        return a.equals(b)
    if isinstance(a, Tensor):
        alike = isinstance(b, Tensor) and (a.dtype, a.shape, a.device) == (
            b.dtype,
            b.shape,
            b.device,
        )
        return alike and bool(((a == b) | ((a != a) & (b != b))).all())  # NaN differs from itself
    if isinstance(a, list):
        left = cast(list[Any], a)
        return (
            isinstance(b, list)
            and len(left) == len(right := cast(list[Any], b))
            and all(map(_equal, left, right))
        )
    return a == b


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING
