"""`@boundary`: a function whose arguments and result are checked on every call."""

import functools
import inspect
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, ParamSpec, Self, TypeVar, Union, get_args, get_origin, get_type_hints

import torch

from .checking.axes import one_table
from .checking.check import accepts, read_all
from .checking.hints import Hint
from .checking.plan import Plan
from .checking.report import Report, describe
from .errors import ContractError
from .levels import Level, current_level

P = ParamSpec("P")
R = TypeVar("R")

_LAZY = (inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction)

BOUNDARIES: dict[str, Callable[..., Any]] = {}
"""Every boundary by its full name, so that a test can enumerate them."""


def boundary(function: Callable[P, R]) -> Callable[P, R]:
    """Checks a function's annotated arguments and its result at the level in force.

    Contracts among them (`KViewBatch`, a sequence of `KViewItem`) are checked again, so one that
    was built at level `off` or changed in place is refused here. An axis letter is one size in the
    whole call: in the tensors, in the samples, and in the batch if one is given. Several batches,
    batches in a sequence and a batch in the result have sizes of their own. Costs nothing but a
    look at the level when checks are off, and steps aside under `torch.compile`.

    Raises:
        TypeError: it is no function (a class, a `functools.partial`), or a generator or a
            coroutine, whose call does not do its work; or, on the first call, it has annotations
            that cannot be resolved or checked.
        ContractError: on a call, with every violation among the arguments, or in the result.

    Examples:
        >>> import torch
        >>> from jaxtyping import Float
        >>> from torch import Tensor
        >>> from kview.contracts import boundary
        >>> @boundary
        ... def project(x: Float[Tensor, "M H"], w: Float[Tensor, "H D"]) -> Float[Tensor, "M D"]:
        ...     return x @ w
        >>> project(torch.randn(12, 32), torch.randn(16, 8))
        Traceback (most recent call last):
        kview.contracts.errors.ContractError: ...project(...) breaks 1 rule of its contract:
          - axis H: expected one size, got 32 in x; 16 in w
        ...
    """
    if isinstance(function, type) or not hasattr(function, "__qualname__"):
        raise TypeError(
            f"{describe(function)} is no function with annotations of its own; put @boundary on "
            "the function inside of a functools.partial, on a class's methods, and on __call__"
        )
    if any(is_lazy(function) for is_lazy in _LAZY):
        raise TypeError(
            f"{function.__qualname__} is a generator or a coroutine: calling it does no work that "
            "could be checked; put @boundary on the function that makes each value"
        )
    signature = inspect.signature(function)
    name = f"{function.__module__}.{function.__qualname__}"
    plans: list[tuple[Plan, Plan]] = []  # filled by the first checked call, when names resolve

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.compiler.is_compiling():
            return function(*args, **kwargs)
        level = current_level()
        if level == "off":
            return function(*args, **kwargs)
        if not plans:
            plans.append(_compile(function, signature))
        arguments, result = plans[0]
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = {n: bound.arguments[n] for n in arguments.hints}
        nested = functools.partial(accepts, level=level)
        with one_table():
            if not arguments.accepts(tuple(given.values()), nested):
                raise _error(name, (arguments, given), level=level)
            value = function(*args, **kwargs)
            if not result.accepts((value,) * len(result.hints), nested):
                raise _error(name, (arguments, given), (result, {"return": value}), level=level)
        return value

    if "<locals>" not in name:
        BOUNDARIES[name] = checked
    return checked


def _compile(function: Callable[..., Any], signature: inspect.Signature) -> tuple[Plan, Plan]:
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"{function.__qualname__}: @boundary reads annotations at run time, where {error}; "
            "import it outside of TYPE_CHECKING"
        ) from error
    given: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        if name in hints and _is_checkable(hints[name]):
            given[name] = hints[name]
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                given[name] = tuple[hints[name], ...]
            elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
                given[name] = dict[str, hints[name]]
    batches = [n for n, h in given.items() if any(c.is_batch for c in Hint(h).contracts)]
    apart = len(batches) > 1
    arguments = Plan({name: Hint(hint, apart=apart) for name, hint in given.items()})
    result = {n: Hint(hints[n], apart=True) for n in ("return",) if _is_checkable(hints.get(n))}
    return arguments, Plan(result)


def _is_checkable(hint: Any) -> bool:
    if hint in (Self, None, NoneType):
        return False
    # isinstance of a protocol reads its properties, which may be a store's million hashkeys
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return not any(getattr(part, "_is_protocol", False) for part in parts)


def _error(name: str, *read: tuple[Plan, dict[str, Any]], level: Level) -> ContractError:
    report = Report(f"{name}(...)")
    for plan, values in read:
        read_all(report, plan.hints, values, level)
    return report.error()
