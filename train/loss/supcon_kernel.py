"""The kernel of the supervised contrastive loss: value and gradient in O(M D) memory.

In the words of `supcon`: the positive term comes from sums S over a view's sample and class,

    sum_j w_ij z_j = same_sample_weight (S_sample - z_i) + same_class_weight (S_class - S_sample),

and the log-sum-exp from tiles of l, of which backward computes each once more. As l is symmetric,
a tile serves its rows and its columns. With g_i = dL/dL_i, Pool the sum above, t the temperature:

    dL/dz_i = (1/t) { sum_{j != i} [g_i e^(l_ij - lse_i) + g_j e^(l_ij - lse_j)] z_j
                      - (g_i / W_i) Pool(z)_i - Pool((g / W) z)_i }
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...contracts import ContractError

_TILE = 512
"""Rows and columns of a tile: large enough for the matrix product, small enough for the cache."""


class KernelSettings(NamedTuple):
    """What both operators take beside tensors: `_SCHEMA` says it to torch.

    `weights` are those of the anchor's own sample and of its class, the others `supcon_loss`'s.
    """

    num_views: int
    temperature: float
    weights: Sequence[float]
    ignore_label: int
    normalize: bool


_SCHEMA = "int num_views, float temperature, float[] weights, int ignore_label, bool normalize"


# An operator of its own, forward and backward, is opaque to torch.compile: a compiled step keeps
# the loss in one graph with the encoder, and the checks of values stay outside what is compiled.
@torch.library.custom_op(
    "kview::supcon",
    mutates_args=(),
    schema=f"(Tensor z, Tensor? labels, Tensor? sample_ids, {_SCHEMA}) -> (Tensor, Tensor)",
)
def supcon_kernel(
    z: Tensor, labels: Tensor | None, sample_ids: Tensor | None, *given: Any
) -> tuple[Tensor, Tensor]:
    """The mean of L_i (), and the log-sum-exp of every row (M,); `given` are KernelSettings."""
    settings = KernelSettings(*given)
    positives = _positives(z, labels, sample_ids, settings)
    total = positives.total()
    valid = total > 0
    if not valid.any():
        raise ContractError.of(
            "supcon_loss",
            ("labels", "sample_ids"),
            "no positive pair",
            "a view of the same sample or class, with a weight above 0, for at least one view",
            "none with same_sample_weight={}, same_class_weight={}".format(*settings.weights),
        )
    if settings.normalize:
        z = _unit(z)[0]
    with torch.autocast(z.device.type, enabled=False):
        lse = _logsumexp(z, settings.temperature)
    positive = (z * positives.pool(z)).sum(1) / total / settings.temperature
    return (lse - positive)[valid].mean(), lse


@torch.library.custom_op(
    "kview::supcon_backward",
    mutates_args=(),
    schema="(Tensor grad_loss, Tensor z, Tensor lse, Tensor? labels, Tensor? sample_ids, "
    f"{_SCHEMA}) -> Tensor",
)
def _supcon_backward(
    grad_loss: Tensor,
    z: Tensor,
    lse: Tensor,
    labels: Tensor | None,
    sample_ids: Tensor | None,
    *given: Any,
) -> Tensor:
    """The gradient with respect to z, (M, D)."""
    settings = KernelSettings(*given)
    positives = _positives(z, labels, sample_ids, settings)
    total = positives.total()
    valid = total > 0
    share = grad_loss * valid / valid.sum()  # (M,), dL/dL_i
    pull = torch.where(valid, share / total, 0)[:, None]  # (M, 1)
    norm = None
    if settings.normalize:
        z, norm = _unit(z)
    with torch.autocast(z.device.type, enabled=False):
        grad = _logsumexp_gradient(z, lse, share, settings.temperature)
    grad.addcmul_(pull, positives.pool(z), value=-1)
    grad -= positives.pool(pull * z)
    grad /= settings.temperature
    if norm is not None:  # through z / |z|
        grad.addcmul_(z, (z * grad).sum(1, keepdim=True), value=-1)
        grad /= norm
    return grad


@supcon_kernel.register_fake
def _(z: Tensor, *_settings: object) -> tuple[Tensor, Tensor]:
    return z.new_empty(()), z.new_empty(z.shape[:1])


@_supcon_backward.register_fake
def _(_grad: Tensor, z: Tensor, *_settings: object) -> Tensor:
    return torch.empty_like(z)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    z, labels, sample_ids, *settings = inputs
    ctx.save_for_backward(z, output[1], labels, sample_ids)
    ctx.settings = settings


def _backward(ctx: Any, grad_loss: Tensor, _grad_lse: Tensor) -> tuple[Tensor | None, ...]:
    z, lse, labels, sample_ids = ctx.saved_tensors
    grad = _supcon_backward(grad_loss, z, lse, labels, sample_ids, *ctx.settings)
    return grad, None, None, *(None for _ in ctx.settings)


supcon_kernel.register_autograd(_backward, setup_context=_save)


@dataclass(frozen=True, slots=True)
class _Positives:
    """The weights w_ij, held as groups.

    Attributes:
        size: the number of samples at most, and of classes, B.
        sample: which sample a view is of, (M,).
        klass: which class it is of, (M,), or None without labels.
        own: weight of views of the same sample.
        other: weight of views of other samples of the class, (M, 1): 0 for unlabelled ones.
    """

    size: int
    sample: Tensor
    klass: Tensor | None
    own: float
    other: Tensor

    def pool(self, x: Tensor) -> Tensor:
        """sum_j w_ij x_j for every view i, in O(M D): (M, D)."""
        of_sample = self._sum_over(self.sample, x)
        pooled = (of_sample - x).mul_(self.own)
        if self.klass is not None:
            pooled.addcmul_(self.other, self._sum_over(self.klass, x).sub_(of_sample))
        return pooled

    def total(self) -> Tensor:
        """W_i, (M,)."""
        return self.pool(torch.ones_like(self.other))[:, 0]

    def _sum_over(self, group: Tensor, x: Tensor) -> Tensor:
        """The sum of x over the group of every view, (M, D)."""
        return x.new_zeros(self.size, x.shape[1]).index_add_(0, group, x)[group]


def _positives(
    z: Tensor, labels: Tensor | None, sample_ids: Tensor | None, settings: KernelSettings
) -> _Positives:
    K, B = settings.num_views, z.shape[0] // settings.num_views
    if sample_ids is None:
        sample = torch.arange(B, device=z.device)
    else:
        sample = torch.unique(sample_ids, return_inverse=True)[1]
    klass, known = None, torch.zeros(B, dtype=torch.bool, device=z.device)
    if labels is not None:
        if sample_ids is not None:
            _one_label_per_sample(sample, labels, sample_ids)
        klass = torch.unique(labels, return_inverse=True)[1].repeat_interleave(K)
        known = labels != settings.ignore_label
    sample = sample.repeat_interleave(K)
    own, of_class = settings.weights
    other = of_class * known.to(z.dtype).repeat_interleave(K)[:, None]
    return _Positives(B, sample, klass, own, other)


def _one_label_per_sample(sample: Tensor, labels: Tensor, sample_ids: Tensor) -> None:
    first = torch.zeros_like(labels).scatter_(0, sample, labels)  # some row's label of each sample
    unlike = first[sample] != labels
    if unlike.any():
        ids = sample_ids[unlike].unique().tolist()
        raise ContractError.of(
            "supcon_loss",
            ("sample_ids", "labels"),
            "labels of one id",
            "one label for all rows of a sample",
            f"several for {len(ids)} ids, among them {ids[:5]}",
        )


def _unit(z: Tensor) -> tuple[Tensor, Tensor]:
    """The vectors at length 1, and their lengths (M, 1)."""
    largest = z.abs().amax(1, keepdim=True)  # divided by first: squares of 1e20 overflow float32
    if (largest == 0).any():
        rows = (largest[:, 0] == 0).nonzero()[:, 0].tolist()
        raise ContractError.of(
            "supcon_loss",
            "z_views",
            "zero vector",
            "embeddings that have a direction (or normalize=False)",
            f"{len(rows)} without, the first at flattened view {rows[0]}",
        )
    z = z / largest
    norm = torch.linalg.vector_norm(z, dim=1, keepdim=True)
    return z / norm, norm * largest


def _tiles(size: int) -> Iterator[tuple[slice, slice]]:
    """The tiles on and above the diagonal, as (rows, columns)."""
    for row in range(0, size, _TILE):
        for column in range(row, size, _TILE):
            yield slice(row, row + _TILE), slice(column, column + _TILE)


def _similarities(z: Tensor, rows: slice, columns: slice, temperature: float) -> Tensor:
    """A tile of l, with -inf for a view and itself."""
    tile = (z[rows] / temperature) @ z[columns].T
    return tile.fill_diagonal_(-math.inf) if rows == columns else tile


def _logsumexp(z: Tensor, temperature: float) -> Tensor:
    """logsumexp_{j != i} l_ij, (M,)."""
    lse = z.new_full(z.shape[:1], -math.inf)
    for rows, columns in _tiles(len(z)):
        tile = _similarities(z, rows, columns, temperature)
        lse[rows] = torch.logaddexp(lse[rows], tile.logsumexp(1))
        if rows != columns:  # l is symmetric
            lse[columns] = torch.logaddexp(lse[columns], tile.logsumexp(0))
    return lse


def _logsumexp_gradient(z: Tensor, lse: Tensor, share: Tensor, temperature: float) -> Tensor:
    """temperature * the gradient of sum_i share_i lse_i, (M, D)."""
    grad = torch.zeros_like(z)
    for rows, columns in _tiles(len(z)):
        tile = _similarities(z, rows, columns, temperature)
        p = (tile - lse[rows, None]).exp_().mul_(share[rows, None])
        p += tile.sub_(lse[columns]).exp_().mul_(share[columns])
        grad[rows].addmm_(p, z[columns])
        if rows != columns:
            grad[columns].addmm_(p.T, z[rows])
    return grad
