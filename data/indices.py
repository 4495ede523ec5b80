"""`as_indices`: the rows or layers that a caller names, checked."""

from collections.abc import Sequence

import numpy as np

from ..contracts import ConfigError


def as_indices(
    name: str, values: Sequence[int] | Sequence[Sequence[int]] | np.ndarray, size: int
) -> np.ndarray:
    """Positions from 0 to size - 1, as int64 of the same shape.

    Args:
        name: of one of them, for messages.
        values: what was given; a mask or a float is no position.
        size: how many there are to name.

    Raises:
        ConfigError: they are no integers, or one is out of range.
    """
    found = np.asarray(values)
    if found.size and found.dtype.kind not in "iu":
        raise ConfigError(f"{name}s are {found.dtype}; they must be whole numbers, 0 to {size - 1}")
    wrong = found[(found < 0) | (found >= size)]
    if wrong.size:
        raise ConfigError(f"{name} {wrong[0]} is out of range: there are {size}")
    return found.astype(np.int64)
