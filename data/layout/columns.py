"""Reading arrays with one value per row: lengths, labels, keys."""

import struct

import google_crc32c
import numpy as np

from ...contracts import StoreError
from .decoding import decoding
from .files import Files
from .metadata import CRC_BYTES, MOST_CHUNK_BYTES, ArrayMeta, read_meta


def read_column(files: Files, key: str, rows: int, *, missing_reads_as_fill: bool) -> np.ndarray:
    """The first rows of an array, of any number of axes, whole along all but the first.

    Args:
        files: the store's.
        key: the array's path in it.
        rows: how many rows.
        missing_reads_as_fill: a missing chunk is the fill value, as Zarr has it, and no error.

    Returns:
        (rows, ...) in the array's dtype; object dtype for strings.

    Raises:
        StoreError: the array is missing, shorter than `rows`, or damaged.
    """
    meta = require_meta(files, key, rows)
    if not is_direct(meta):
        with decoding(f"{files.name}: {key}"):
            return np.asarray(files.open_array(key)[:rows])
    parts = [np.empty((0, *meta.shape[1:]), meta.dtype)]
    for number, start in enumerate(range(0, rows, meta.chunks[0])):
        found, size = read_chunk(files, meta, number), min(meta.chunks[0], rows - start)
        if found is not None:
            parts.append(found[:size])
        elif missing_reads_as_fill:
            parts.append(np.full((size, *meta.shape[1:]), meta.fill_value, meta.dtype))
        else:
            file = column_file(meta, number)
            raise StoreError(f"{files.name}: {file} is missing: {key} of rows {start} and on")
    return np.concatenate(parts)


def is_direct(meta: ArrayMeta) -> bool:
    """Whether an array is cut along its rows alone, into files of raw elements."""
    return meta.raw and meta.sharding is None and meta.chunks[1:] == meta.shape[1:]


def column_file(meta: ArrayMeta, number: int) -> str:
    """The key of the file that holds the n-th chunk of rows."""
    return meta.file_key((number,) + (0,) * (len(meta.shape) - 1))


def read_chunk(files: Files, meta: ArrayMeta, number: int) -> np.ndarray | None:
    """The n-th chunk of rows, or None where it is missing.

    Raises:
        StoreError: it is damaged.
    """
    strings = meta.dtype.kind == "O"
    most = MOST_CHUNK_BYTES if strings else meta.chunk_bytes + 1  # a longer file is damaged
    data = files.edge(column_file(meta, number), most, at_end=False)
    return None if data is None else decode_chunk(files, meta, column_file(meta, number), data)


def require_meta(files: Files, key: str, rows: int) -> ArrayMeta:
    """The metadata of an array that must be there and have so many rows.

    Raises:
        StoreError: it is missing, or too short.
    """
    meta = read_meta(files, key)
    if meta is None:
        raise StoreError(f"{files.name}: there is no array {key}")
    if meta.shape[0] < rows:
        raise StoreError(
            f"{files.name}: {key} has {meta.shape[0]} rows and the store holds {rows}: "
            "its arrays disagree"
        )
    return meta


def decode_chunk(files: Files, meta: ArrayMeta, file: str, data: bytes) -> np.ndarray:
    """The elements of one raw chunk.

    Raises:
        StoreError: it is truncated, or fails its checksum.
    """
    if meta.checksum:
        data, stored = data[:-CRC_BYTES], data[-CRC_BYTES:]
        if google_crc32c.value(data) != int.from_bytes(stored, "little"):
            raise StoreError(f"{files.name}: {file} fails its checksum: truncated or changed")
    try:
        if meta.dtype.kind == "O":
            return _decode_strings(data, meta.chunks[0])
        return np.frombuffer(data, meta.dtype).reshape(meta.chunks)
    except (ValueError, struct.error) as error:
        raise StoreError(f"{files.name}: {file} is truncated or damaged ({error})") from error


def encode_strings(values: list[str], count: int) -> bytes:
    """The `vlen-utf8` codec: the count, then each string's length in bytes before its bytes.

    Args:
        values: the first strings of the chunk.
        count: how many it has; the rest are empty.
    """
    parts = [struct.pack("<I", count)]
    for value in values:
        encoded = value.encode()
        parts += [struct.pack("<I", len(encoded)), encoded]
    return b"".join(parts) + bytes(4 * (count - len(values)))


def _decode_strings(data: bytes, expected: int) -> np.ndarray:
    (count,) = struct.unpack_from("<I", data)
    if count != expected or 4 * count + 4 > len(data):
        raise ValueError(f"{count} strings in {len(data)} bytes, where {expected} belong")
    values, at = np.empty(count, object), 4
    for i in range(count):
        (length,) = struct.unpack_from("<I", data, at)
        if at + 4 + length > len(data):
            raise ValueError(f"string {i} of {count} ends behind the chunk")
        values[i] = data[at + 4 : at + 4 + length].decode()
        at += 4 + length
    return values


def read_rows(
    files: Files, meta: ArrayMeta, rows: np.ndarray, *, missing_reads_as_fill: bool = True
) -> np.ndarray:
    """Some rows of an array, one chunk in memory at a time.

    Args:
        files: the store's.
        meta: the array's metadata.
        rows: (B,) rows of the array.
        missing_reads_as_fill: a missing chunk is the fill value, as Zarr has it, and no error where
            the array is cut along its rows alone.

    Returns:
        (B, ...) in the array's dtype.

    Raises:
        StoreError: a chunk is damaged.
    """
    out = np.empty((len(rows), *meta.shape[1:]), meta.dtype)
    if not is_direct(meta):
        with decoding(f"{files.name}: {meta.key}"):
            array = files.open_array(meta.key)
            for b, row in enumerate(rows.tolist()):
                out[b] = array[row]
        return out
    numbers = rows // meta.chunks[0]
    order = np.argsort(numbers, kind="stable")
    for here in np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1):
        for number in numbers[here[:1]].tolist():
            found = read_chunk(files, meta, number)
            if found is None and not missing_reads_as_fill:
                raise StoreError(f"{files.name}: {column_file(meta, number)} is missing")
            out[here] = meta.fill_value if found is None else found[rows[here] % meta.chunks[0]]
    return out


def check_range(files: Files, name: str, values: np.ndarray, low: int, high: int) -> None:
    """The values of an array must lie between two others.

    Raises:
        StoreError: one does not; names the first row.
    """
    bad = np.flatnonzero((values < low) | (values > high))
    if len(bad):
        raise StoreError(
            f"{files.name}: {name} of row {bad[0]} is {values[bad[0]]}, not in {low} to {high} "
            f"({len(bad)} such rows)"
        )
