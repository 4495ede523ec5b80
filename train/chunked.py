"""A training step's forward pass a few views at a time, for a memory peak of one chunk."""

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..contracts import FlatViews, KViewBatch, ViewEncoder
from ..contracts.contract import build_unchecked


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
