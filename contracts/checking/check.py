"""How a contract is checked: a fast answer first, and a report where it is no."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import cache, partial
from operator import attrgetter
from typing import Any, cast, get_type_hints

import torch
from torch import Tensor

from ..levels import Level
from .axes import one_table
from .hints import Hint
from .plan import Plan
from .report import Report
from .rule import Rule, Ruled


def validate(contract: Ruled, level: Level) -> None:
    """Checks one contract at `level`.

    Raises:
        ContractError: with every violation, not only the first.
    """
    with one_table():
        accepted = accepts(contract, level)
    if not accepted:
        report = Report(type(contract).__name__)
        explain(report, contract, level)
        raise report.error()


def accepts(contract: Ruled, level: Level) -> bool:
    """The fast answer; binds the contract's axes on the table that the caller holds."""
    cls = type(contract)
    values = _values(cls)(contract)
    if not plan_of(cls).accepts(values, partial(accepts, level=level)):
        return False
    devices = {x.device for x in tensors_in(values)}
    if len(devices) > 1:
        return False
    rules = _rules(cls, level == "full", _is_readable(devices, level))
    return all(rule.holds(contract) for rule in rules)


def explain(report: Report, contract: Ruled, level: Level, prefix: str = "") -> None:
    """The slow answer: adds every violation of one contract to the report."""
    hints = plan_of(type(contract)).hints
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

    def nested(inner: Ruled, path: str) -> None:
        explain(report, inner, level, f"{path}.")

    before = len(report.violations)
    with one_table():  # none of the fast check's sizes
        for name, value in values.items():
            hints[name].explain(report, prefix + name, value, nested)
    return {n for v in report.violations[before:] for f in v.fields for n in _path(f)}


def tensors_in(value: Any) -> list[Tensor]:
    """Every tensor in a field's value, in order."""
    found: list[Tensor] = []
    _gather(value, found)
    return found


def _gather(value: Any, found: list[Tensor]) -> None:
    if isinstance(value, Tensor):
        found.append(value)
    elif isinstance(value, Ruled):
        _gather(_values(type(value))(value), found)
    elif isinstance(value, list | tuple):
        for item in cast(list[Any] | tuple[Any, ...], value):
            if not isinstance(item, str):
                _gather(item, found)


@cache
def plan_of(cls: type[Ruled]) -> Plan:
    """The plan of a contract's fields, by name."""
    hints = get_type_hints(cls, include_extras=True)
    return Plan({f.name: Hint(hints[f.name]) for f in fields(cast(Any, cls))})


@cache
def _values(cls: type[Ruled]) -> Callable[[Ruled], tuple[Any, ...]]:
    names = list(plan_of(cls).hints)
    return attrgetter(*names) if len(names) > 1 else lambda c: (getattr(c, names[0]),)


@cache
def _rules(cls: type[Ruled], full: bool, readable: bool) -> tuple[Rule, ...]:
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


def _path(field: str) -> Iterator[str]:
    """`logprobs.mask` and `logprobs`; `hashkey[3]` and `hashkey`."""
    yield field
    for at, letter in enumerate(field):
        if letter in ".[":
            yield field[:at]
