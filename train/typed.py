"""Settings hold what their annotations say: checked for configs that come from files and flags."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

from ..contracts import ConfigError

S = TypeVar("S")


def require_types(settings: Any) -> None:
    """Checks every field of a settings dataclass against its annotation; an int will do as float.

    Raises:
        ConfigError: naming the field, its value and what it takes.
    """
    from beartype.door import is_bearable

    hints = get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        value, hint = getattr(settings, field.name), hints[field.name]
        as_float = float(value) if type(value) is int else value
        if not is_bearable(value, hint) and not is_bearable(as_float, hint):
            takes = str(getattr(hint, "__name__", hint)).replace("typing.", "")
            raise ConfigError(f"{field.name}={value!r} is not what it takes: {takes}")


def from_mapping(cls: type[S], values: Any, name: str) -> S:
    """A settings dataclass out of a mapping whose keys are its fields.

    Args:
        name: what the mapping is called in the error.

    Raises:
        ConfigError: it is no mapping, a key is no setting, or a value is wrong.
    """
    known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"{name} is a {type(values).__name__}; it takes {', '.join(known)} by name"
        )
    unknown = sorted(str(key) for key in set(values) - set(known))
    if unknown:
        raise ConfigError(
            f"unknown settings {', '.join(unknown)} in {name}; known are {', '.join(known)}"
        )
    return cls(**values)
