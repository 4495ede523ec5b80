"""Settings: frozen dataclasses that hold what their annotations say, validated by pydantic.

Not imported by `kview.contracts` itself, which stays light.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import field, fields
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, cast, dataclass_transform, get_type_hints

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails

from .errors import ConfigError

S = TypeVar("S")

Count = Annotated[int, Field(ge=1)]
NotNegativeInt = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def settings(cls: type[S]) -> type[S]:
    """Makes a frozen, keyword-only dataclass whose fields are checked against their annotations.

    An int will do as a float and a number of numpy's as Python's; nothing else is converted: a bool
    is no number and "2" no int.
    What annotations cannot say stands in `__post_init__`, which raises a ConfigError itself.

    Raises:
        ConfigError: when one is built, with every field that is wrong, its value and the rule.

    Examples:
        >>> from kview.contracts.settings import Count, settings
        >>> @settings
        ... class Reading:
        ...     num_workers: Count = 1
        >>> Reading(num_workers=0)
        Traceback (most recent call last):
        kview.contracts.errors.ConfigError: Reading: num_workers=0 should be greater than ...
    """
    made = dataclass(frozen=True, kw_only=True, config=ConfigDict(strict=True, extra="forbid"))(cls)
    build = made.__init__

    @functools.wraps(build)
    def checked(self: Any, *args: Any, **values: Any) -> None:
        try:
            build(self, *args, **{name: _plain(value) for name, value in values.items()})
        except ValidationError as error:
            raise _config_error(made, error) from None

    made.__init__ = checked
    return cast(type[S], made)


def settings_from(cls: type[S], values: Mapping[str, Any]) -> S:
    """Settings out of JSON values, such as a run's config.json holds.

    Raises:
        ConfigError: it is no mapping, a key is no setting, or a value is wrong.
    """
    try:
        return TypeAdapter(cls).validate_json(json.dumps(values))
    except ValidationError as error:
        raise _config_error(cls, error) from None


def checked(rule: Any, **setting: Any) -> Any:
    """One setting that is no field of a settings class, checked by the same rules.

    Raises:
        ConfigError: it breaks the rule; with its name and value.

    Examples:
        >>> from kview.contracts.settings import Count, checked
        >>> checked(Count, k=3)
        3
        >>> checked(Count, k=0)
        Traceback (most recent call last):
        kview.contracts.errors.ConfigError: k=0 should be greater than or equal to 1
    """
    ((name, value),) = setting.items()
    try:
        return TypeAdapter(rule, config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError as error:
        rules = [details["msg"].removeprefix("Input ") for details in error.errors()]
        raise ConfigError(f"{name}={value!r} {' or '.join(rules)}") from None


def _plain(value: Any) -> Any:
    """Python's number for one of numpy's."""
    return cast(Any, value).item() if isinstance(value, np.generic) else value


def _config_error(cls: type[Any], error: ValidationError) -> ConfigError:
    found = error.errors(include_url=False)
    for details in found:
        if "ctx" in details and isinstance(own := details["ctx"].get("error"), ConfigError):
            return own  # raised by a __post_init__, in words of its own
    return ConfigError(f"{cls.__name__}: {'; '.join(_words(cls, details) for details in found)}")


def _words(cls: type[Any], details: ErrorDetails) -> str:
    *path, last = details["loc"] or ("",)
    name = ".".join(map(str, details["loc"]))
    if details["type"] == "unexpected_keyword_argument":
        for part in path:
            cls = get_type_hints(cls)[str(part)]
        known = [f.name for f in fields(cls)]
        near = get_close_matches(str(last), known, 1)
        return f"{name} is no setting; " + (
            f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        )
    rule = details["msg"].removeprefix("Input ")
    return f"{name}={details['input']!r} {rule}" if name else f"{details['input']!r} {rule}"
