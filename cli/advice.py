"""What a command that ran out of memory is told."""

from typing import Any

import torch

from .evaluate import Evaluate
from .stores import Capture
from .train import Train

_LOWER = {
    Train: "lower --batch-size or --num-views, or set --train-forward-chunk-views",
    Evaluate: "lower --batch-size",
    Capture: "lower --batch-tokens",
}

_ALLOCATORS = ("can't allocate memory", "not enough memory", "out of memory")
"""How torch's allocators complain by a plain RuntimeError."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(a in str(error) for a in _ALLOCATORS)


def out_of_memory(command: Any, error: BaseException) -> str:
    """A sentence with the setting to lower."""
    what = str(error).partition("\n")[0]
    advice = _LOWER.get(type(command), "close other programs, or take a machine with more")
    return f"out of memory{f' ({what})' if what else ''}: {advice}"
