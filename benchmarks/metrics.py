"""Intra/inter margin from sums against the dense similarity matrix.

python benchmarks/metrics.py: a JSON line per row, of runs that take turns; exits 1 if one is short.
"""

import sys
import time
from collections.abc import Callable

import torch

from kview.eval import intra_inter_margin
from rows import show

SIZES = [(512, 4, 512, None), (2048, 4, 128, 50), (2048, 4, 512, 50)]  # B, K, D, reach
ROUNDS = 5


def dense_margin(z_views: torch.Tensor) -> torch.Tensor:
    """The margin from all M x M similarities, as it is usually written."""
    B, K, _ = z_views.shape
    z = torch.nn.functional.normalize(z_views.flatten(0, 1), dim=-1)  # (M, D)
    similarities = z @ z.T  # (M, M)
    sample = torch.arange(B).repeat_interleave(K)
    same = sample[:, None] == sample[None, :]
    own = torch.eye(B * K, dtype=torch.bool)
    return similarities[same & ~own].mean() - similarities[~same].mean()


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> int:
    met = True
    for B, K, D, reach in SIZES:
        z = torch.randn(B, K, D, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(intra_inter_margin(z).float(), dense_margin(z))
        ours, dense = [], []
        for _ in range(ROUNDS):
            ours.append(seconds(lambda z=z: intra_inter_margin(z)) * 1e3)
            dense.append(seconds(lambda z=z: dense_margin(z)) * 1e3)
        met &= show(
            "intra/inter margin",
            size=f"M={B * K} D={D}",
            against="dense similarity matrix",
            unit="ms",
            ours=ours,
            theirs=dense,
            reach=reach,
        )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
