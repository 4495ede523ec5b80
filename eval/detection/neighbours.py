"""The number of neighbours, chosen by leaving each labelled training row out in turn."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ...contracts import ConfigError, EmbeddingBatch, LabelError, boundary
from ..unit_vectors import sample_vectors
from .detectors import Reference, nearest

CANDIDATES = (1, 2, 5, 10, 20, 50)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenK:
    """What leave-one-out found.

    Attributes:
        k: the best number of neighbours, the smallest of equals.
        auroc: the AUROC of each candidate that the reference set is large enough for.
    """

    k: int
    auroc: dict[int, float]


@boundary
def choose_k(
    train: EmbeddingBatch,
    *,
    reference: Reference = "not_hallucinated",
    candidates: Sequence[int] = CANDIDATES,
) -> ChosenK:
    """Chooses k for a `KNNDetector` on labelled training rows, each scored without itself.

    Args:
        train: the training rows, with labels.
        reference: which of them are neighbours.
        candidates: numbers to choose from.

    Raises:
        LabelError: the training rows lack a class.
        ConfigError: the reference set is too small for every candidate.
    """
    from sklearn.metrics import roc_auc_score

    labels = torch.full((len(train),), -1.0) if train.halu is None else train.halu.cpu()
    known = labels >= 0
    if labels[known].unique().numel() < 2:
        raise LabelError("choosing k needs labelled training rows of both classes; set k instead")
    in_reference = (labels == 0) if reference == "not_hallucinated" else torch.ones_like(known)
    usable = sorted(k for k in candidates if 1 <= k < int(in_reference.sum()))
    if not usable:
        raise ConfigError(
            f"a reference set of {int(in_reference.sum())} rows is too small for every k in "
            f"{tuple(candidates)}: leaving one out, k needs k + 1"
        )
    vectors = sample_vectors(train.z_views)
    distances = nearest(vectors[known], vectors[in_reference], usable[-1] + 1).cpu()
    # a row of the reference set is its own nearest neighbour, and is left out by leaving that out
    itself = in_reference[known].unsqueeze(1)
    others = torch.where(itself, distances[:, 1:], distances[:, :-1])
    means = others.cumsum(dim=1) / torch.arange(1, others.shape[1] + 1)
    auroc = {
        k: float(roc_auc_score(labels[known].numpy(), means[:, k - 1].numpy())) for k in usable
    }
    return ChosenK(k=max(auroc, key=lambda k: (auroc[k], -k)), auroc=auroc)
