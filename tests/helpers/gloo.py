"""Runs a function on several gloo processes; for tests of what happens across processes."""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn


def on_ranks(world_size: int, function: Callable[..., Any], *args: Any) -> list[Any]:
    """function(*args) on every rank of a gloo group, in fresh processes; the ranks' results.

    The function must be importable by name in them, so it stands in a module of tests/.
    """
    with tempfile.TemporaryDirectory() as folder:
        spawn(_rank, (world_size, folder, function, args), nprocs=world_size)
        return [torch.load(Path(folder, f"{rank}.pt")) for rank in range(world_size)]


def _rank(
    rank: int, world_size: int, folder: str, function: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world_size
    )
    try:
        torch.save(function(*args), Path(folder, f"{rank}.pt"))
    finally:
        dist.destroy_process_group()
