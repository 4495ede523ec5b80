"""Where a store's bytes come from: a local folder, or anything zarr-python can open."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ...contracts import StoreError


class Files(Protocol):
    """A store's files, by key relative to its root.

    All raise a StoreError where a file is there and cannot be read.
    """

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
    """A store in a folder; nothing outside it is read.

    Attributes:
        root: the folder.
        follow_symlinks: links inside may point out of it.
    """

    root: Path
    follow_symlinks: bool = False

    @property
    def name(self) -> str:
        return str(self.root)

    def path(self, key: str) -> Path:
        """Where the file of a key lies.

        Raises:
            StoreError: that is outside the store.
        """
        parts = key.split("/")
        if ".." in parts or "" in parts:
            raise StoreError(f"{self.name}: {key!r} is no key of a file in a store")
        at = str(self.root)
        for part in parts:
            at = os.path.join(at, part)
            if os.path.islink(at) and not (self.follow_symlinks or self._inside(at)):
                raise StoreError(
                    f"{self.name}: {key} is a link out of the store; follow_symlinks=True reads it"
                )
        return Path(at)

    def _inside(self, link: str) -> bool:
        root = os.path.realpath(self.root)
        return Path(os.path.realpath(link)).is_relative_to(root)

    def open(self, key: str) -> int | None:
        """A descriptor of the file of a key, or None where there is none."""
        path = self.path(key)
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            fd = os.open(path, flags)  # without waiting: a pipe would never answer
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{self.name}: {key} cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise StoreError(f"{self.name}: {key} is no file")
        return fd

    def get(self, key: str) -> bytes | None:
        fd = self.open(key)
        if fd is None:
            return None
        with os.fdopen(fd, "rb") as file:
            return file.read()

    def edge(self, key: str, length: int, *, at_end: bool) -> bytes | None:
        fd = self.open(key)
        if fd is None:
            return None
        with os.fdopen(fd, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - length) if at_end else 0)
            return file.read(min(size, length))

    def exists(self, key: str) -> bool:
        return self.path(key).is_file()

    def size(self, key: str) -> int | None:
        """The bytes of a file, or None where there is none."""
        fd = self.open(key)
        if fd is None:
            return None
        with os.fdopen(fd, "rb") as file:
            return file.seek(0, os.SEEK_END)

    def open_array(self, key: str) -> Any:
        import zarr
        from zarr.storage import LocalStore

        files = self

        class InsideStore(LocalStore):
            """Reads what `LocalFiles.path` lets through."""

            async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
                files.path(key)
                return await super().get(key, *args, **kwargs)

        return zarr.open_array(InsideStore(self.root, read_only=True), path=key, mode="r")


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

        store = self._store()
        with self._reaching():
            return sync(store.exists(key))

    def open_array(self, key: str) -> Any:
        import zarr

        return zarr.open_array(self._store(), path=key, mode="r")

    def _read(self, key: str, part: Any) -> bytes | None:
        from zarr.core.buffer import default_buffer_prototype
        from zarr.core.sync import sync

        store = self._store()
        with self._reaching():
            buffer = sync(store.get(key, default_buffer_prototype(), byte_range=part))
        return None if buffer is None else buffer.to_bytes()

    def _store(self) -> Any:
        from zarr.storage import FsspecStore

        try:
            return FsspecStore.from_url(self.url, read_only=True)
        except (ValueError, ImportError) as error:
            raise StoreError(
                f"{self.url} cannot be opened: {error} (fsspec knows an address by its protocol, "
                "and many need a package of their own: s3:// s3fs, gs:// gcsfs, https:// aiohttp)"
            ) from error

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self.url} cannot be reached: {error}") from error


def is_group(files: Files) -> bool:
    """Whether there is a Zarr group, v2 or v3, at the root."""
    return files.exists("zarr.json") or files.exists(".zgroup")


def places(path: str | os.PathLike[str], *, follow_symlinks: bool = False) -> tuple[Files, Files]:
    """Where the store of a path may lie: at `path` itself, or in the `activations.zarr` inside it.

    Args:
        path: a folder or an address.
        follow_symlinks: links inside a local store may point out of it.
    """
    address = os.fspath(path).removeprefix("file://")
    inside = f"{address.rstrip('/')}/activations.zarr"
    if "://" in address:
        return RemoteFiles(address), RemoteFiles(inside)
    return LocalFiles(Path(address), follow_symlinks), LocalFiles(Path(inside), follow_symlinks)
