"""How a contract is checked: a fast answer first, and a report where it is no."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache, partial
from operator import attrgetter
from typing import Any, cast, get_type_hints

from torch import Tensor

from ..levels import Level
from .axes import one_table
from .hints import Hint
from .outcome import outcome, words
from .plan import Plan
from .report import Report, describe, is_dense
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
    return outcome(lambda: _accepts(contract, level)) is True


def _accepts(contract: Ruled, level: Level) -> bool:
    cls = type(contract)
    values = _values(cls)(contract)
    if not plan_of(cls).accepts(values, partial(accepts, level=level)):
        return False
    tensors = tensors_in(values)
    if len({x.device for x in tensors}) > 1 or not all(map(is_dense, tensors)):
        return False
    rules = _rules(cls, level)
    if not _are_readable(tensors, level):
        rules = [rule for rule in rules if _can_run(rule, contract, level)]
    return all(rule.holds(contract) for rule in rules)


def explain(report: Report, contract: Ruled, level: Level, prefix: str = "") -> None:
    """The slow answer: adds every violation of one contract to the report."""
    hints = plan_of(type(contract)).hints
    values = {n: getattr(contract, n) for n in hints if hasattr(contract, n)}
    malformed = read_all(report, hints, values, level, prefix)
    for name in (n for n in hints if n not in values):  # made without `__init__`
        report.add((prefix + name,), "missing", hints[name].expected, "no value")
    sound = {n: v for n, v in values.items() if n not in malformed}
    _read_devices(report, sound, prefix)
    for name, value in list(sound.items()):
        if not all(map(is_dense, tensors_in(value))):
            report.add((prefix + name,), "layout", "dense tensors", describe(value))
            del sound[name]
    for rule in _rules(type(contract), level):
        if sound.keys() >= set(rule.fields) and _can_run(rule, contract, level):
            _read_rule(report, rule, contract, prefix)


def _read_rule(report: Report, rule: Rule, contract: Ruled, prefix: str) -> None:
    got = outcome(lambda: None if rule.holds(contract) else rule.got(contract))
    if got is not None:
        names = tuple(prefix + n for n in rule.fields)
        said = words(got) if isinstance(got, Exception) else got
        report.add(names, rule.name, rule.expected, said)


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
            hint, path = hints[name], prefix + name
            report.attempt(path, hint.expected, partial(hint.explain, report, path, value, nested))
    wrong = [f"{field}." for v in report.violations[before:] for field in v.fields]
    starts = {name: (f"{prefix}{name}.", f"{prefix}{name}[") for name in values}
    return {name for name, start in starts.items() if any(f.startswith(start) for f in wrong)}


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
def _rules(cls: type[Ruled], level: Level) -> tuple[Rule, ...]:
    return tuple(rule for rule in cls.rules if level == "full" or not rule.full)


def _can_run(rule: Rule, contract: Ruled, level: Level) -> bool:
    tensors = [x for n in rule.fields for x in tensors_in(getattr(contract, n))]
    return not rule.reads_values or _are_readable(tensors, level)


def _are_readable(tensors: Sequence[Tensor], level: Level) -> bool:
    """Whether values may be looked at: below `full` not where that would wait for a device."""
    if level != "full" and any(x.device.type != "cpu" for x in tensors):
        return False
    # no values on the meta device, under FakeTensorMode and inside of `torch.func.vmap`
    return outcome(lambda: all(x.data_ptr() or not x.numel() for x in tensors)) is True


def _read_devices(report: Report, values: Mapping[str, Any], prefix: str) -> None:
    found: dict[str, list[str]] = {}
    for name, value in values.items():
        for device in dict.fromkeys(str(x.device) for x in tensors_in(value)):
            found.setdefault(device, []).append(prefix + name)
    if len(found) > 1:
        names = tuple(prefix + n for n, v in values.items() if tensors_in(v))
        got = "; ".join(f"{', '.join(where)} on {device}" for device, where in found.items())
        report.add(names, "device", "one device for all tensors", got)
