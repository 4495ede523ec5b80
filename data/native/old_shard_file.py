"""A shard as stores of before have it: the index at its end, which no row can be put behind."""

import shutil

import numpy as np

from ...contracts import StoreError
from .folder import ASIDE, Folder
from .output_file import OutputFile
from .row import checksum
from .schema import NativeSchema
from .shard_file import shard_index


class OldShardFile:
    """A shard with its index at the end, written aside and put in place by every commit.

    Args:
        folder: the store's.
        schema: the store's.
        row: the next row.
    """

    def __init__(self, folder: Folder, schema: NativeSchema, row: int) -> None:
        self.number = row // schema.shard_rows
        self._folder = folder
        self._schema = schema
        self._key = schema.shard_key(self.number)
        self._aside = folder.root / (self._key + ASIDE)
        self._file: OutputFile | None = None

    def write(self, row: int, stored: np.ndarray) -> None:
        # a file that is not aside any more has been put in place, and is no longer written to
        if self._file is None or not self._aside.exists():
            self.close()
            self._file = self._copy(row)
        self._file.write(stored, self._schema.row_offset(row))

    def commit(self, first: int, end: int) -> None:
        if self._file is not None and self._aside.exists():
            index = shard_index(self._schema, (end - 1) % self._schema.shard_rows + 1).tobytes()
            data = index + checksum(index)
            at = self._schema.row_offset(end - 1) + self._schema.row_bytes
            self._file.write(data, at)
            self._file.cut(at + len(data))
            self._file.settle()
            self._folder.put_in_place(self._key)
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _copy(self, row: int) -> OutputFile:
        """A new file aside, with the shard's rows before this one.

        Raises:
            StoreError: they are not all there.
        """
        path, size = self._folder.root / self._key, self._schema.row_offset(row)
        if size and path.stat().st_size < size:
            raise StoreError(f"{path} is truncated: committed bytes are gone")
        copy = self._folder.open(self._key + ASIDE, empty=True)
        try:
            if size:
                shutil.copyfile(path, self._aside)
                copy.cut(size)
        except BaseException:
            copy.close()
            raise
        return copy
