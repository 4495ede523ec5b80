"""The store formats that are read: the one place where a schema's name decides who reads it."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..contracts import StoreError
from .hallulens import reader as hallulens
from .hallulens.verify import verify_hallulens
from .layout.damage import Damage, Progress
from .layout.files import Files, open_files
from .layout.metadata import read_attributes
from .native import reader as native
from .native.verify import verify_native
from .part import StorePart


@dataclass(frozen=True, slots=True)
class StoreFormat:
    """A format, and who reads it.

    Attributes:
        attribute: the root attribute that names the schema.
        schema: what it says.
        open: makes a part of the store's files and root attributes.
        verify: finds all damage in them, and tells how far it is.
    """

    attribute: str
    schema: str
    open: Callable[[Files, dict[str, Any]], StorePart]
    verify: Callable[[Files, dict[str, Any], Progress], Iterator[Damage]]


FORMATS = (
    StoreFormat("schema", native.SCHEMA, native.open_native, verify_native),
    StoreFormat("schema_version", hallulens.SCHEMA, hallulens.open_hallulens, verify_hallulens),
)


def find_format(
    path: str | os.PathLike[str], *, follow_symlinks: bool = False
) -> tuple[Files, dict[str, Any], StoreFormat]:
    """A store's files, its root attributes and its format.

    Raises:
        StoreError: there is no store, or it is of an unknown schema.
    """
    files = open_files(path, follow_symlinks=follow_symlinks)
    attributes = read_attributes(files)
    for format in FORMATS:
        if attributes.get(format.attribute) == format.schema:
            return files, attributes, format
    schema = attributes.get("schema", attributes.get("schema_version"))
    known = ", ".join(f"{f.attribute}={f.schema!r}" for f in FORMATS)
    raise StoreError(f"{files.name}: schema {schema!r} is unknown; known root attributes: {known}")
