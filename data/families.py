"""The families of stores that are read: kview's own in one place, then those of other packages."""

import os
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from ..contracts import StoreError
from ..contracts.checking.outcome import outcome, words
from .arrays.family import ARRAYS
from .family import StoreFamily
from .hallulens import reader as hallulens
from .hallulens.family import HALLULENS
from .hallulens_capture.family import HALLULENS_CAPTURE
from .layout.files import Files, is_group, places
from .layout.metadata import read_attributes
from .native import schema as native
from .native.family import NATIVE

BUILT_IN = (NATIVE, HALLULENS, HALLULENS_CAPTURE, ARRAYS)
"""kview's own families, in the order in which they are asked."""

ENTRY_POINTS = "kview.stores"
"""The group of entry points by which other packages bring a family of theirs."""


def find_family(
    path: str | os.PathLike[str], *, follow_symlinks: bool = False
) -> tuple[Files, StoreFamily]:
    """A store's files and its family.

    Raises:
        StoreError: there is no store, or none of a known family.
    """
    at = places(path, follow_symlinks=follow_symlinks)
    found = family_at(at)
    if found is not None:
        return found
    for files in at:
        if is_group(files):
            attributes = read_attributes(files)
            schema = attributes.get("schema", attributes.get("schema_version"))
            raise StoreError(
                f"{files.name}: schema {schema!r} is unknown; known root attributes: "
                f"schema={native.SCHEMA!r}, schema_version={hallulens.SCHEMA!r}"
            )
    names = ", ".join(family.name for family in (*BUILT_IN, *installed()))
    raise StoreError(
        f"no Zarr group at {at[0].name!r}: neither it nor {at[1].name!r} has a zarr.json or a "
        ".zgroup; give the path of a store, or of a folder that holds activations.zarr (families "
        f"of stores: {names})"
    )


def family_at(at: Sequence[Files]) -> tuple[Files, StoreFamily] | None:
    """The first of several places with a store of a known family, and which; None without one.

    Other packages are asked, and loaded, where no family of kview's own knows any of the places.

    Raises:
        StoreError: another package's family cannot be loaded, or two know one place.
    """
    for files in at:
        for family in BUILT_IN:
            if family.recognises(files):
                return files, family
    others = installed()
    for files in at:
        found = [family for family in others if family.recognises(files)]
        if len(found) > 1:
            names = " and ".join(family.name for family in found)
            raise StoreError(f"{files.name}: the families {names} both take it for theirs")
        if found:
            return files, found[0]
    return None


def installed() -> list[StoreFamily]:
    """The families that other packages bring, by the names of their entry points.

    Raises:
        StoreError: one cannot be loaded.
    """
    return [_load(entry) for entry in sorted(entry_points(group=ENTRY_POINTS))]


def _load(entry: EntryPoint) -> StoreFamily:
    package = entry.dist.name if entry.dist is not None else "(unknown)"
    found = outcome(entry.load)
    if isinstance(found, StoreFamily):
        return found
    problem = words(found) if isinstance(found, Exception) else f"it is {found!r}"
    raise StoreError(
        f"package {package} brings the family of stores {entry.name!r}, but {entry.value} is no "
        f"StoreFamily that can be loaded ({problem}); mend the package, or uninstall it"
    ) from (found if isinstance(found, Exception) else None)
