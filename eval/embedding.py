"""A source through an encoder: every row's embeddings, in order."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..contracts import (
    ConfigError,
    ContractError,
    EmbeddingBatch,
    Encoder,
    KViewBatch,
    KViewSource,
    ViewEncoder,
    Violation,
    boundary,
)
from ..contracts.view_encoder import device_of, eval_mode


def evenly_spaced(num_layers: int, k: int) -> tuple[int, ...]:
    """K positions spread evenly over all layers, the first and the last among them.

    Args:
        num_layers: layers there are.
        k: views to choose, at least 2.

    Raises:
        ConfigError: k is below 2 or above the number of layers.
    """
    if not 2 <= k <= num_layers:
        raise ConfigError(
            f"num_views={k} does not lie between 2 and the {num_layers} layers available; choose "
            "a number of views that does"
        )
    return tuple((i * (num_layers - 1) + (k - 1) // 2) // (k - 1) for i in range(k))


def embed(
    encoder: Encoder | ViewEncoder,
    source: KViewSource,
    *,
    batch_size: int = 256,
    device: torch.device | str | None = None,
) -> EmbeddingBatch:
    """Embeds all rows of a source in eval mode, in the rows' order.

    Args:
        encoder: an encoder, or a `ViewEncoder` that knows how to call one; its mode is restored.
        source: gives the rows.
        batch_size: rows encoded at once.
        device: where batches go and embeddings stay; None for where the encoder is.

    Raises:
        ContractError: the source's batches are not its rows in order.
        ConfigError: the source has layers the encoder does not know.
    """
    encode = (
        encoder
        if isinstance(encoder, ViewEncoder)
        else ViewEncoder(encoder, layer_ids=source.layer_ids)
    )
    device = torch.device(device) if device else device_of(encode.encoder)
    z_views, halu, hashkeys = [], [], []
    with eval_mode(encode.encoder):
        for batch in source.batches(epoch=0, batch_size=batch_size, shuffle=False):
            z_views.append(encode(batch.to(device)).float())
            halu.append(batch.halu.to(device))
            hashkeys += batch.hashkey
    require_rows(hashkeys, source)
    return EmbeddingBatch(z_views=torch.cat(z_views), hashkey=hashkeys, halu=torch.cat(halu))


@boundary
def token_means(batch: KViewBatch) -> Float[Tensor, "B K H"]:
    """Each view's mean over its real tokens, in float32: (B, K, T, H) -> (B, K, H)."""
    x = batch.views_activations.float()
    if batch.token_mask is None:
        return x.mean(dim=2)
    mask = batch.token_mask[:, None, :, None]  # (B, 1, T, 1)
    return (x * mask).sum(dim=2) / mask.sum(dim=2)


def require_rows(hashkeys: list[str], source: KViewSource) -> None:
    """Refuses batches that were not a source's rows in order.

    Raises:
        ContractError: they were not.
    """
    if hashkeys != list(source.hashkeys):
        violation = Violation(
            ("hashkey",),
            "order",
            f"the source's {len(source)} rows in order, with shuffle=False",
            f"{len(hashkeys)} samples that are not",
        )
        raise ContractError(f"{type(source).__name__}: {violation}", (violation,))
