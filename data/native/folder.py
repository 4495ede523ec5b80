"""A store's folder as a writer sees it: files that are replaced whole, or not at all."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from ...contracts import StoreError
from .schema import ACTIVATIONS, COLUMN_TYPES, TEXTS, NativeSchema

ASIDE = ".next"
"""What the name of a file ends in while it is being written."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Where a writer writes.

    Attributes:
        root: the store's folder.
        durable: writes wait for the disk.
    """

    root: Path
    durable: bool

    def claim(self, names: set[str]) -> None:
        """Makes the folder, or takes one that is empty or was left while being made.

        Raises:
            StoreError: it holds something else.
        """
        if self.root.is_dir():
            found = {p.name for p in self.root.iterdir()}
            if found & {"zarr.json", ".zgroup"}:
                raise StoreError(
                    f"{self.root} is a store already; ActivationWriter.resume goes on with it"
                )
            strange = {n for n in found if n.removesuffix(ASIDE) not in names | {"zarr.json"}}
            if strange:
                raise StoreError(f"{self.root} is not empty: it holds {sorted(strange)[:3]}")
        self.root.mkdir(parents=True, exist_ok=True)

    def replace(self, key: str, data: bytes) -> None:
        """Puts a file in place in one step."""
        path = self.root / key
        path.parent.mkdir(exist_ok=True)
        aside = path.with_name(path.name + ASIDE)
        with aside.open("wb") as file:
            file.write(data)
            self.settle(file.fileno())
        self.move(aside, path)

    def move(self, aside: Path, path: Path) -> None:
        """Puts a finished file where it belongs."""
        os.replace(aside, path)
        if self.durable and sys.platform != "win32":
            directory = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def extend(self, key: str, start: int, data: bytes) -> None:
        """Writes a file's bytes from `start` on; those before it stay."""
        path = self.root / key
        with path.open("r+b" if path.exists() else "wb") as file:
            file.truncate(start)
            file.seek(start)
            file.write(data)
            file.flush()
            self.settle(file.fileno())

    def settle(self, fd: int) -> None:
        """Waits until a file is on the disk, where that was asked for."""
        if self.durable:
            os.fsync(fd)

    def remove_leftovers(self, schema: NativeSchema) -> None:
        """Removes what a writer that was killed has left behind the committed rows."""
        for aside in self.root.rglob(f"*{ASIDE}"):
            aside.unlink()
        for name in (ACTIVATIONS, *COLUMN_TYPES):
            per_file = schema.shard_rows if name == ACTIVATIONS else schema.column_rows
            for file in (self.root / name).glob("c.*"):
                if int(file.name.split(".")[1]) * per_file >= schema.rows:
                    file.unlink()
        texts = self.root / TEXTS
        if texts.exists() and texts.stat().st_size > schema.texts_bytes:
            os.truncate(texts, schema.texts_bytes)


def lock(root: Path) -> int | None:
    """Holds a store for one writer until the descriptor that it returns is closed.

    Windows has no such locks: there it returns None.

    Raises:
        StoreError: another writer holds it.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    fd = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise StoreError(
            f"{root}: another writer has this store open; several writers write several stores"
        ) from error
    return fd
