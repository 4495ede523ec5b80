"""How a Zarr array lies in its files: its metadata, v2 or v3, as far as it can be read directly."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ...contracts import StoreError
from .files import Files
from .json_text import read_json

CRC_BYTES = 4
"""A crc32c codec appends its checksum to the bytes it covers, little-endian."""

MOST_ROWS = 2**28
MOST_AXIS = 2**20
MOST_CHUNK_BYTES = 2**32
MOST_CHUNKS = 2**31
MOST_CHUNKS_PER_SHARD = 2**22
"""What an array may have at most: whatever metadata say, no more memory than this is asked for."""

_KNOWN_CODECS = (
    "bytes crc32c transpose sharding_indexed vlen-utf8 blosc zstd gzip zlib lz4 lzma bz2 shuffle "
    "delta bitround fixedscaleoffset quantize astype packbits adler32 crc32 fletcher32"
)
"""None of these runs code that a store brings along, as `pickle` does."""

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
        fill_value: what a missing chunk reads as, of the array's dtype.
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

    def __post_init__(self) -> None:
        """Refuses what cannot be, or would ask for too much memory, as a ValueError."""
        if self.separator not in (".", "/"):
            raise ValueError(f"separator {self.separator!r} is neither '.' nor '/'")
        whole = self.chunks if self.sharding is None else self.sharding.shape
        if not len(self.shape) == len(self.chunks) == len(whole) > 0:
            raise ValueError(f"shape {self.shape}, chunks {self.chunks}, {whole}: ranks differ")
        if min(self.chunks) < 1 or any(w % c for w, c in zip(whole, self.chunks, strict=True)):
            raise ValueError(f"chunks {self.chunks} do not divide shards {whole}, or are empty")
        if self.dtype.kind not in "biufSU" and self.dtype != object:
            raise ValueError(f"dtype {self.dtype} is neither a number nor a string")
        grid = [-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True)]
        layer_bytes = prod(self.shape[2:]) * self.dtype.itemsize
        for what, size, most in (
            ("rows", self.shape[0], MOST_ROWS),
            ("values along an axis", max(self.shape[1:], default=0), MOST_AXIS),
            ("bytes in a layer of a row", layer_bytes, MOST_CHUNK_BYTES),
            ("bytes in a chunk", self.chunk_bytes, MOST_CHUNK_BYTES),
            ("chunks", prod(grid), MOST_CHUNKS),
            ("chunks in a shard", prod(self.chunks_per_shard), MOST_CHUNKS_PER_SHARD),
        ):
            if size > most:
                raise ValueError(f"it has {size} {what}, more than {most}")

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
    for name, parse in (("zarr.json", parse_v3), (".zarray", _parse_v2)):
        found = read_json(files, f"{key}/{name}")
        if found is not None:
            try:
                return parse(key, found)
            except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
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
        found = read_json(files, name)
        if found is not None:
            try:
                return dict(found.get("attributes", {}) if name == "zarr.json" else found)
            except (AttributeError, TypeError, ValueError) as error:
                raise StoreError(f"{files.name}: {name} is not a JSON object ({error})") from error
    return {}


def _parse_v2(key: str, meta: dict[str, Any]) -> ArrayMeta:
    filters = [str(f["id"]) for f in meta["filters"] or []]
    compressor = meta["compressor"]
    _require_known([*filters, *([] if compressor is None else [str(compressor["id"])])])
    code = str(meta["dtype"])
    strings = code == "|O" and filters == ["vlen-utf8"]
    if "O" in code and not strings:
        raise ValueError(f"objects with filters {filters}: only strings (vlen-utf8) are read")
    dtype = np.dtype(code)
    return ArrayMeta(
        key=key,
        shape=_sizes(meta["shape"]),
        dtype=dtype,
        chunks=_sizes(meta["chunks"]),
        sharding=None,
        prefix="",
        separator=meta.get("dimension_separator", "."),
        fill_value=_fill_value(meta["fill_value"], dtype),
        raw=compressor is None
        and meta["order"] == "C"
        and (strings or (not filters and code[0] in "<|")),
        checksum=False,
    )


def parse_v3(key: str, meta: dict[str, Any]) -> ArrayMeta:
    """What the `zarr.json` of an array says.

    Raises:
        ValueError: it cannot be understood, or asks for more than any sound array has; or another
            error of Python's where a part of it has the wrong form.
    """
    if meta["node_type"] != "array":
        raise ValueError("node_type is not array")
    grid = meta["chunk_grid"]
    if grid["name"] != "regular":
        raise ValueError(f"chunk_grid {grid['name']!r} is not regular")
    chunks = _sizes(grid["configuration"]["chunk_shape"])
    dtype = np.dtype(_V3_TYPES[meta["data_type"]])
    encoding = meta["chunk_key_encoding"]
    if encoding["name"] not in ("default", "v2"):
        raise ValueError(f"chunk_key_encoding {encoding['name']!r} is unknown")
    v3_keys = encoding["name"] == "default"
    separator = (encoding.get("configuration") or {}).get("separator", "/" if v3_keys else ".")
    codecs, sharding = meta["codecs"], None
    _require_known(_codec_names(codecs))
    if [_codec_name(c) for c in codecs] == ["sharding_indexed"]:
        inner = codecs[0]["configuration"]
        index = _raw_codecs(inner["index_codecs"], np.dtype("<u8"))
        if index is None:
            raise ValueError("the shard index is compressed")
        at_end = inner.get("index_location", "end") == "end"
        sharding = Sharding(shape=chunks, at_end=at_end, checksum=index)
        chunks, codecs = _sizes(inner["chunk_shape"]), inner["codecs"]
    plain = _raw_codecs(codecs, dtype)
    return ArrayMeta(
        key=key,
        shape=_sizes(meta["shape"]),
        dtype=dtype,
        chunks=chunks,
        sharding=sharding,
        prefix=f"c{separator}" if v3_keys else "",
        separator=separator,
        fill_value=_fill_value(meta["fill_value"], dtype),
        raw=plain is not None and not meta.get("storage_transformers"),
        checksum=bool(plain),
    )


def _sizes(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list) or any(type(v) is not int or v < 0 for v in values):
        raise ValueError(f"{values!r:.60} is no list of sizes")
    return tuple(values)


def _fill_value(value: Any, dtype: np.dtype[Any]) -> Any:
    if dtype.kind in "OSU":
        return str(value or "")
    if isinstance(value, str) and value.startswith("0x"):  # the bits of a NaN
        return np.array(int(value, 16), f"u{dtype.itemsize}").view(dtype)[()]
    return np.array(float(value) if isinstance(value, str) else value or 0, dtype)[()]


def _codec_name(codec: Any) -> str:
    return codec if isinstance(codec, str) else str(codec["name"])


def _codec_names(codecs: Any) -> Iterator[str]:
    """The names of codecs, and of those inside a shard."""
    for codec in codecs:
        name = _codec_name(codec)
        yield name.removeprefix("numcodecs.")
        if name == "sharding_indexed":
            for inside in ("codecs", "index_codecs"):
                yield from _codec_names(codec["configuration"][inside])


def _require_known(codecs: Iterable[str]) -> None:
    unknown = sorted(set(codecs) - set(_KNOWN_CODECS.split()))
    if unknown:
        raise ValueError(f"codec {unknown[0]!r} is unknown")


def _raw_codecs(codecs: list[Any], dtype: np.dtype[Any]) -> bool | None:
    """Whether a checksum follows the raw elements; None where they are not raw."""
    names = [_codec_name(c) for c in codecs]
    first = "vlen-utf8" if dtype.kind == "O" else "bytes"
    if names not in ([first], [first, "crc32c"]):
        return None
    given = codecs[0] if isinstance(codecs[0], dict) else {}
    endian = (given.get("configuration") or {}).get("endian", "little")
    if first == "bytes" and dtype.itemsize > 1 and endian != "little":
        return None
    return names[-1] == "crc32c"
