"""kNN scoring against scikit-learn's brute force and a plain torch tile loop.

python benchmarks/knn.py: a JSON line a row, times in seconds, medians of alternating runs.
"""

import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

from kview.contracts import EmbeddingBatch
from kview.eval import KNNDetector

QUERIES, REFERENCE, D, K = 5_000, 20_000, 512, 10
ROUNDS = 3


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


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    # Two equal views a sample: its vector is then the view itself, at length 1.
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
    ours = statistics.median(times["kview"])
    for name in list(scorers)[1:]:
        theirs = statistics.median(times[name])
        row = {
            "benchmark": "kNN scoring",
            "against": name,
            "queries": QUERIES,
            "reference": REFERENCE,
            "D": D,
            "k": K,
            "threads": torch.get_num_threads(),
            "seconds": ours,
            "seconds_against": theirs,
            "ratio": theirs / ours,
            "difference": float(np.abs(scores["kview"] - scores[name]).max()),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
