"""How a Zarr array lies in its files: its metadata, v2 or v3, as far as it can be read directly."""

import json
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np

from ...contracts import StoreError
from .files import Files

CRC_BYTES = 4
"""A crc32c codec appends its checksum to the bytes it covers, little-endian."""

_V3_TYPES = {
    "bool": "|b1",
    **{
        f"{k}{bits}": f"<{k[0]}{bits // 8}"
        for k in ("int", "uint", "float")
        for bits in (16, 32, 64)
    },
    "int8": "|i1",
    "uint8": "|u1",
    "string": "|O",
}


@dataclass(frozen=True, slots=True)
class Sharding:
    """The index of a shard: (offset, length) of each inner chunk, in C order.

    Attributes:
        shape: the shard's shape, in elements.
        at_end: the index is the shard's last bytes, else its first.
        checksum: the index ends in its crc32c.
    """

    shape: tuple[int, ...]
    at_end: bool
    checksum: bool


@dataclass(frozen=True, slots=True)
class ArrayMeta:
    """What an array's metadata say.

    Attributes:
        key: the array's path in its store.
        shape: in elements.
        dtype: of its elements; object for variable-length strings.
        chunks: the shape of the smallest block that is stored on its own.
        sharding: how such blocks are gathered in shards, or None.
        prefix: what a chunk's file name starts with.
        separator: what stands between the coordinates in it.
        fill_value: what a missing chunk reads as.
        raw: a block's bytes are its elements in C order, little-endian (strings: vlen-utf8).
        checksum: they are followed by their crc32c.
    """

    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    sharding: Sharding | None
    prefix: str
    separator: str
    fill_value: Any
    raw: bool
    checksum: bool

    @property
    def chunk_bytes(self) -> int:
        """The stored size of a raw block, its checksum included."""
        return prod(self.chunks) * self.dtype.itemsize + CRC_BYTES * self.checksum

    @property
    def chunks_per_shard(self) -> tuple[int, ...]:
        """How many blocks one file holds along each axis."""
        whole = self.chunks if self.sharding is None else self.sharding.shape
        return tuple(s // c for s, c in zip(whole, self.chunks, strict=True))

    def file_key(self, coordinates: tuple[int, ...]) -> str:
        """The key of the file of a chunk, or of a shard, by its place in the grid of files."""
        name = self.separator.join(map(str, coordinates))
        return f"{self.key}/{self.prefix}{name}"


def read_meta(files: Files, key: str) -> ArrayMeta | None:
    """An array's metadata, or None where there is no such array.

    Raises:
        StoreError: they cannot be understood.
    """
    for name, parse in (("zarr.json", _parse_v3), (".zarray", _parse_v2)):
        data = files.get(f"{key}/{name}")
        if data is not None:
            try:
                return parse(key, json.loads(data))
            except (KeyError, TypeError, ValueError) as error:
                raise StoreError(
                    f"{files.name}: {key}/{name} is not Zarr array metadata "
                    f"({type(error).__name__}: {error})"
                ) from error
    return None


def read_attributes(files: Files) -> dict[str, Any]:
    """The attributes of a store's root group.

    Raises:
        StoreError: they are no JSON object.
    """
    for name in ("zarr.json", ".zattrs"):
        data = files.get(name)
        if data is not None:
            try:
                found = json.loads(data)
                return dict(found.get("attributes", {}) if name == "zarr.json" else found)
            except (AttributeError, TypeError, ValueError) as error:
                raise StoreError(f"{files.name}: {name} is not a JSON object ({error})") from error
    return {}


def _parse_v2(key: str, meta: dict[str, Any]) -> ArrayMeta:
    filters = [f["id"] for f in meta["filters"] or []]
    code = str(meta["dtype"])
    strings = code == "|O" and filters == ["vlen-utf8"]
    return ArrayMeta(
        key=key,
        shape=tuple(meta["shape"]),
        dtype=np.dtype(code),
        chunks=tuple(meta["chunks"]),
        sharding=None,
        prefix="",
        separator=meta.get("dimension_separator", "."),
        fill_value=meta["fill_value"],
        raw=meta["compressor"] is None
        and meta["order"] == "C"
        and (strings or (not filters and code[0] in "<|" and code != "|O")),
        checksum=False,
    )


def _parse_v3(key: str, meta: dict[str, Any]) -> ArrayMeta:
    if meta["node_type"] != "array":
        raise ValueError("node_type is not array")
    grid = meta["chunk_grid"]
    if grid["name"] != "regular":
        raise ValueError(f"chunk_grid {grid['name']!r} is not regular")
    chunks = tuple(grid["configuration"]["chunk_shape"])
    data_type = meta["data_type"]
    dtype = np.dtype(_V3_TYPES[data_type])
    encoding = meta["chunk_key_encoding"]
    v3_keys = encoding["name"] == "default"
    separator = (encoding.get("configuration") or {}).get("separator", "/" if v3_keys else ".")
    codecs, sharding = meta["codecs"], None
    if [_codec_name(c) for c in codecs] == ["sharding_indexed"]:
        inner = codecs[0]["configuration"]
        index = _raw_codecs(inner["index_codecs"], np.dtype("<u8"))
        if index is None:
            raise ValueError("the shard index is compressed")
        at_end = inner.get("index_location", "end") == "end"
        sharding = Sharding(shape=chunks, at_end=at_end, checksum=index)
        chunks, codecs = tuple(inner["chunk_shape"]), inner["codecs"]
    plain = _raw_codecs(codecs, dtype)
    return ArrayMeta(
        key=key,
        shape=tuple(meta["shape"]),
        dtype=dtype,
        chunks=chunks,
        sharding=sharding,
        prefix=f"c{separator}" if v3_keys else "",
        separator=separator,
        fill_value=meta["fill_value"],
        raw=plain is not None and not meta.get("storage_transformers"),
        checksum=bool(plain),
    )


def _codec_name(codec: Any) -> str:
    return codec if isinstance(codec, str) else str(codec["name"])


def _raw_codecs(codecs: list[Any], dtype: np.dtype[Any]) -> bool | None:
    """Whether a checksum follows the raw elements; None where they are not raw."""
    names: list[Literal["bytes", "vlen-utf8", "crc32c"] | str] = [_codec_name(c) for c in codecs]
    first = "vlen-utf8" if dtype.kind == "O" else "bytes"
    if names not in ([first], [first, "crc32c"]):
        return None
    given = codecs[0] if isinstance(codecs[0], dict) else {}
    endian = (given.get("configuration") or {}).get("endian", "little")
    if first == "bytes" and dtype.itemsize > 1 and endian != "little":
        return None
    return names[-1] == "crc32c"
