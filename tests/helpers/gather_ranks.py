"""What the ranks of test_gather do: here, so that fresh processes can import it."""

from typing import Any, NamedTuple

import torch.distributed as dist
from torch import Tensor

from kview.contracts import ContractError
from kview.train.loss.supcon import SupConLoss


class GlobalBatch(NamedTuple):
    """Inputs of a linear encoder for all ranks, and where the ranks' parts end."""

    x: Tensor
    labels: Tensor | None
    sample_ids: Tensor | None
    ends: tuple[int, ...]

    def part(self, rank: int) -> "GlobalBatch":
        own = slice((0, *self.ends)[rank], self.ends[rank])
        labels, ids = (None if t is None else t[own] for t in self[1:3])
        return GlobalBatch(self.x[own], labels, ids, ())


def loss_and_gradients(batch: GlobalBatch, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and its gradient with respect to the linear encoder's weight."""
    weight = weight.clone().requires_grad_()
    loss_fn = SupConLoss(0.2, same_sample_weight=0.7, across_processes=True)
    loss = loss_fn(batch.x @ weight, batch.labels, sample_ids=batch.sample_ids)
    loss.backward()
    assert weight.grad is not None
    return loss.detach(), weight.grad


def each_ranks_part(cases: list[tuple[GlobalBatch, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """The loss on this rank, and the gradient averaged over the ranks as DDP does."""
    results = []
    for batch, weight in cases:
        loss, grad = loss_and_gradients(batch.part(dist.get_rank()), weight)
        dist.all_reduce(grad)
        results.append((loss, grad / dist.get_world_size()))
    return results


def errors_of_unlike_ranks(parts: list[list[Any]]) -> list[str]:
    """The message on this rank of batches in which the ranks disagree."""
    messages = []
    for part in parts:
        z_views, labels = part[dist.get_rank()]
        try:
            SupConLoss(across_processes=True)(z_views, labels)
        except ContractError as error:
            messages.append(str(error))
    return messages
