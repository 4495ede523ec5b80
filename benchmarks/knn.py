"""kNN scoring against scikit-learn's brute force and a plain torch tile loop.

python benchmarks/knn.py: a JSON line per row, of runs that take turns; exits 1 if one is short.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

from kview.contracts import EmbeddingBatch
from kview.eval import KNNDetector
from rows import show

QUERIES, REFERENCE, D, K = 5_000, 20_000, 512, 10
ROUNDS = 5
REACH = {"scikit-learn brute force": 1.5, "torch.cdist in tiles": None}


def tile_loop(queries: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Distances by torch.cdist, 1000 queries at a time."""
    return torch.cat(
        [
            torch.cdist(q, reference).topk(K, largest=False).values.mean(1)
            for q in queries.split(1000)
        ]
    )


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> int:
    generator = torch.Generator().manual_seed(0)
    # Two equal views per sample: its vector is then the view itself, at length 1.
    sets = [torch.randn(n, 1, D, generator=generator) for n in (QUERIES, REFERENCE)]
    queries, reference = [torch.nn.functional.normalize(x[:, 0], dim=-1) for x in sets]
    query_batch, reference_batch = [
        EmbeddingBatch(z_views=x[:, None].repeat(1, 2, 1)) for x in (queries, reference)
    ]
    detector = KNNDetector(k=K).fit(reference_batch)
    brute = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(reference.numpy())
    scorers: dict[str, Callable[[], np.ndarray]] = {
        "kview": lambda: detector.score(query_batch).numpy(),
        "scikit-learn brute force": lambda: brute.kneighbors(queries.numpy())[0].mean(axis=1),
        "torch.cdist in tiles": lambda: tile_loop(queries, reference).numpy(),
    }
    scores = {name: scorer() for name, scorer in scorers.items()}
    times: dict[str, list[float]] = {name: [] for name in scorers}
    for _ in range(ROUNDS):
        for name, scorer in scorers.items():
            times[name].append(seconds(scorer))
    met = True
    for name, reach in REACH.items():
        np.testing.assert_allclose(scores["kview"], scores[name], atol=1e-3)
        met &= show(
            "kNN scoring",
            size=f"{QUERIES} x {REFERENCE} D={D} k={K}",
            against=name,
            unit="s",
            ours=times["kview"],
            theirs=times[name],
            reach=reach,
        )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
