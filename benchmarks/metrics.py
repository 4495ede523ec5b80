"""Intra/inter margin from sums against the dense similarity matrix.

python benchmarks/metrics.py: a JSON line a row, times in seconds, medians of alternating runs.
"""

import json
import statistics
import time
from collections.abc import Callable

import torch

from kview.eval import intra_inter_margin

SIZES = [(512, 4, 512), (2048, 4, 128), (2048, 4, 512)]  # B, K, D
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


def main() -> None:
    for B, K, D in SIZES:
        z = torch.randn(B, K, D, generator=torch.Generator().manual_seed(0))
        difference = abs(intra_inter_margin(z).item() - dense_margin(z).item())
        ours, dense = [], []
        for _ in range(ROUNDS):
            ours.append(seconds(lambda z=z: intra_inter_margin(z)))
            dense.append(seconds(lambda z=z: dense_margin(z)))
        row = {
            "benchmark": "intra/inter margin",
            "against": "dense similarity matrix",
            "M": B * K,
            "D": D,
            "threads": torch.get_num_threads(),
            "seconds": statistics.median(ours),
            "seconds_against": statistics.median(dense),
            "ratio": statistics.median(dense) / statistics.median(ours),
            "difference": difference,
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
