"""An evaluator of your own, run by EvaluatorManager over the embeddings of an evaluation.

python examples/own_evaluator.py
"""

from dataclasses import dataclass
from tempfile import TemporaryDirectory

import torch
from torch.nn.functional import normalize

from kview.contracts import EmbeddingBatch, boundary
from kview.data import ActivationDataset, ActivationStore, write_synthetic_store
from kview.eval import CosineEvaluator, EvaluatorManager, evaluate
from kview.train import ProgressiveCompressor, SupConLoss


@dataclass(frozen=True)
class FurthestPair:
    """How often a pair of views is a sample's least alike, by class.

    Attributes:
        share: by label, the share of its samples, (K, K), upper triangle.
    """

    share: dict[int, torch.Tensor]


class FurthestPairEvaluator:
    """Looks at all K(K-1)/2 view pairs within each sample."""

    name = "furthest pair"

    @boundary
    def evaluate(self, embeddings: EmbeddingBatch) -> FurthestPair:
        """All samples at once; z_views is (N, K, D)."""
        if embeddings.halu is None:
            raise ValueError("the furthest pair is counted by class, and there are no labels")
        z = normalize(embeddings.z_views, dim=-1)
        K = z.shape[1]
        i, j = torch.triu_indices(K, K, offset=1)
        furthest = (z @ z.transpose(1, 2))[:, i, j].argmin(1)  # (N,)
        share = {}
        for label in embeddings.halu.unique().tolist():
            counts = furthest[embeddings.halu == label].bincount(minlength=len(i))
            share[int(label)] = torch.zeros(K, K)
            share[int(label)][i, j] = counts / counts.sum()
        return FurthestPair(share)


def main() -> None:
    """Evaluates an untrained encoder at four layers."""
    torch.manual_seed(0)
    manager = EvaluatorManager([CosineEvaluator(), FurthestPairEvaluator()])
    with TemporaryDirectory() as folder:
        path = f"{folder}/store.zarr"
        write_synthetic_store(path, num_rows=100, num_layers=8, hidden_size=32, max_tokens=8)
        source = ActivationDataset(ActivationStore.open(path), num_views=4).with_views([0, 2, 5, 7])
        metrics = evaluate(
            ProgressiveCompressor(32, 16),
            source,
            batch_size=32,
            loss_fn=SupConLoss(),
            evaluator_manager=manager,
        )
    print(f"loss {metrics.loss:.3f}  intra_cos {metrics.intra_cos:.3f}")

    results = manager.run()
    for label, cosines in results["cosine"].by_class.items():
        print(f"class {label}: {cosines.n_pairs} pairs of views, mean cosine {cosines.mean:.3f}")
    for label, share in results["furthest pair"].share.items():
        print(f"class {label}: furthest pairs\n{share}")
    for record in list(manager.records())[:2]:
        print(record)


if __name__ == "__main__":
    main()
