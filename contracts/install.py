"""`install_checks`: jaxtyping and beartype over somebody else's package."""

from collections.abc import Sequence

from jaxtyping import install_import_hook
from jaxtyping._import_hook import ImportHookManager


def install_checks(packages: str | Sequence[str]) -> ImportHookManager:
    """Checks every annotated function of a package that is imported afterwards.

    Call it before the package is imported; used as a `with` block it covers the imports inside.

    Args:
        packages: the name of a package, or several; their submodules are covered too.

    Returns:
        jaxtyping's handle, whose `uninstall()` ends it for later imports.
    """
    return install_import_hook(packages, "beartype.beartype")
