"""Directions: views at length 1, and a sample's vector made of them."""

import torch
from torch import Tensor

from ..contracts import ContractError

_TILE = 1 << 22
"""Numbers held in float64 at once: 32 MiB."""


def double(z: Tensor) -> Tensor:
    """In float64; on the CPU where it came from Apple's GPUs, which have none."""
    return (z.cpu() if z.device.type == "mps" else z).double()


def without_direction(norms: Tensor) -> Tensor:
    """Where a length is zero or not finite, so that no cosine exists."""
    return ~(norms.isfinite() & (norms > 0))


def unit_views(z_views: Tensor) -> Tensor:
    """The views at length 1, detached, in float64: (B, K, D) -> (B, K, D).

    Raises:
        ContractError: a view is zero or not finite.
    """
    return _unit(double(z_views.detach()), "views")


def sample_vectors(z_views: Tensor) -> Tensor:
    """Each sample's vector, the renormalised mean of its unit views: (B, K, D) -> (B, D) float64.

    Raises:
        ContractError: a view is zero or not finite, or a sample's views cancel out.
    """
    samples = max(1, _TILE // z_views[0].numel())
    means = [unit_views(tile).mean(dim=1) for tile in z_views.split(samples)]
    return _unit(torch.cat(means), "samples' mean views")


def _unit(vectors: Tensor, what: str) -> Tensor:
    norms = vectors.norm(dim=-1, keepdim=True)
    if bad := int(without_direction(norms).sum()):
        raise direction_error(bad, norms.numel(), what)
    return vectors / norms


def direction_error(bad: int, total: int, what: str = "views") -> ContractError:
    """Says that some vectors have no direction."""
    return ContractError.of(
        "embeddings",
        "z_views",
        "direction",
        f"{what} that are finite and not zero, for only those have a cosine",
        f"{bad} of {total} that are zero or not finite",
    )
