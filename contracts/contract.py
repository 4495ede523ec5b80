"""The base of every contract: a frozen dataclass that is checked when it is built."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from difflib import get_close_matches
from functools import cache
from operator import attrgetter
from typing import Any, ClassVar, Self, TypeVar, cast, get_type_hints

import torch
from torch import Tensor

from .axes import one_table
from .levels import Level, current_level
from .plan import Hint, Plan, Planned
from .report import Report, describe

C = TypeVar("C", bound="Contract")


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


class Contract(Planned):
    """Checked construction, device moves, and strict, read-only access by name.

    A subclass is a frozen, slotted, keyword-only dataclass with jaxtyping annotations; its `rules`
    say what annotations cannot. All its tensors are on one device. `batch["halu"]` and
    `dict(batch)` read the fields.
    """

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    rules: ClassVar[tuple[Rule, ...]] = ()

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
            ContractError: a key is unknown or missing, or a value breaks the contract.
        """
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
        read_all(report, _plan(cls).hints, present, current_level())
        raise report.error()

    def keys(self) -> tuple[str, ...]:
        """The names of the fields, in order."""
        return tuple(_plan(type(self)).hints)

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


def validate(contract: Contract, level: Level) -> None:
    """Checks one contract at `level`.

    Raises:
        ContractError: with every violation, not only the first.
    """
    with one_table():
        accepted = accepts(contract, level)
    if not accepted:
        report = Report(type(contract).__name__)
        collect(report, contract, level)
        raise report.error()


def accepts(contract: Contract, level: Level) -> bool:
    """The fast answer; binds the contract's axes on the table that the caller holds."""
    cls = type(contract)
    values = _values(cls)(contract)
    if not _plan(cls).accepts(values, level, accepts):
        return False
    devices = {x.device for x in tensors_in(values)}
    if len(devices) > 1:
        return False
    rules = _rules(cls, level == "full", _is_readable(devices, level))
    return all(rule.holds(contract) for rule in rules)


def collect(report: Report, contract: Contract, level: Level, prefix: str = "") -> None:
    """The slow answer: adds every violation of one contract to the report."""
    hints = _plan(type(contract)).hints
    values = {n: getattr(contract, n) for n in hints}
    malformed = read_all(report, hints, values, level, prefix)
    _read_devices(report, values, prefix)
    for rule in contract.rules:
        names = tuple(prefix + n for n in rule.fields)
        devices = {x.device for n in rule.fields for x in tensors_in(values[n])}
        if (
            malformed.isdisjoint(names)
            and (level == "full" or not rule.full)
            and (_is_readable(devices, level) or not rule.reads_values)
            and not rule.holds(contract)
        ):
            report.add(names, rule.name, rule.expected, rule.got(contract))


def read_all(
    report: Report,
    hints: Mapping[str, Hint],
    values: Mapping[str, Any],
    level: Level,
    prefix: str = "",
) -> set[str]:
    """Reads named values into the report; returns the names of those that are malformed."""

    def nested(inner: Any, path: str) -> None:
        collect(report, inner, level, f"{path}.")

    before = len(report.violations)
    for name, value in values.items():
        report.read(prefix + name, hints[name], value, nested)
    return {n for v in report.violations[before:] for f in v.fields for n in _path(f)}


def tensors_in(value: Any) -> list[Tensor]:
    """Every tensor in a field's value, in order."""
    found: list[Tensor] = []
    _gather(value, found)
    return found


def _gather(value: Any, found: list[Tensor]) -> None:
    if isinstance(value, Tensor):
        found.append(value)
    elif isinstance(value, Contract):
        _gather(_values(type(value))(value), found)
    elif isinstance(value, list | tuple):
        for item in cast(list[Any] | tuple[Any, ...], value):
            if not isinstance(item, str):
                _gather(item, found)


@cache
def _plan(cls: type[Contract]) -> Plan:
    hints = get_type_hints(cls, include_extras=True)
    return Plan({f.name: Hint(hints[f.name]) for f in fields(cls)})


@cache
def _values(cls: type[Contract]) -> Callable[[Contract], tuple[Any, ...]]:
    names = list(_plan(cls).hints)
    return attrgetter(*names) if len(names) > 1 else lambda c: (getattr(c, names[0]),)


@cache
def _rules(cls: type[Contract], full: bool, readable: bool) -> tuple[Rule, ...]:
    return tuple(r for r in cls.rules if (full or not r.full) and (readable or not r.reads_values))


def _is_readable(devices: set[torch.device], level: Level) -> bool:
    """Whether values may be looked at: below `full` not where that would wait for a device."""
    kinds = {device.type for device in devices}
    return "meta" not in kinds and (level == "full" or kinds <= {"cpu"})


def _read_devices(report: Report, values: Mapping[str, Any], prefix: str) -> None:
    found: dict[str, list[str]] = {}
    for name, value in values.items():
        for device in dict.fromkeys(str(x.device) for x in tensors_in(value)):
            found.setdefault(device, []).append(prefix + name)
    if len(found) > 1:
        names = tuple(prefix + n for n, v in values.items() if tensors_in(v))
        got = "; ".join(f"{', '.join(where)} on {device}" for device, where in found.items())
        report.add(names, "device", "one device for all tensors", got)


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


def _path(field: str) -> Iterator[str]:
    """`logprobs.mask` and `logprobs`; `hashkey[3]` and `hashkey`."""
    yield field
    for at, letter in enumerate(field):
        if letter in ".[":
            yield field[:at]


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING
