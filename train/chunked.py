"""What a training step gives, and how it encodes in chunks."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..contracts import ContractError, FlatViews, KViewBatch, ViewEncoder, Violation
from ..contracts.contract import Contract, build_unchecked


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StepOutput(Contract):
    """What a training step gives.

    Attributes:
        loss: the loss of the batch, over all processes; `backward` goes through it.
        metrics: `intra_cos` and, for two samples or more, `intra_inter_margin`, over all processes.
        num_samples: samples in the batch, over all processes.
    """

    loss: Float[Tensor, ""]
    metrics: dict[str, float]
    num_samples: int


def encode_in_chunks(encoder: ViewEncoder, batch: KViewBatch, chunk_views: int) -> Tensor:
    """Encodes `chunk_views` views of every sample at a time, to be recomputed in the backward pass.

    Gradients equal those of one pass; the memory peak is one chunk's. Recomputation replays the
    random numbers of the forward pass, dropout's masks included.

    Args:
        encoder: the encoder.
        batch: B samples of K views.
        chunk_views: views of each sample encoded at once, 1 to K - 1.

    Returns:
        (B, K, D).
    """

    def encode(first: int) -> Tensor:
        return encoder.flat(_some_views(batch, first, first + chunk_views)).unflatten(
            0, (len(batch), -1)
        )  # (B, chunk, D)

    starts = range(0, batch.num_views, chunk_views)
    parts = [checkpoint(encode, first, use_reentrant=False) for first in starts]
    return torch.cat(parts, dim=1)  # (B, K, D)


def require_finite(z_views: Tensor, batch: KViewBatch, where: str) -> None:
    """Refuses embeddings that are NaN or infinite.

    Raises:
        ContractError: naming the step and the samples.
    """
    finite = z_views.detach().isfinite().flatten(1).all(dim=1)
    if not bool(finite.all()):
        bad = [key for key, ok in zip(batch.hashkey, finite.tolist(), strict=True) if not ok]
        violation = Violation(("z_views",), "not finite", "finite embeddings", f"samples {bad[:5]}")
        raise ContractError(
            f"{where}: the encoder gave NaN or infinite embeddings for {len(bad)} of {len(batch)} "
            f"samples, the first {bad[:5]}; look at their activations with kview verify, or lower "
            "lr or set clip_norm",
            (violation,),
        )


def _some_views(batch: KViewBatch, first: int, last: int) -> FlatViews:
    views = batch.views_activations[:, first:last]  # (B, chunk, T, H)
    indices, mask = batch.view_indices, batch.token_mask
    return build_unchecked(
        FlatViews,
        {
            "x": views.flatten(0, 1),
            "layer_idx": None if indices is None else indices[:, first:last].flatten(),
            "token_mask": None if mask is None else mask.repeat_interleave(views.shape[1], dim=0),
        },
    )
