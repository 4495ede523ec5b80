"""Mean, deviation and norm of each layer's token vectors, in one pass and constant memory."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from ...contracts import ConfigError, ContractError, KViewBatch, boundary


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerStatistics:
    """What the real tokens of each layer look like; float64, on the CPU.

    Attributes:
        layer_ids: the model's layer ids, L of them.
        count: tokens seen, (L,).
        mean: their mean, (L, H).
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
        return "\n".join(
            f"layer {layer}: {int(self.count[i])} tokens, norm {self.norm[i]:.4g}, "
            f"deviation {self.std[i].mean():.4g}"
            for i, layer in enumerate(self.layer_ids)
        )


def measure_layers(
    batches: Iterable[KViewBatch], layer_ids: Sequence[int], *, max_batches: int | None = None
) -> LayerStatistics:
    """The statistics of `views_activations`, per layer, over the real tokens.

    Batches are merged by the pairwise update of Chan, Golub and LeVeque (1983), eq. 2.1, in
    float64, so the result is that of all tokens together however they were cut into batches.

    Args:
        batches: batches with `view_indices`, each read once.
        layer_ids: the model's layer ids at the positions that `view_indices` name.
        max_batches: stop after so many.

    Raises:
        ContractError: a batch has no `view_indices`, names a layer beyond `layer_ids`, or differs
            in H; or a layer has no token in all of the batches.
        ConfigError: `max_batches` is below 1.
    """
    if max_batches is not None and max_batches < 1:
        raise ConfigError(f"max_batches={max_batches} must be at least 1, or None for all")
    moments: _Moments | None = None
    for batch in islice(batches, max_batches):
        if moments is None:
            moments = _Moments(len(layer_ids), batch.views_activations.shape[-1])
        moments.update(batch)
    unseen = [i for i, n in zip(layer_ids, moments.count, strict=True) if n == 0] if moments else []
    if moments is None or unseen:
        missing = f"layers {unseen}" if unseen else "any layer"
        expected = "a token of every layer (more rows, a larger K, or calibrate=False)"
        raise ContractError.of(
            "measure_layers", "view_indices", "unseen layer", expected, f"none of {missing}"
        )
    return LayerStatistics(
        layer_ids=tuple(layer_ids),
        count=moments.count.long(),
        mean=moments.mean,
        std=(moments.squares / moments.count[:, None]).sqrt(),
        norm=moments.norms / moments.count,
    )


class _Moments:
    """Running count (L,), mean (L, H), squared deviations (L, H) and sum of norms (L,)."""

    def __init__(self, num_layers: int, hidden_size: int) -> None:
        self.count = torch.zeros(num_layers, dtype=torch.float64)
        self.norms = torch.zeros(num_layers, dtype=torch.float64)
        self.mean = torch.zeros(num_layers, hidden_size, dtype=torch.float64)
        self.squares = torch.zeros(num_layers, hidden_size, dtype=torch.float64)

    @boundary
    def update(self, batch: KViewBatch) -> None:
        """Merges the tokens of a batch, one layer at a time."""
        flat = batch.flatten()
        num_layers, hidden_size = self.mean.shape
        if flat.layer_idx is None:
            raise ContractError.of(
                "measure_layers", "view_indices", "missing", "the layer of every view", "None"
            )
        if (H := flat.x.shape[-1]) != hidden_size:
            raise ContractError.of(
                "measure_layers", "views_activations", "size of H", f"{hidden_size}", f"{H}"
            )
        for layer in flat.layer_idx.unique().tolist():
            if not 0 <= layer < num_layers:
                raise ContractError.of(
                    "measure_layers", "view_indices", "range", f"0 to {num_layers - 1}", f"{layer}"
                )
            of_layer = flat.layer_idx == layer
            x = flat.x[of_layer]
            tokens = x.flatten(0, 1) if flat.token_mask is None else x[flat.token_mask[of_layer]]
            self._merge(layer, tokens.double().cpu())

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
