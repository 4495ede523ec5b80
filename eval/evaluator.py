"""Validation of a contrastive encoder: the training loss and the K-view metrics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..contracts import (
    IGNORE_LABEL,
    ContractError,
    Encoder,
    KViewBatch,
    ViewEncoder,
    boundary,
)
from ..contracts.settings import Count, checked
from ..contracts.view_encoder import device_of, eval_mode
from ..contracts.views import sample_ids
from .embedding import view_encoder
from .manager import EvaluatorManager
from .metrics import KViewMetrics


class ContrastiveLoss(Protocol):
    """A loss over the views of B samples."""

    def __call__(
        self, z_views: Tensor, labels: Tensor | None = None, *, sample_ids: Tensor | None = None
    ) -> Tensor:
        """z_views (B, K, D), labels (B,), sample_ids (B,) -> a scalar."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationMetrics:
    """What an evaluation found, over all samples it saw.

    Attributes:
        loss: the loss of each contrast set, averaged by samples.
        intra_cos: mean cosine of the view pairs within samples.
        intra_inter_margin: that less the mean cosine between samples; None for one sample.
        n_samples: the samples seen.
        n_batches: the contrast sets they made.
    """

    loss: float
    intra_cos: float
    intra_inter_margin: float | None
    n_samples: int
    n_batches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastiveEvalState:
    """Where an evaluation stands: sums over samples, each a metric times `n_samples`.

    Attributes:
        total_loss: sum of each contrast set's loss times its samples.
        total_intra_cos: the intra-sample cosine so far times the samples.
        total_intra_inter_margin: the margin so far times the samples; None below two samples.
        n_samples: the samples that have been through the encoder.
        n_batches: the contrast sets they made.

    Examples:
        >>> from kview.eval import ContrastiveEvalState
        >>> state = ContrastiveEvalState(total_loss=6.0, n_samples=4, n_batches=1)
        >>> state.total_loss / state.n_samples
        1.5
    """

    total_loss: float = 0.0
    total_intra_cos: float = 0.0
    total_intra_inter_margin: float | None = None
    n_samples: int = 0
    n_batches: int = 0


class ContrastiveEvaluator:
    """Evaluates sub-batches, buffered to contrast sets of `batch_size` samples.

    The loss of a sample depends on whom it is contrasted with, so sets have the training's size
    however the samples are delivered; what remains is a smaller set, weighted by its samples.

    Args:
        model: an encoder, or a `ViewEncoder` that knows how to call one.
        loss_fn: the training loss; gets the labels and the same sample ids as in training.
        batch_size: samples in a contrast set.
        device: where batches go; None for where the model is.
        use_labels: whether the loss sees labels.
        ignore_label: the label by which the loss knows unlabelled samples.
        layer_ids: the model's layer ids that the batches' `view_indices` are positions in.
        evaluator_manager: also gets every set's embeddings.
        max_batches: samples after so many contrast sets are left out; None for all.

    Attributes:
        metrics: the K-view metrics of the samples that have been through the encoder.

    Raises:
        ConfigError: `batch_size` or `max_batches` is not positive.

    Examples:
        >>> import torch
        >>> from kview.contracts import KViewBatch
        >>> from kview.eval import ContrastiveEvaluator
        >>> from kview.train import supcon_loss
        >>> mean = lambda x: x.mean(dim=1)
        >>> evaluator = ContrastiveEvaluator(mean, loss_fn=supcon_loss, batch_size=4)
        >>> for keys in (["a", "b"], ["c", "d", "e"]):  # any sizes
        ...     n = len(keys)
        ...     views, zeros = torch.ones(n, 3, 5, 8), torch.zeros(n)
        ...     evaluator.validation_step(
        ...         KViewBatch(
        ...             hashkey=keys, halu=zeros, views_activations=views, input_length=zeros.int()
        ...         )
        ...     )
        >>> evaluator.state.n_samples, evaluator.finish().n_batches
        (4, 2)
    """

    def __init__(
        self,
        model: Encoder | ViewEncoder,
        *,
        loss_fn: ContrastiveLoss,
        batch_size: int,
        device: torch.device | str | None = None,
        use_labels: bool = True,
        ignore_label: int = IGNORE_LABEL,
        layer_ids: Sequence[int] | None = None,
        evaluator_manager: EvaluatorManager | None = None,
        max_batches: int | None = None,
    ) -> None:
        self.encode = view_encoder(model, layer_ids)
        self.loss_fn = loss_fn
        self.batch_size: int = checked(Count, batch_size=batch_size)
        self.device = torch.device(device) if device else device_of(self.encode.encoder)
        self.use_labels = use_labels
        self.ignore_label = ignore_label
        self.evaluator_manager = evaluator_manager
        self.max_batches: int | None = checked(Count | None, max_batches=max_batches)
        self.metrics = KViewMetrics()
        self._sums = torch.zeros(2, dtype=torch.float64)  # loss times samples, contrast sets
        self._views_repeat = False
        self._clear()

    @property
    def done(self) -> bool:
        """Whether `max_batches` contrast sets have been evaluated."""
        return self.max_batches is not None and self._sums[1].item() >= self.max_batches

    @property
    def state(self) -> ContrastiveEvalState:
        """Where the evaluation stands; buffered samples are not in it yet."""
        if not self._sums[1]:
            return ContrastiveEvalState()
        metrics = self.metrics.compute()
        n, margin = metrics.n_samples, metrics.intra_inter_margin
        return ContrastiveEvalState(
            total_loss=self._sums[0].item(),
            total_intra_cos=metrics.intra_cos * n,
            total_intra_inter_margin=None if margin is None else margin * n,
            n_samples=n,
            n_batches=int(self._sums[1]),
        )

    @boundary
    def validation_step(self, batch: KViewBatch) -> None:
        """Takes a sub-batch of any size; evaluates every contrast set that is full.

        Raises:
            ContractError: the batch breaks its contract, or differs from those before in K, T or H
                or in having `view_indices`.
        """
        self._refuse_mixture(batch)
        start = 0
        while start < len(batch) and not self.done:
            stop = min(len(batch), start + self.batch_size - len(self._buffer_hashkeys))
            self._append(batch, slice(start, stop))
            if len(self._buffer_hashkeys) == self.batch_size:
                self._flush()
            start = stop

    def finish(self, all_reduce: Callable[[Tensor], Tensor] | None = None) -> EvaluationMetrics:
        """Evaluates what remains in the buffers, and gives the metrics of everything seen.

        Args:
            all_reduce: sums a tensor across processes, for the metrics of all their samples.

        Raises:
            ContractError: no sample was seen.
        """
        if self._buffer_hashkeys:
            self._flush()
        if all_reduce is not None:
            self.metrics = KViewMetrics(
                all_reduce(self.metrics.state), num_views=self.metrics.num_views
            )
            self._sums = all_reduce(self._sums.to(self.device)).cpu()
        metrics = self.metrics.compute()
        return EvaluationMetrics(
            loss=self._sums[0].item() / metrics.n_samples,
            intra_cos=metrics.intra_cos,
            intra_inter_margin=metrics.intra_inter_margin,
            n_samples=metrics.n_samples,
            n_batches=int(self._sums[1]),
        )

    def _append(self, batch: KViewBatch, rows: slice) -> None:
        indices, mask = batch.view_indices, batch.token_mask
        self._buffer_views.append(batch.views_activations[rows])
        self._buffer_view_indices.append(None if indices is None else indices[rows])
        self._buffer_labels.append(batch.halu[rows])
        self._buffer_masks.append(None if mask is None else mask[rows])
        self._buffer_hashkeys += batch.hashkey[rows]
        self._views_repeat |= batch.views_repeat

    def _flush(self) -> None:
        """One contrast set through the encoder, the loss, the metrics and the manager."""
        hashkeys = self._buffer_hashkeys
        batch = KViewBatch(
            hashkey=hashkeys,
            halu=torch.cat(self._buffer_labels),
            views_activations=torch.cat(self._buffer_views),
            view_indices=_cat(self._buffer_view_indices),
            input_length=torch.zeros(len(hashkeys), dtype=torch.int64),  # no encoder sees it
            token_mask=_cat_masks(self._buffer_masks, self._buffer_views),
            views_repeat=self._views_repeat,
        ).to(self.device)
        self._clear()
        with eval_mode(self.encode.encoder):
            z_views = self.encode(batch)
            loss = self.loss_fn(
                z_views, self._labels(batch), sample_ids=sample_ids(batch.hashkey).to(self.device)
            )
        self.metrics.update(z_views)
        self._sums += torch.tensor([loss.item() * len(batch), 1], dtype=torch.float64)
        if self.evaluator_manager is not None:
            self.evaluator_manager.accumulate_batch(z_views, batch.hashkey, batch.halu)

    def _clear(self) -> None:
        self._buffer_views: list[Tensor] = []
        self._buffer_view_indices: list[Tensor | None] = []
        self._buffer_labels: list[Tensor] = []
        self._buffer_masks: list[Tensor | None] = []
        self._buffer_hashkeys: list[str] = []

    def _labels(self, batch: KViewBatch) -> Tensor | None:
        if not self.use_labels:
            return None
        return batch.halu.masked_fill(batch.halu == IGNORE_LABEL, self.ignore_label)

    def _refuse_mixture(self, batch: KViewBatch) -> None:
        if not self._buffer_views:
            return
        before = (self._buffer_views[0].shape[1:], self._buffer_view_indices[0] is None)
        now = (batch.views_activations.shape[1:], batch.view_indices is None)
        if before != now:
            raise ContractError.of(
                "ContrastiveEvaluator",
                ("views_activations", "view_indices"),
                "axes K, T, H",
                f"{tuple(before[0])} {'without' if before[1] else 'with'} indices, as before",
                f"{tuple(now[0])} {'without' if now[1] else 'with'} indices",
            )


def _cat(pieces: list[Tensor | None]) -> Tensor | None:
    present = [piece for piece in pieces if piece is not None]
    return torch.cat(present) if present else None


def _cat_masks(masks: list[Tensor | None], views: list[Tensor]) -> Tensor | None:
    """The masks of a set; a sub-batch without one has real tokens only."""
    if all(mask is None for mask in masks):
        return None
    return torch.cat(
        [
            v.new_ones(v.shape[0], v.shape[2], dtype=torch.bool) if m is None else m
            for m, v in zip(masks, views, strict=True)
        ]
    )
