"""`LayerAwareProgressiveCompressor`: an encoder that knows which layer a view is of."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from ...contracts import ConfigError, KViewBatch, boundary
from ...contracts.settings import settings
from .layer_statistics import LayerStatistics, measure_layers
from .progressive import CompressorSettings, ProgressiveCompressor, check_input_dim
from .standardization import LayerStandardization

Conditioning = Literal["film_in", "film_out", "film_both", "positional", "concatenate"]
"""Where the layer enters: scale and shift of the tokens, of the embedding, or of both (FiLM, Perez
et al. 2018, eq. 2); a learned vector added to the tokens, or appended to them."""

_LAYER_DIM = 32
"""Size of the vector that is learned for each layer."""


@settings
class LayerAwareSettings(CompressorSettings):
    """The settings of a layer-aware compressor, in its words."""

    layer_ids: Annotated[tuple[int, ...], Field(min_length=1)]
    conditioning: Conditioning | None = "film_in"

    def __post_init__(self) -> None:
        if len(set(self.layer_ids)) < len(self.layer_ids):
            raise ConfigError(f"layer_ids={list(self.layer_ids)} must name no layer twice")


class LayerAwareProgressiveCompressor(nn.Module):
    """A `ProgressiveCompressor` over tokens standardised per layer, conditioned on the layer.

    Until `calibrate` is called the tokens pass as they are.

    Args:
        input_dim: H, the hidden size of the language model.
        embedding_dim: D, the size of an embedding.
        layer_ids: the model's layer ids that it is for; a position among them is a `layer_idx`.
        num_layers: short for layer_ids 0 to num_layers - 1; give one of the two.
        conditioning: see `Conditioning`; None leaves the standardisation alone.
        dropout: probability of dropping a feature while training.

    Raises:
        ConfigError: a setting is out of its range, or the layers are given twice, repeat, or miss.

    Examples:
        >>> import torch
        >>> from kview.train import LayerAwareProgressiveCompressor
        >>> encoder = LayerAwareProgressiveCompressor(64, 8, layer_ids=[4, 8, 12])
        >>> x = torch.randn(6, 5, 64)  # six views of five tokens
        >>> encoder(x, layer_idx=torch.tensor([0, 1, 2, 0, 1, 2])).shape
        torch.Size([6, 8])
    """

    casts_input = True
    """Standardises stored values before it casts them: huge ones keep their digits."""

    def __init__(
        self,
        input_dim: int,
        embedding_dim: int = 128,
        *,
        layer_ids: Sequence[int] | None = None,
        num_layers: int | None = None,
        conditioning: Conditioning | None = "film_in",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.settings = LayerAwareSettings(
            input_dim=input_dim,
            embedding_dim=embedding_dim,
            dropout=dropout,
            layer_ids=_layer_ids(layer_ids, num_layers),
            conditioning=conditioning,
        )
        self.input_dim, self.embedding_dim = input_dim, embedding_dim
        self.layer_ids = self.settings.layer_ids
        self.standardize = LayerStandardization(input_dim, self.layer_ids)
        count = len(self.layer_ids)
        extra = _LAYER_DIM if conditioning == "concatenate" else 0
        self.compressor = ProgressiveCompressor(input_dim + extra, embedding_dim, dropout=dropout)
        self.vectors = None if conditioning is None else nn.Embedding(count, _LAYER_DIM)
        self.film_in = self.film_out = self.shift = None
        if conditioning in ("film_in", "film_both"):
            self.film_in = FiLM(input_dim)
        if conditioning in ("film_out", "film_both"):
            self.film_out = FiLM(embedding_dim)
        if conditioning == "positional":
            self.shift = nn.Linear(_LAYER_DIM, input_dim)

    @property
    def config(self) -> dict[str, object]:
        """The arguments that make another of its kind; JSON values."""
        return {**dataclasses.asdict(self.settings), "layer_ids": list(self.layer_ids)}

    @boundary
    def forward(
        self,
        x: Float[Tensor, "M T H"],
        *,
        layer_idx: Int[Tensor, " M"],
        token_mask: Bool[Tensor, "M T"] | None = None,
    ) -> Float[Tensor, "M D"]:
        """Encodes flattened views.

        Args:
            x: activations, (M, T, H).
            layer_idx: position of each view's layer in `layer_ids`, (M,).
            token_mask: where a token is real, (M, T); None where all are.

        Returns:
            Embeddings, (M, D), of no particular length.

        Raises:
            ContractError: a shape is wrong, H is not `input_dim`, or a `layer_idx` is out of range
                (looked at on the CPU; elsewhere at level `full`, for it waits for the device).
        """
        check_input_dim(x, self.settings.input_dim)
        x = self.standardize(x, layer_idx).to(self.compressor.project.weight.dtype)
        if self.vectors is None:
            return self.compressor(x, token_mask=token_mask)
        layer = self.vectors(layer_idx)[:, None]  # (M, 1, _LAYER_DIM)
        if self.film_in is not None:
            x = self.film_in(x, layer)
        elif self.shift is not None:
            x = x + self.shift(layer)
        elif self.settings.conditioning == "concatenate":
            x = torch.cat([x, layer.expand(-1, x.shape[1], -1)], dim=-1)
        z = self.compressor(x, token_mask=token_mask)[:, None]  # (M, 1, D)
        return (z if self.film_out is None else self.film_out(z, layer))[:, 0]

    def calibrate(
        self,
        batches: Iterable[KViewBatch],
        *,
        max_batches: int | None = None,
        layer_ids: Sequence[int] | None = None,
    ) -> LayerStatistics:
        """Has tokens standardised by each layer's mean and deviation over the batches' real tokens.

        Args:
            batches: batches of training data with `view_indices`, each read once.
            max_batches: stop after so many.
            layer_ids: the model's layer ids at the positions that `view_indices` name, where they
                are not this encoder's; they must be the same layers.

        Returns:
            The statistics in the order of this encoder's layers. A dimension that never varies is
            only shifted.

        Raises:
            ContractError: a batch breaks its contract, or a layer has no token in the batches.
            ConfigError: `layer_ids` are other layers than this encoder's.
        """
        given = self.layer_ids if layer_ids is None else tuple(layer_ids)
        if sorted(given) != sorted(self.layer_ids):
            raise ConfigError(
                f"layer_ids={list(given)} are not the layers {list(self.layer_ids)} that the "
                "encoder was made for; calibrate it on a source with those relevant_layers"
            )
        found = measure_layers(batches, given, max_batches=max_batches)
        order = [given.index(i) for i in self.layer_ids]
        statistics = LayerStatistics(
            layer_ids=self.layer_ids,
            **{n: getattr(found, n)[order] for n in ("count", "mean", "std", "norm")},
        )
        self.standardize.set_statistics(statistics)
        return statistics


class FiLM(nn.Module):
    """A scale and a shift that are linear in the layer's vector; none until it is trained.

    Args:
        dim: the size of what it scales.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(_LAYER_DIM, 2 * dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights of zero: every layer is scaled by 1 and shifted by 0."""
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, layer: Tensor) -> Tensor:
        """(M, T, dim), (M, 1, _LAYER_DIM) -> (M, T, dim)."""
        scale, shift = self.linear(layer).chunk(2, dim=-1)  # (M, 1, dim) each
        return x * (1 + scale) + shift


def _layer_ids(layer_ids: Sequence[int] | None, num_layers: int | None) -> tuple[int, ...]:
    if (layer_ids is None) == (num_layers is None):
        raise ConfigError(
            f"give layer_ids or num_layers, one of them (layer_ids={layer_ids}, "
            f"num_layers={num_layers})"
        )
    return tuple(range(num_layers or 0)) if layer_ids is None else tuple(map(int, layer_ids))
