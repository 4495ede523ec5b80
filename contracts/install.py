"""`install_checks`: jaxtyping and beartype over somebody else's package."""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from jaxtyping import install_import_hook

from .levels import current_level

P = ParamSpec("P")
R = TypeVar("R")


def install_checks(packages: str | Sequence[str]) -> AbstractContextManager[None]:
    """Checks every annotated function and dataclass of packages that are imported afterwards.

    Call it before they are imported and keep nothing, or use it as a `with` block around their
    imports. What was imported stays checked, at the level in force at each call. A fault is a
    `jaxtyping.TypeCheckError`, as a `ContractError` is. It is for debugging runs: jaxtyping's
    wrapper cannot be compiled by `torch.compile`, a `@boundary` can.

    Args:
        packages: the name of a package, or several; their submodules are covered too.

    Returns:
        A context manager, at whose end later imports are left alone again.

    Examples:
        >>> from kview.contracts import install_checks
        >>> with install_checks("your_package"):
        ...     pass  # import your_package
    """
    hook = install_import_hook(packages, f"{__name__}.typechecker")

    @contextmanager
    def until_exit() -> Generator[None, None, None]:
        with hook:
            yield

    return until_exit()


def typechecker(function: Callable[P, R]) -> Callable[P, R]:
    """beartype, at the level in force at the call; jaxtyping's import hook asks for it by name."""
    from beartype import beartype

    checked: Any = beartype(function)

    @wraps(function)
    def at_level(*args: P.args, **kwargs: P.kwargs) -> R:
        return (function if current_level() == "off" else checked)(*args, **kwargs)

    return at_level
