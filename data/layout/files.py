"""Where a store's bytes come from: a local folder, or anything zarr-python can open."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ...contracts import StoreError


class Files(Protocol):
    """A store's files, by key relative to its root."""

    @property
    def name(self) -> str:
        """The store's path or address, for messages."""
        ...

    def get(self, key: str) -> bytes | None:
        """The whole file, or None where there is none."""
        ...

    def edge(self, key: str, length: int, *, at_end: bool) -> bytes | None:
        """The first or last `length` bytes of a file (all of a shorter one), or None."""
        ...

    def exists(self, key: str) -> bool:
        """Whether the file is there."""
        ...

    def open_array(self, key: str) -> Any:
        """The array as zarr-python sees it."""
        ...


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """A store in a folder.

    Attributes:
        root: the folder.
    """

    root: Path

    @property
    def name(self) -> str:
        return str(self.root)

    def path(self, key: str) -> Path:
        """Where the file of a key lies."""
        return self.root / key

    def get(self, key: str) -> bytes | None:
        try:
            return self.path(key).read_bytes()
        except FileNotFoundError:
            return None

    def edge(self, key: str, length: int, *, at_end: bool) -> bytes | None:
        try:
            with self.path(key).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - length) if at_end else 0)
                return file.read(length)
        except FileNotFoundError:
            return None

    def exists(self, key: str) -> bool:
        return self.path(key).is_file()

    def open_array(self, key: str) -> Any:
        import zarr

        return zarr.open_array(self.path(key), mode="r")


@dataclass(frozen=True, slots=True)
class RemoteFiles:
    """A store behind a URL that fsspec knows: object storage, http, memory.

    Attributes:
        url: the address of the store's root group.
    """

    url: str

    @property
    def name(self) -> str:
        return self.url

    def get(self, key: str) -> bytes | None:
        return self._read(key, None)

    def edge(self, key: str, length: int, *, at_end: bool) -> bytes | None:
        from zarr.abc.store import RangeByteRequest, SuffixByteRequest

        return self._read(key, SuffixByteRequest(length) if at_end else RangeByteRequest(0, length))

    def exists(self, key: str) -> bool:
        from zarr.core.sync import sync

        return sync(self._store().exists(key))

    def open_array(self, key: str) -> Any:
        import zarr

        return zarr.open_array(self._store(), path=key, mode="r")

    def _read(self, key: str, part: Any) -> bytes | None:
        from zarr.core.buffer import default_buffer_prototype
        from zarr.core.sync import sync

        buffer = sync(self._store().get(key, default_buffer_prototype(), byte_range=part))
        return None if buffer is None else buffer.to_bytes()

    def _store(self) -> Any:
        from zarr.storage import FsspecStore

        return FsspecStore.from_url(self.url, read_only=True)


def open_files(path: str | os.PathLike[str]) -> Files:
    """The files of a store: of `path` itself, or of the `activations.zarr` inside it.

    Raises:
        StoreError: neither is a Zarr group.
    """
    address = os.fspath(path)
    tried = [address, f"{address.rstrip('/')}/activations.zarr"]
    for candidate in tried:
        files = RemoteFiles(candidate) if "://" in candidate else LocalFiles(Path(candidate))
        if files.exists("zarr.json") or files.exists(".zgroup"):
            return files
    raise StoreError(
        f"no Zarr group at {address!r}: neither it nor {tried[1]!r} has a zarr.json or a .zgroup; "
        "give the path of a store, or of a folder that holds activations.zarr"
    )


def lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines of a JSONL file that are not blank, numbered from 1."""
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            yield number, line
