"""`HALLULENS`: the family of HalluLens' Zarr stores."""

from ..family import StoreFamily
from ..layout.files import Files, is_group
from ..layout.metadata import read_attributes
from .reader import SCHEMA, open_hallulens
from .verify import verify_hallulens


def is_hallulens(files: Files) -> bool:
    """Whether the root attribute `schema_version` is that of a HalluLens store."""
    return is_group(files) and read_attributes(files).get("schema_version") == SCHEMA


HALLULENS = StoreFamily("hallulens", is_hallulens, open_hallulens, verify_hallulens)
