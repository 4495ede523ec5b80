"""The base of every contract: a frozen dataclass that is checked when it is built."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from functools import cache
from operator import attrgetter
from typing import Any, ClassVar, Self, TypeVar, get_type_hints

import torch
from jaxtyping import jaxtyped
from torch import Tensor

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
        holds: whether a contract keeps it.
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
    say what annotations cannot. `batch["halu"]` and `dict(batch)` read the fields.
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
            report.add((str(name),), "unknown key", f"only {', '.join(known)}", repr(name))
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
        return type(self)(**{**dict(self), **changes})

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """A copy with every tensor on `device`; nothing checked changes, so nothing is re-checked."""
        return self._map(lambda x: x.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """A copy with every tensor in pinned memory, for asynchronous copies to a GPU."""
        return self._map(lambda x: x.pin_memory())

    def equals(self, other: object) -> bool:
        """Whether `other` is the same contract with the same values; NaN equals NaN."""
        return type(other) is type(self) and all(
            _equal(getattr(self, n), getattr(other, n)) for n in self.keys()
        )

    def __repr__(self) -> str:
        inside = ", ".join(f"{n}={describe(getattr(self, n))}" for n in self.keys())
        return f"{type(self).__name__}({inside})"

    def _map(self, change: Callable[[Tensor], Tensor]) -> Self:
        values = {n: _map_tensors(getattr(self, n), change) for n in self.keys()}
        return build_unchecked(type(self), values)


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
    with jaxtyped("context"):
        accepted = accepts(contract, level)
    if not accepted:
        report = Report(type(contract).__name__)
        collect(report, contract, level)
        raise report.error()


def accepts(contract: Contract, level: Level) -> bool:
    """The fast answer; binds the contract's axes in the jaxtyping context of the caller."""
    cls = type(contract)
    return _plan(cls).accepts(_values(cls)(contract), level, accepts) and all(
        rule.holds(contract) for rule in cls.rules if _applies(rule, contract, level)
    )


def collect(report: Report, contract: Contract, level: Level, prefix: str = "") -> None:
    """The slow answer: adds every violation of one contract to the report."""
    hints = _plan(type(contract)).hints
    values = {n: getattr(contract, n) for n in hints}
    malformed = read_all(report, hints, values, level, prefix)
    for rule in contract.rules:
        names = tuple(prefix + n for n in rule.fields)
        if (
            malformed.isdisjoint(names)
            and _applies(rule, contract, level)
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
    before = len(report.violations)
    for name, value in values.items():
        report.read(
            prefix + name,
            hints[name],
            value,
            lambda inner, path: collect(report, inner, level, f"{path}."),
        )
    return {n for v in report.violations[before:] for f in v.fields for n in _path(f)}


@cache
def _plan(cls: type[Contract]) -> Plan:
    hints = get_type_hints(cls, include_extras=True)
    return Plan({f.name: hints[f.name] for f in fields(cls)})


@cache
def _values(cls: type[Contract]) -> Callable[[Contract], tuple[Any, ...]]:
    return attrgetter(*_plan(cls).hints)


def _applies(rule: Rule, contract: Contract, level: Level) -> bool:
    if rule.full and level != "full":
        return False
    if not rule.reads_values:
        return True
    devices = {x.device.type for n in rule.fields for x in tensors_in(getattr(contract, n))}
    return "meta" not in devices and (level == "full" or devices <= {"cpu"})


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in a field's value."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Contract):
        for name in value.keys():
            yield from tensors_in(getattr(value, name))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)


def _map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Contract):
        return value._map(change)
    if isinstance(value, list):
        return [_map_tensors(v, change) for v in value]
    return value


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Contract):
        return a.equals(b)
    if isinstance(a, Tensor):
        if not isinstance(b, Tensor) or a.dtype != b.dtype or a.shape != b.shape:
            return False
        return torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(_equal, a, b))
    return a == b


def _path(field: str) -> Iterator[str]:
    """`logprobs.mask` and `logprobs`; `hashkey[3]` and `hashkey`."""
    yield field
    for at, letter in enumerate(field):
        if letter in ".[":
            yield field[:at]


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING
