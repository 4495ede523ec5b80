"""Nearest neighbours: the exact search, and how many of them should count."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ...contracts import ConfigError, EmbeddingBatch, LabelError, boundary
from ..unit_vectors import sample_vectors
from .reference import Reference, reference_rows

CANDIDATES = (1, 2, 5, 10, 20, 50)

_TILE = 1 << 24
"""Similarities held at once: 64 MiB in float32."""

_BLOCK = 128
"""Similarities of which only the largest is looked at first."""

_ROWS = 64
"""Queries whose neighbours are measured at once: they stay in cache."""


def nearest(queries: Tensor, reference: Tensor, k: int) -> Tensor:
    """Distances to the k nearest unit vectors, ascending: (B, D), (N, D) -> (B, k) float64.

    Neighbours are found by float32 cosines, in tiles; a distance made from such a cosine would lose
    half its digits when it is small, so those to the k found are computed anew.
    """
    queries, narrow = queries.to(reference.device), reference.float().T  # (D, N)
    N = len(reference)
    rows = max(1, min(len(queries), _TILE // N))
    # one buffer, for fresh pages cost as much as the search; what pads it to whole blocks is -inf
    cosines = narrow.new_full((rows, -(-N // _BLOCK) * _BLOCK), -torch.inf)
    distances = []
    for tile in queries.split(rows):
        torch.mm(tile.float(), narrow, out=cosines[: len(tile), :N])
        found = _largest(cosines[: len(tile)], k)
        distances += map(partial(_distances, reference), tile.split(_ROWS), found.split(_ROWS))
    return torch.cat(distances).sort(dim=1).values


def _largest(cosines: Tensor, k: int) -> Tensor:
    """Where each row's k largest are, (b, k): all in the k blocks whose maxima are largest."""
    blocks = cosines.unflatten(1, (-1, _BLOCK))  # (b, blocks, _BLOCK)
    if blocks.shape[1] <= k:
        return cosines.topk(k, dim=1, sorted=False).indices
    best = blocks.amax(dim=2).topk(k, dim=1, sorted=False).indices  # (b, k)
    values = blocks.take_along_dim(best.unsqueeze(2), dim=1).flatten(1)  # (b, k * _BLOCK)
    inside = values.topk(k, dim=1, sorted=False).indices
    return best.gather(1, inside // _BLOCK) * _BLOCK + inside % _BLOCK


def _distances(reference: Tensor, queries: Tensor, found: Tensor) -> Tensor:
    """Distances to the reference vectors found, (b, k)."""
    near = reference.index_select(0, found.flatten()).view(*found.shape, -1)  # (b, k, D)
    return near.sub_(queries.unsqueeze(1)).norm(dim=-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenK:
    """What the validation rows say of numbers of neighbours.

    Attributes:
        k: the best number of neighbours, the smallest of equals.
        auroc: the AUROC of each candidate that the reference set is large enough for.
    """

    k: int
    auroc: dict[int, float]


@boundary
def choose_k(
    train: EmbeddingBatch,
    val: EmbeddingBatch | None,
    *,
    reference: Reference = "not_hallucinated",
    candidates: Sequence[int] = CANDIDATES,
) -> ChosenK:
    """Chooses k for a `KNNDetector` on labelled rows that the encoder was not trained on.

    On training rows every k would look perfect: the encoder has put them where their labels are.

    Args:
        train: the training rows.
        val: the validation rows.
        reference: which training rows are neighbours.
        candidates: numbers to choose from.

    Raises:
        LabelError: the validation rows lack a class, or there are none.
        ConfigError: the reference set is too small for every candidate.
    """
    from sklearn.metrics import roc_auc_score

    known = None if val is None or val.halu is None else val.halu >= 0
    if val is None or val.halu is None or val.halu[known].unique().numel() < 2:
        raise LabelError(
            "choosing k needs validation rows of both labels (split three_way); set k instead"
        )
    neighbours = sample_vectors(train.z_views)[reference_rows(train, reference)]
    usable = sorted(k for k in candidates if 1 <= k < len(neighbours))
    if not usable:
        raise ConfigError(
            f"a reference set of {len(neighbours)} rows is too small for every k in "
            f"{tuple(candidates)}: k neighbours take k + 1 rows"
        )
    distances = nearest(sample_vectors(val.z_views)[known], neighbours, usable[-1]).cpu()
    means = distances.cumsum(dim=1) / torch.arange(1, usable[-1] + 1)
    labels = val.halu[known].cpu().numpy()
    auroc = {k: float(roc_auc_score(labels, means[:, k - 1].numpy())) for k in usable}
    return ChosenK(k=max(auroc, key=lambda k: (auroc[k], -k)), auroc=auroc)
