"""What each axis of a plain array is: said in a file beside it, and never guessed."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...contracts import StoreError
from ..layout.files import LocalFiles
from ..layout.json_text import read_json
from ..layout.metadata import MOST_AXIS, MOST_CHUNK_BYTES, MOST_ROWS

AXES = ("row", "layer", "token", "hidden")
WITHOUT_TOKENS = ("row", "layer", "hidden")


@dataclass(frozen=True, slots=True)
class AxesFile:
    """What the file beside an array says.

    Attributes:
        axes: the name of each axis of the array, in its order; None where nothing is said.
        layers: the model's layer id at each place of the layer axis; None for 0 and on.
        model: the language model's name, or "".
        tensor: the name of the tensor, where a file holds several; None otherwise.
    """

    axes: tuple[str, ...] | None
    layers: tuple[int, ...] | None
    model: str
    tensor: str | None


def axes_file(array: str) -> str:
    """The name of the file that names the axes of an array, by the name of the array's file."""
    return f"{array.rpartition('.')[0]}.axes.json"


def read_axes(files: LocalFiles, array: str) -> AxesFile:
    """What is said of an array.

    Args:
        files: the folder it lies in.
        array: the name of its file.

    Raises:
        StoreError: the file beside it is malformed.
    """
    name = axes_file(array)
    said = read_json(files, name)
    if said is None:
        return AxesFile(None, None, "", None)
    place = f"{files.name}: {name}"
    if not isinstance(said, dict):
        raise StoreError(f"{place} is not a JSON object")
    unknown = said.keys() - {"axes", "layers", "model", "tensor"}
    if unknown:
        raise StoreError(f"{place}: {min(unknown)!r} is none of axes, layers, model and tensor")
    axes, layers, model = said.get("axes"), said.get("layers"), said.get("model", "")
    if axes is not None and not (isinstance(axes, list) and _are_axes(axes)):
        raise StoreError(
            f"{place}: axes are {axes!r}; they are {', '.join(AXES)} in any order, each once, and "
            "token may be missing"
        )
    if layers is not None and not _are_layers(layers):
        raise StoreError(
            f"{place}: layers are {layers!r}; they are the model's numbers of its layers, each once"
        )
    if not isinstance(model, str) or not isinstance(said.get("tensor", ""), str):
        raise StoreError(f"{place}: model and tensor are names")
    return AxesFile(
        axes=None if axes is None else tuple(axes),
        layers=None if layers is None else tuple(layers),
        model=model,
        tensor=said.get("tensor"),
    )


def named(files: LocalFiles, array: str, values: np.ndarray, said: AxesFile) -> np.ndarray:
    """An array as (N, L, T, H), whatever the order of its axes; nothing is copied.

    Raises:
        StoreError: its axes have no names, too many or too few, or are of sizes that do not fit.
    """
    place, name = f"{files.name}: {array}", axes_file(array)
    sides = " x ".join(map(str, values.shape)) or "no axes"
    if values.ndim not in (3, 4):
        raise StoreError(
            f"{place} is {sides}; activations have three axes ({', '.join(WITHOUT_TOKENS)}) or "
            f"four ({', '.join(AXES)})"
        )
    if said.axes is None:
        example = '", "'.join(AXES if values.ndim == 4 else WITHOUT_TOKENS)
        raise StoreError(
            f"{place} is {sides} and nothing says which axis is which; name them in {name} beside "
            f'it, in their order, such as {{"axes": ["{example}"]}}'
        )
    if len(said.axes) != values.ndim:
        raise StoreError(f"{place} is {sides} and {name} names {len(said.axes)} axes")
    if values.dtype.newbyteorder("=") not in (np.float16, np.float32):
        raise StoreError(f"{place} is of {values.dtype}; float16 and float32 are read")
    wanted = [axis for axis in AXES if axis in said.axes]
    found = values.transpose([said.axes.index(axis) for axis in wanted])
    if values.ndim == 3:
        found = found[:, :, None]
    if said.layers is not None and len(said.layers) != found.shape[1]:
        raise StoreError(
            f"{place} has {found.shape[1]} along its layer axis and {name} has "
            f"{len(said.layers)} layers: are the axes ({', '.join(said.axes)}) in the right order?"
        )
    N, L, T, H = found.shape
    if N > MOST_ROWS or max(L, T, H) > MOST_AXIS or T * H * found.itemsize > MOST_CHUNK_BYTES:
        raise StoreError(f"{place}: {N} x {L} x {T} x {H} is more than any store has")
    if 0 in (L, T, H):
        raise StoreError(f"{place} is {sides}: an axis is empty")
    return found


def _are_axes(values: list[Any]) -> bool:
    strings = [value for value in values if isinstance(value, str)]
    return len(strings) == len(values) and sorted(strings) in (sorted(AXES), sorted(WITHOUT_TOKENS))


def _are_layers(values: Any) -> bool:
    return (
        isinstance(values, list)
        and all(type(value) is int and 0 <= value < 2**31 for value in values)
        and len(set(values)) == len(values)
    )
