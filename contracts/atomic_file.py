"""Files that are replaced whole, or not at all."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

ASIDE = ".next"
"""What the name of a file ends in while it is being written."""


def write_atomically(
    path: Path, write: Callable[[BinaryIO], object], *, durable: bool = True
) -> None:
    """Replaces a file in one step: written aside, synced, renamed.

    Args:
        path: the file.
        write: called with the open binary file that will take its place.
        durable: wait for the disk, so that the file lasts through a power cut.
    """
    aside = path.with_name(path.name + ASIDE)
    try:
        with aside.open("wb") as file:
            write(file)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        move_into_place(aside, path, durable=durable)
    finally:
        aside.unlink(missing_ok=True)


def move_into_place(aside: Path, path: Path, *, durable: bool = True) -> None:
    """Renames a finished file to the one it replaces, and syncs the folder where systems can."""
    os.replace(aside, path)
    if durable and os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
