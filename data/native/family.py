"""`NATIVE`: the family of native stores."""

from ..family import StoreFamily
from ..layout.files import Files, is_group
from ..layout.metadata import read_attributes
from .reader import open_native
from .schema import SCHEMA
from .verify import verify_native


def is_native(files: Files) -> bool:
    """Whether the root attribute `schema` is that of a native store."""
    return is_group(files) and read_attributes(files).get("schema") == SCHEMA


NATIVE = StoreFamily("native", is_native, open_native, verify_native)
