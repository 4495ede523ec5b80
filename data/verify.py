"""`verify_store`: reads everything, and lists all damage."""

import os

from .families import find_family
from .layout.damage import Damage, Progress


def verify_store(
    path: str | os.PathLike[str],
    progress: Progress | None = None,
    *,
    follow_symlinks: bool = False,
) -> list[Damage]:
    """Reads everything that a store holds and kview reads, and compares all checksums.

    Args:
        path: a store, or a folder that holds one.
        progress: told how far it is.
        follow_symlinks: as in `ActivationStore.open`.

    Returns:
        All damage: missing and truncated chunks, wrong checksums, arrays that disagree, malformed
        lines, hashkeys that occur twice, values that are not finite, rows that are all zeros.

    Raises:
        StoreError: there is no store of a known family.

    Examples:
        >>> import pathlib, tempfile
        >>> from kview.data import verify_store, write_synthetic_store
        >>> path = pathlib.Path(tempfile.mkdtemp(), "a.zarr")
        >>> write_synthetic_store(path, num_rows=6, num_layers=5, hidden_size=8, max_tokens=4)
        >>> verify_store(path)
        []
        >>> (path / "halu/c.0").unlink()
        >>> print(*verify_store(path))
        halu, row 0: halu/c.0 is missing
    """
    files, family = find_family(path, follow_symlinks=follow_symlinks)
    return list(family.verify(files, progress or _silent))


def _silent(done: int, total: int) -> None:
    pass
