"""One array of a `.npy`, `.safetensors` or `.pt` file, mapped into memory; nothing is unpickled."""

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch

from ...contracts import StoreError
from ...contracts.checking.outcome import outcome, words
from ..layout.json_text import METADATA_BYTES, parse_json

_DTYPES = {"F16": "<f2", "F32": "<f4"}
_HEADERS: dict[tuple[int, int], Callable[..., Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def map_tensor(path: Path, tensor: str | None) -> np.ndarray:
    """The array in a file.

    Args:
        path: the file, whose name says its format.
        tensor: the name of the tensor, where the file holds several.

    Raises:
        StoreError: it is damaged, or does not say which tensor is meant.
    """
    found = outcome(lambda: MAPS[path.suffix](path, tensor))
    if isinstance(found, StoreError):
        raise found
    if isinstance(found, Exception):
        raise StoreError(f"{path} cannot be read ({words(found)})") from found
    return found


def _map_npy(path: Path, tensor: str | None) -> np.ndarray:
    if tensor is not None:
        raise StoreError(f"{path} holds one array and no tensor {tensor!r}")
    with path.open("rb") as file:
        read = _HEADERS.get(np.lib.format.read_magic(file))
        if read is None:
            raise ValueError("the version of its header is unknown")
        shape, fortran, dtype = read(file)
        start = file.tell()
    return _mapped(path, start, shape, dtype, order="F" if fortran else "C")


def _map_safetensors(path: Path, tensor: str | None) -> np.ndarray:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > METADATA_BYTES:
            raise ValueError(f"its header has {size} bytes")
        header = file.read(size)
        if len(header) < size:
            raise ValueError("it ends in its header")
    said = parse_json(header)
    said.pop("__metadata__", None)
    one = said[_name(path, list(said), tensor)]
    begin, end = one["data_offsets"]
    if one["dtype"] not in _DTYPES:
        raise ValueError(f"its dtype {one['dtype']} is none of {', '.join(_DTYPES)}")
    shape, dtype = tuple(map(int, one["shape"])), np.dtype(_DTYPES[one["dtype"]])
    if end - begin != prod(shape) * dtype.itemsize or begin < 0:
        raise ValueError(f"its header gives {shape} of {dtype} the bytes {begin} to {end}")
    behind = max(other["data_offsets"][1] for other in said.values()) - end
    return _mapped(path, 8 + size + begin, shape, dtype, behind=behind)


def _map_pt(path: Path, tensor: str | None) -> np.ndarray:
    found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if isinstance(found, dict):
        tensors = {name: t for name, t in found.items() if isinstance(t, torch.Tensor)}
        found = tensors[_name(path, [str(name) for name in tensors], tensor)]
    elif tensor is not None:
        raise StoreError(f"{path} holds one array and no tensor {tensor!r}")
    if not isinstance(found, torch.Tensor):
        raise ValueError(f"it holds a {type(found).__name__} and no tensor")
    if found.dtype not in (torch.float16, torch.float32):
        raise ValueError(f"its dtype {found.dtype} is none of float16 and float32")
    return found.detach().numpy()


def _mapped(
    path: Path, start: int, shape: tuple[int, ...], dtype: Any, order: Any = "C", behind: int = 0
) -> np.ndarray:
    """Elements from a byte on; `behind` bytes follow them, and then the file ends."""
    if np.dtype(dtype).hasobject:
        raise ValueError("it holds Python objects")
    size, expected = path.stat().st_size, start + prod(shape) * np.dtype(dtype).itemsize + behind
    if size != expected:
        problem = "truncated" if size < expected else "too long"
        raise ValueError(f"it is {problem}: it has {size} bytes, and its header says {expected}")
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", start, shape, order)


def _name(path: Path, names: list[str], tensor: str | None) -> str:
    """The one tensor, or the one that is named."""
    if tensor is None and len(names) == 1:
        return names[0]
    if tensor in names and tensor is not None:
        return tensor
    asked = "which is not said" if tensor is None else f"not {tensor!r}"
    raise StoreError(
        f"{path} holds the tensors {', '.join(sorted(names)[:8]) or '(none)'}, {asked}; name one "
        f'as "tensor" in {path.stem}.axes.json'
    )


def checksum_problem(path: Path) -> str | None:
    """What is wrong with the checksums of a `.pt` file, a zip archive; other files have none."""
    if path.suffix != ".pt":
        return None

    def test() -> str | None:
        with ZipFile(path) as archive:
            return archive.testzip()

    found = outcome(test)
    if isinstance(found, Exception):
        return f"its checksums cannot be read ({words(found)})"
    return None if found is None else f"{found} fails its checksum"


MAPS = {".npy": _map_npy, ".safetensors": _map_safetensors, ".pt": _map_pt}
"""By the ending of the file's name."""
