"""How alike a sample's views are, over all their pairs and by class."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..contracts import EmbeddingBatch, boundary
from .unit_vectors import unit_views


@dataclass(frozen=True, slots=True, kw_only=True)
class CosineStatistics:
    """The cosines of all view pairs within samples, K(K-1)/2 per sample.

    Attributes:
        mean: their mean.
        std: the standard deviation of the samples' means; 0 for one sample.
        min: the smallest cosine of a pair.
        max: the largest.
        n_samples: the samples.
        n_pairs: the pairs.
    """

    mean: float
    std: float
    min: float
    max: float
    n_samples: int
    n_pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CosineReport:
    """What `CosineEvaluator` finds.

    Attributes:
        overall: of all samples.
        by_class: of the samples of each label that occurs, by label; empty without labels.
    """

    overall: CosineStatistics
    by_class: dict[int, CosineStatistics]


class CosineEvaluator:
    """Describes the cosines of all view pairs within samples; `overall.mean` is the intra cosine.

    Attributes:
        name: "cosine".
    """

    name = "cosine"

    @boundary
    def evaluate(self, embeddings: EmbeddingBatch) -> CosineReport:
        """The statistics of all samples, and of each class.

        Raises:
            ContractError: a view is zero or not finite.
        """
        cosines = pair_cosines(embeddings.z_views)
        by_class = {}
        if embeddings.halu is not None:
            by_class = {
                int(label): _statistics(cosines[embeddings.halu == label])
                for label in embeddings.halu.unique().tolist()
            }
        return CosineReport(overall=_statistics(cosines), by_class=by_class)


def pair_cosines(z_views: Tensor) -> Tensor:
    """The cosines of each sample's view pairs: (B, K, D) -> (B, K(K-1)/2) float64.

    Raises:
        ContractError: a view is zero or not finite.
    """
    unit = unit_views(z_views)
    K = unit.shape[1]
    i, j = torch.triu_indices(K, K, offset=1)
    return (unit @ unit.transpose(1, 2))[:, i, j]


def _statistics(cosines: Tensor) -> CosineStatistics:
    return CosineStatistics(
        mean=cosines.mean().item(),
        std=cosines.mean(dim=1).std(correction=0).item(),
        min=cosines.min().item(),
        max=cosines.max().item(),
        n_samples=cosines.shape[0],
        n_pairs=cosines.numel(),
    )
