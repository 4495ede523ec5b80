"""One batch out of every process's part, for a loss over all of it."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ...contracts import ContractError, Violation


def is_distributed() -> bool:
    """Whether this process belongs to a process group of torch.distributed."""
    return dist.is_available() and dist.is_initialized()


def gather_samples(
    z_views: Tensor, labels: Tensor | None, sample_ids: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The embeddings, labels and sample ids of all processes, in the order of their ranks.

    The gradient reaches a process's own part only, multiplied by the number of processes: where
    each computes one and the same loss from what it gets, the mean of their gradients, which DDP
    and FSDP take, is that loss's gradient. Without a process group the arguments come back.

    Args:
        z_views: this process's embeddings, (B, K, D); B may be 0 and differ between processes.
        labels: (B,), or None on every process.
        sample_ids: (B,), unique among all processes, or None on every process.

    Raises:
        ContractError: processes disagree on K, D, a dtype, or on what is None; raised on all.
    """
    if not is_distributed() or dist.get_world_size() == 1:
        return z_views, labels, sample_ids
    sizes = _exchange_sizes(z_views, labels, sample_ids)
    return (
        _GatherRows.apply(z_views, sizes),
        None if labels is None else _gather_rows(labels, sizes),
        None if sample_ids is None else _gather_rows(sample_ids, sizes),
    )


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int]) -> Tensor:
        start = sum(sizes[: dist.get_rank()])
        ctx.own = slice(start, start + len(x))
        return _gather_rows(x, sizes)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0][ctx.own] * dist.get_world_size(), None


def _gather_rows(x: Tensor, sizes: list[int]) -> Tensor:
    """x of every process, one after the other; sizes are their lengths."""
    padded = x.new_zeros(max(sizes), *x.shape[1:])
    padded[: len(x)] = x
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_DTYPES += (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_NAMES = ("K", "D", "dtype of z_views", "dtype of labels", "dtype of sample_ids")


def _exchange_sizes(z_views: Tensor, labels: Tensor | None, sample_ids: Tensor | None) -> list[int]:
    """Every process's number of samples, once all agree on everything else."""
    dtypes = [-1 if x is None else _DTYPES.index(x.dtype) for x in (z_views, labels, sample_ids)]
    own = torch.tensor([*z_views.shape, *dtypes], device=z_views.device)
    everyone = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(everyone, own)
    sizes, *others = zip(*(e.tolist() for e in everyone), strict=True)
    violations = tuple(
        Violation((name,), "between processes", "one value on all ranks", f"{_words(name, values)}")
        for name, values in zip(_NAMES, others, strict=True)
        if len(set(values)) > 1
    )
    if violations:
        raise ContractError("\n".join(f"gather_samples: {v}" for v in violations), violations)
    return list(sizes)


def _words(name: str, values: tuple[int, ...]) -> list[object]:
    if not name.startswith("dtype"):
        return list(values)
    return [None if v < 0 else _DTYPES[v] for v in values]
