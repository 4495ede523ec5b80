"""Nearest neighbours: the exact search, and how many of them should count."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ...contracts import ConfigError, EmbeddingBatch, LabelError, boundary
from ..unit_vectors import double, sample_vectors
from .reference import Reference, reference_rows

CANDIDATES = (1, 2, 5, 10, 20, 50)

_TILE = 1 << 24
"""Similarities held at once: 64 MiB in float32."""

_BLOCK = 128
"""Similarities of which only the largest is looked at first."""

_SPARE = 4
"""Candidates beyond k: a gap behind the k-th shows that rounding has hidden none."""

_ROWS = 64
"""Queries whose neighbours are measured at once: they stay in cache."""


def nearest(queries: Tensor, reference: Tensor, k: int) -> Tensor:
    """Distances to the k nearest reference vectors, ascending: (B, D), (N, D) -> (B, k) float64.

    Neighbours are sought in float32, among vectors less their mean, which leaves what tells near
    ones apart. Where its rounding could have hidden a nearer one, they are sought in float64.
    """
    reference = double(reference)
    centre = reference.mean(dim=0)
    reference, queries = reference - centre, double(queries.to(reference.device)) - centre
    distances, certain = _search(queries, reference, k, torch.float32)
    if not certain.all():
        distances[~certain] = _search(queries[~certain], reference, k, torch.float64)[0]
    return distances


def _search(
    queries: Tensor, reference: Tensor, k: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Distances (B, k) to what a search in a dtype finds nearest; where it found all, (B,) bool.

    What is nearest has the largest q.r - |r|^2 / 2. A few more than k are looked up; a vector that
    was not is farther than what the least of them, and rounding's bound, leave.
    """
    N, D = reference.shape
    narrow = reference.T.to(dtype)  # (D, N)
    halves = (reference.square().sum(dim=1) / 2).to(dtype)
    largest = float((2 * halves).max().sqrt())
    rows = max(1, min(len(queries), _TILE // N))
    count = min(N, k + _SPARE)
    # one buffer, for fresh pages cost as much as the search; what pads it to whole blocks is -inf
    nearness = narrow.new_full((rows, -(-N // _BLOCK) * _BLOCK), -torch.inf)
    distances, certain = [], []
    for tile in queries.split(rows):
        torch.addmm(halves, tile.to(dtype), narrow, beta=-1, out=nearness[: len(tile), :N])
        least, found = _largest(nearness[: len(tile)], count)
        near = map(partial(_distances, reference), tile.split(_ROWS), found.split(_ROWS))
        nearest = torch.cat(list(near)).sort(dim=1).values[:, :k]
        lengths = tile.norm(dim=1)
        rounding = torch.finfo(dtype).eps * (D + 2) * largest * (lengths + largest)
        others = lengths.square() - 2 * (least.double() + rounding)  # none is nearer, squared
        certain.append((nearest[:, -1].square() <= others) | (count == N))
        distances.append(nearest)
    return torch.cat(distances), torch.cat(certain)


def _largest(nearness: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Each row's least of the `count` largest (b,), and where these are, (b, count).

    All are in the `count` blocks whose maxima are largest.
    """
    blocks = nearness.unflatten(1, (-1, _BLOCK))  # (b, blocks, _BLOCK)
    if blocks.shape[1] <= count:
        values, found = nearness.topk(count, dim=1, sorted=False)
        return values.amin(dim=1), found
    best = blocks.amax(dim=2).topk(count, dim=1, sorted=False).indices  # (b, count)
    inside = blocks.take_along_dim(best.unsqueeze(2), dim=1).flatten(1)  # (b, count * _BLOCK)
    values, places = inside.topk(count, dim=1, sorted=False)
    found = best.gather(1, places // _BLOCK) * _BLOCK + places % _BLOCK
    return values.amin(dim=1), found


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
