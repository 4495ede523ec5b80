"""A store's folder as a writer sees it: whose files are in it, and how they are replaced."""

import errno
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...contracts import StoreError
from .arrays import ACTIVATIONS, TABLE_TYPES, TEXTS
from .output_file import OutputFile
from .schema import NativeSchema

ASIDE = ".next"
"""What the name of a file ends in while it is being written."""

ARRAYS = (ACTIVATIONS, *TABLE_TYPES)
ROOT = "zarr.json"

_FILE = re.compile(rf"(zarr\.json|c\.(?P<number>\d+)(\.0){{0,3}})(?P<aside>{re.escape(ASIDE)})?")
_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))


@dataclass(frozen=True, slots=True)
class Folder:
    """Where a writer writes.

    Attributes:
        root: the store's folder.
        durable: writes wait for the disk.
    """

    root: Path
    durable: bool

    def require_free(self) -> None:
        """The folder must be empty, or left while a store was being made.

        Raises:
            StoreError: it holds something else.
        """
        found = {p.name for p in self.root.iterdir()}
        if found & {ROOT, ".zgroup"}:
            raise StoreError(
                f"{self.root} is a store already; ActivationWriter.resume goes on with it"
            )
        strange = {n for n in found if n.removesuffix(ASIDE) not in (*ARRAYS, TEXTS, ROOT)}
        if strange:
            raise StoreError(f"{self.root} is not empty: it holds {sorted(strange)[:3]}")

    def require_no_links(self) -> None:
        """What a writer writes lies in the folder itself.

        Raises:
            StoreError: one of its names is a symbolic link.
        """
        for path in (self.root / TEXTS, *(self.root / n for n in ARRAYS), *self._array_files()):
            if path.is_symlink():
                raise StoreError(
                    f"{path} is a symbolic link, and a writer stays inside the store's folder; "
                    "put the file itself there"
                )

    def open(self, key: str, *, empty: bool) -> OutputFile:
        """A file to write into."""
        path = self.root / key
        path.parent.mkdir(exist_ok=True)
        return OutputFile(path, empty=empty, durable=self.durable)

    def replace(self, key: str, data: bytes) -> None:
        """Puts a file in place in one step."""
        with self.open(key + ASIDE, empty=True) as file:
            file.write(data, 0)
            file.settle()
        self.put_in_place(key)

    def put_in_place(self, key: str) -> None:
        """Moves a file that was written aside to where it belongs."""
        os.replace(self.root / (key + ASIDE), self.root / key)

    def settle(self, *names: str) -> None:
        """Waits until the names in these folders are on the disk, where that was asked for."""
        if self.durable and sys.platform != "win32":
            for name in names:
                directory = os.open(self.root / name, os.O_RDONLY)
                try:
                    os.fsync(directory)
                finally:
                    os.close(directory)

    def remove_leftovers(self, schema: NativeSchema) -> None:
        """Removes what a writer that was killed has left behind the committed rows.

        Raises:
            StoreError: committed texts are gone.
        """
        (self.root / (ROOT + ASIDE)).unlink(missing_ok=True)
        for file in self._array_files():
            name, found = file.parent.name, _FILE.fullmatch(file.name)
            assert found is not None
            if name not in (ACTIVATIONS, *schema.tables):
                file.unlink()
                continue
            number, per_file = found["number"], schema.rows_per_file(name)
            if found["aside"] or (number and int(number) * per_file >= schema.rows):
                file.unlink()
        texts = self.root / TEXTS
        size = texts.stat().st_size if texts.exists() else 0
        if size < schema.texts_bytes:
            raise StoreError(
                f"{texts} has {size} bytes of {schema.texts_bytes} committed ones: "
                "there is nothing to go on from"
            )
        if size > schema.texts_bytes:
            os.truncate(texts, schema.texts_bytes)

    def _array_files(self) -> Iterator[Path]:
        """The files of arrays that bear a name that a writer gives."""
        for name in ARRAYS:
            if (self.root / name).is_dir():
                yield from (p for p in (self.root / name).iterdir() if _FILE.fullmatch(p.name))


@contextmanager
def clear_errors(root: Path, rows: int = 0) -> Iterator[None]:
    """Says what happened when the system refuses to read or write.

    Args:
        root: the store's folder.
        rows: committed rows.

    Raises:
        StoreError: it did.
    """
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        full = error.errno in _FULL
        free = shutil.disk_usage(root).free if full and root.exists() else None
        room = "" if free is None else f" ({free / 2**20:.0f} MiB free)"
        safe = f"; {rows} committed rows are safe" if rows else ""
        way_out = "; make room and resume the store" if full else ""
        raise StoreError(
            f"{root}: cannot write: {error.strerror or error}{room}{safe}{way_out}"
        ) from error
