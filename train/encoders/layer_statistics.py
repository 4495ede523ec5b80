"""Mean, deviation and norm of each layer's token vectors, in one pass and constant memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from ...contracts import ConfigError, ContractError, FlatViews, KViewBatch, boundary
from ...contracts.views import samples_not_finite


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerStatistics:
    """What the real tokens of each layer look like; float64, on the CPU.

    Attributes:
        layer_ids: the model's layer ids, L of them; () where layers are not told apart, and the one
            row of the others is that of all tokens.
        count: tokens seen, (L,).
        mean: their mean, (L, H); NaN for a layer without any, as are the next two.
        std: their standard deviation (of the population), (L, H).
        norm: the mean of their Euclidean norms, (L,).
    """

    layer_ids: tuple[int, ...]
    count: Tensor
    mean: Tensor
    std: Tensor
    norm: Tensor

    def __str__(self) -> str:
        """A line per layer: tokens, norm, and the mean deviation of a dimension."""
        names = [f"layer {layer}" for layer in self.layer_ids] or ["all layers"]
        return "\n".join(
            f"{name}: {int(self.count[i])} tokens, norm {self.norm[i]:.4g}, "
            f"deviation {self.std[i].mean():.4g}"
            for i, name in enumerate(names)
        )


def measure_layers(
    batches: Iterable[KViewBatch],
    layer_ids: Sequence[int] | None,
    *,
    max_batches: int | None = None,
    allow_unseen: bool = False,
) -> LayerStatistics:
    """The statistics of `views_activations`, per layer, over the real tokens.

    Batches are merged by the pairwise update of Chan, Golub and LeVeque (1983), eq. 2.1, in
    float64, so the result is that of all tokens together however they were cut into batches.

    Args:
        batches: batches with `view_indices`, each read once.
        layer_ids: the model's layer ids at the positions that `view_indices` name; None to tell no
            layers apart, for batches without them.
        max_batches: stop after so many.
        allow_unseen: whether a layer may have no token in all of the batches.

    Raises:
        ContractError: a batch has no `view_indices`, names a layer beyond `layer_ids`, differs in
            H, or holds NaN or infinity; or a layer has no token in all of the batches.
        ConfigError: `max_batches` is below 1.
    """
    if max_batches is not None and max_batches < 1:
        raise ConfigError(f"max_batches={max_batches} must be at least 1, or None for all")
    moments: _Moments | None = None
    for batch in islice(batches, max_batches):
        if moments is None:
            moments = _Moments(layer_ids, batch.views_activations.shape[-1])
        moments.update(batch)
    ids = tuple(layer_ids or ())
    unseen = [i for i, n in zip(ids, moments.count, strict=False) if n == 0] if moments else []
    if moments is None or (unseen and not allow_unseen):
        missing = f"layers {unseen}" if unseen else "any layer"
        expected = "a token of every layer (more rows, a larger K, or calibrate=False)"
        raise ContractError.of(
            "measure_layers", "view_indices", "unseen layer", expected, f"none of {missing}"
        )
    return LayerStatistics(
        layer_ids=ids,
        count=moments.count.long(),
        mean=torch.where(moments.count[:, None] > 0, moments.mean, torch.nan),
        std=(moments.squares / moments.count[:, None]).sqrt(),  # 0 / 0 is NaN: nothing was seen
        norm=moments.norms / moments.count,
    )


class _Moments:
    """Running count (L,), mean (L, H), squared deviations (L, H) and sum of norms (L,)."""

    def __init__(self, layer_ids: Sequence[int] | None, hidden_size: int) -> None:
        num_layers = 1 if layer_ids is None else len(layer_ids)
        self.told_apart = layer_ids is not None
        self.count = torch.zeros(num_layers, dtype=torch.float64)
        self.norms = torch.zeros(num_layers, dtype=torch.float64)
        self.mean = torch.zeros(num_layers, hidden_size, dtype=torch.float64)
        self.squares = torch.zeros(num_layers, hidden_size, dtype=torch.float64)

    @boundary
    def update(self, batch: KViewBatch) -> None:
        """Merges the tokens of a batch, one layer at a time."""
        flat = batch.flatten()
        num_layers, hidden_size = self.mean.shape
        if (H := flat.x.shape[-1]) != hidden_size:
            raise ContractError.of(
                "measure_layers", "views_activations", "size of H", f"{hidden_size}", f"{H}"
            )
        for layer, chosen in self._views(flat):
            if not 0 <= layer < num_layers:
                raise ContractError.of(
                    "measure_layers", "view_indices", "range", f"0 to {num_layers - 1}", f"{layer}"
                )
            x = flat.x[chosen]
            tokens = x.flatten(0, 1) if flat.token_mask is None else x[flat.token_mask[chosen]]
            self._merge(layer, tokens.double().cpu())
        if not self.mean.isfinite().all():
            self._name_not_finite(batch)

    def _views(self, flat: FlatViews) -> Iterator[tuple[int, Tensor]]:
        """The views of each layer, as masks (M,)."""
        if not self.told_apart:
            yield 0, torch.ones(len(flat.x), dtype=torch.bool)
            return
        if flat.layer_idx is None:
            raise ContractError.of(
                "measure_layers", "view_indices", "missing", "the layer of every view", "None"
            )
        for layer in flat.layer_idx.unique().tolist():
            yield layer, flat.layer_idx == layer

    def _name_not_finite(self, batch: KViewBatch) -> None:
        bad = samples_not_finite(batch.views_activations, batch.hashkey)
        raise ContractError.of(
            "measure_layers",
            "views_activations",
            "not finite",
            "finite activations (look at the store with kview verify)",
            f"NaN or infinity for {len(bad)} of {len(batch)} samples, the first {bad[:5]}",
        )

    def _merge(self, layer: int, tokens: Tensor) -> None:
        added, before = len(tokens), self.count[layer].clone()
        mean = tokens.mean(0)
        delta = mean - self.mean[layer]
        total = before + added
        self.squares[layer] += (tokens - mean).square().sum(0)
        self.squares[layer] += delta.square() * (before * added / total)
        self.mean[layer] += delta * (added / total)
        self.norms[layer] += torch.linalg.vector_norm(tokens, dim=1).sum()
        self.count[layer] = total
