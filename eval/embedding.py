"""A source through an encoder: every row's embeddings, in order."""

import copy
from collections.abc import Callable, Sequence
from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..contracts import (
    ConfigError,
    ContractError,
    EmbeddingBatch,
    Encoder,
    KViewBatch,
    KViewSource,
    ViewEncoder,
    boundary,
)
from ..contracts.view_encoder import device_of, eval_mode
from ..contracts.views import samples_not_finite
from .progress import Count, uncounted


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


def view_encoder(encoder: Encoder | ViewEncoder, layer_ids: Sequence[int] | None) -> ViewEncoder:
    """How to call an encoder on data with these layer ids; a `ViewEncoder` may know its own."""
    if isinstance(encoder, ViewEncoder):
        return encoder.of(layer_ids)
    return ViewEncoder(encoder, layer_ids=layer_ids)


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
        device: where rows are encoded, by a copy of the encoder where that is elsewhere, and where
            embeddings stay; None for where the encoder is.

    Raises:
        ContractError: the source's batches are not its rows in order, or there are none.
        ConfigError: the source has layers the encoder does not know.

    Examples:
        >>> import tempfile
        >>> from kview.data import ActivationDataset, ActivationStore, write_synthetic_store
        >>> from kview.eval import embed
        >>> path = tempfile.mkdtemp() + "/store.zarr"
        >>> _ = write_synthetic_store(path, num_rows=20, num_layers=4, hidden_size=8, max_tokens=3)
        >>> rows = ActivationDataset(ActivationStore.open(path), num_views=2)
        >>> embed(lambda x: x.mean(dim=1), rows.with_views([0, 3])).z_views.shape
        torch.Size([20, 2, 8])
    """
    encode = view_encoder(encoder, source.layer_ids)
    z_views, halu = _encoded(encode, source, batch_size, device, KViewBatch.to)
    return EmbeddingBatch(z_views=z_views, hashkey=list(source.hashkeys), halu=halu)


def embed_layers(
    encoder: Encoder | ViewEncoder,
    source: KViewSource,
    *,
    views: Sequence[int],
    see: Callable[[KViewBatch, KViewBatch, Tensor], None] = lambda given, viewed, means: None,
    batch_size: int = 256,
    device: torch.device | str | None = None,
) -> EmbeddingBatch:
    """Embeds all rows at some layers, and shows every batch on the way, in one pass.

    Args are those of `embed`; the source shows every layer as a view, in any order.

    Args:
        views: positions in the source's `layer_ids` of the K layers to embed.
        see: gets every batch as it came; at its K views, on the encoder's device, while gradients
            are off; and its activations averaged over real tokens, (B, L, H) float32, on the CPU,
            in the layers' order.

    Returns:
        z_views (N, K, D), in the order of `views`, on the encoder's device.

    Raises:
        ContractError: the source's batches are not its rows in order, or there are none.
        ConfigError: a layer is no view of the source, or the encoder does not know it.
    """
    places = torch.tensor(views)
    encode = view_encoder_at(encoder, source, views)
    # one that knows which layers its data has is asked by the data's positions
    shown_as = places if encode is encoder else torch.arange(len(places))

    def read(batch: KViewBatch, device: torch.device) -> KViewBatch:
        order = _layer_order(batch, source)
        means, where = token_means(batch), places.expand(len(batch), -1)  # (B, L, H), (B, K)
        if order is not None:
            means, where = means.take_along_dim(order.unsqueeze(-1), 1), order[:, places]
        rows = torch.arange(len(batch)).unsqueeze(1)
        viewed = batch.replace(
            views_activations=batch.views_activations[rows, where],
            view_indices=None if order is None else shown_as.repeat(len(batch), 1),
        ).to(device)
        see(batch, viewed, means)
        return viewed

    z_views, halu = _encoded(encode, source, batch_size, device, read)
    return EmbeddingBatch(z_views=z_views, hashkey=list(source.hashkeys), halu=halu)


def view_encoder_at(
    encoder: Encoder | ViewEncoder, source: KViewSource, views: Sequence[int]
) -> ViewEncoder:
    """How to call an encoder on some of a source's layers; it need not know the others.

    A `ViewEncoder` knows by itself which layers the positions are.
    """
    return view_encoder(encoder, [source.layer_ids[view] for view in views])


def at_views(embeddings: EmbeddingBatch, views: Sequence[int]) -> EmbeddingBatch:
    """The same samples at some of their views: z_views (B, L, D) -> (B, K, D)."""
    return EmbeddingBatch(
        z_views=embeddings.z_views[:, list(views)],
        hashkey=embeddings.hashkey,
        halu=embeddings.halu,
    )


def require_every_layer(source: KViewSource) -> None:
    """Refuses a source that shows fewer or more views than it has layers, before it is read.

    Raises:
        ConfigError: saying so.
    """
    if source.num_views != len(source.layer_ids):
        raise _not_every_layer(source)


def layer_means(
    source: KViewSource,
    progress: Count = uncounted,
    *,
    batch_size: int = 8,
) -> Float[Tensor, "N L H"]:
    """Every layer's activations of every row, averaged over real tokens, in the layers' order.

    Args:
        source: shows every layer as a view, in any order.
        progress: called with the rows that are read, and with all there are.
        batch_size: rows read at once, with all of their layers.

    Returns:
        (N, L, H) float32, on the CPU.

    Raises:
        ConfigError: a layer is no view of the source.
        ContractError: activations are not finite.
    """
    means, done = [], 0
    for batch in source.batches(epoch=0, batch_size=batch_size, shuffle=False):
        of_batch, order = token_means(batch), _layer_order(batch, source)
        if order is not None:
            of_batch = of_batch.take_along_dim(order.unsqueeze(-1), 1)
        if bad := samples_not_finite(of_batch, batch.hashkey):
            raise ContractError.of(
                type(source).__name__,
                "views_activations",
                "not finite",
                "finite activations (look at the store with kview verify)",
                f"NaN or infinity in samples {bad[:5]}",
            )
        means.append(of_batch)
        done += len(batch)
        progress(done, len(source))
    return torch.cat(means)


@boundary
def token_means(batch: KViewBatch) -> Float[Tensor, "B K H"]:
    """Each view's mean over its real tokens, in float32: (B, K, T, H) -> (B, K, H)."""
    x = batch.views_activations.float()
    if batch.token_mask is None:
        return x.mean(dim=2)
    mask = batch.token_mask[:, None, :, None]  # (B, 1, T, 1)
    return (x * mask).sum(dim=2) / mask.sum(dim=2)


def placed(encode: ViewEncoder, device: torch.device | str | None) -> ViewEncoder:
    """The encoder on a device: itself where it is there or is no module, and else a copy."""
    module = encode.encoder
    if device is None or not isinstance(module, nn.Module):
        return encode
    device = torch.device(device)
    tensors = chain(module.parameters(), module.buffers())
    if all(t.device == device for t in tensors):
        return encode
    return encode.around(copy.deepcopy(module).to(device))


def _encoded(
    encode: ViewEncoder,
    source: KViewSource,
    batch_size: int,
    device: torch.device | str | None,
    read: Callable[[KViewBatch, torch.device], KViewBatch],
) -> tuple[Tensor, Tensor]:
    """Of all rows: the embeddings (N, K, D) of what `read` puts on a device, and the labels."""
    encode = placed(encode, device)
    there = torch.device(device) if device else device_of(encode.encoder)
    kept: list[tuple[Tensor, Tensor]] = []
    hashkeys: list[str] = []
    with eval_mode(encode.encoder):
        for given in source.batches(epoch=0, batch_size=batch_size, shuffle=False):
            batch = read(given, there)
            kept.append((encode(batch).float(), batch.halu))
            hashkeys += batch.hashkey
    if not hashkeys or hashkeys != list(source.hashkeys):
        raise ContractError.of(
            type(source).__name__,
            "hashkey",
            "order",
            f"the source's {len(source)} rows, one at least, in order with shuffle=False",
            f"{len(hashkeys)} samples that are not",
        )
    z_views, halu = (torch.cat(column) for column in zip(*kept, strict=True))
    return z_views, halu


def _layer_order(batch: KViewBatch, source: KViewSource) -> Tensor | None:
    """Which view of each sample is of which layer, (B, L); None where they come in order."""
    layers = torch.arange(len(source.layer_ids))
    shown = order = None
    if batch.view_indices is not None:
        shown, order = batch.view_indices.cpu().sort(dim=1)  # (B, L)
    if batch.num_views != len(layers) or (shown is not None and bool((shown != layers).any())):
        raise _not_every_layer(source)
    return order


def _not_every_layer(source: KViewSource) -> ConfigError:
    return ConfigError(
        f"the source shows {source.num_views} views of {len(source.layer_ids)} layers, and not "
        "every layer once; give one that does, as dataset.with_views(range(L))"
    )
