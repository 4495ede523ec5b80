"""`ProgressiveCompressor`: the plain encoder of one view."""

import dataclasses
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ...contracts import ContractError, KViewBatch, boundary
from ...contracts.settings import Count, Share, settings
from .layer_statistics import LayerStatistics, measure_layers
from .standardization import LayerStandardization


@settings
class CompressorSettings:
    """The settings of a compressor, in its words."""

    input_dim: Count
    embedding_dim: Count = 128
    dropout: Share = 0.1


class ProgressiveCompressor(nn.Module):
    """Halves the width of every token until it is near the embedding's, then pools the tokens.

    Tokens are standardised by their layer first, once `calibrate` has been called; until then they
    pass as they are. Each step is Linear, LayerNorm, GELU and dropout. The mean and the maximum
    over the real tokens, side by side, are projected to the embedding: the maximum keeps what one
    token shows, which the mean over a long response would dilute. Apart from the standardisation,
    it takes any layer's activations alike.

    Args:
        input_dim: H, the hidden size of the language model.
        embedding_dim: D, the size of an embedding.
        dropout: probability of dropping a feature while training.

    Raises:
        ConfigError: a size is not positive, or the probability is outside [0, 1).

    Examples:
        >>> import torch
        >>> from kview.train import ProgressiveCompressor
        >>> encoder = ProgressiveCompressor(input_dim=64, embedding_dim=8)
        >>> encoder(torch.randn(6, 5, 64)).shape  # six views of five tokens
        torch.Size([6, 8])
    """

    casts_input = True
    """Standardises stored values before it casts them: huge ones keep their digits."""

    def __init__(self, input_dim: int, embedding_dim: int = 128, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.settings = CompressorSettings(
            input_dim=input_dim, embedding_dim=embedding_dim, dropout=dropout
        )
        self.input_dim, self.embedding_dim = input_dim, embedding_dim
        self.standardize = LayerStandardization(input_dim)
        widths = halving_widths(input_dim, embedding_dim)
        steps: list[nn.Module] = []
        for before, after in pairwise(widths):
            steps += [nn.Linear(before, after), nn.LayerNorm(after), nn.GELU(), nn.Dropout(dropout)]
        self.tokens = nn.Sequential(*steps)
        self.project = nn.Linear(2 * widths[-1], embedding_dim)

    @property
    def config(self) -> dict[str, object]:
        """The arguments that make another of its kind; JSON values."""
        return dataclasses.asdict(self.settings)

    @property
    def layer_ids(self) -> tuple[int, ...] | None:
        """The model's layer ids that it was calibrated on; None where it tells no layers apart."""
        return self.standardize.layer_ids or None

    @boundary
    def forward(
        self,
        x: Float[Tensor, "M T H"],
        *,
        layer_idx: Int[Tensor, " M"] | None = None,
        token_mask: Bool[Tensor, "M T"] | None = None,
    ) -> Float[Tensor, "M D"]:
        """Encodes flattened views.

        Args:
            x: activations, (M, T, H).
            layer_idx: position of each view's layer in `layer_ids`, (M,); needed once the encoder
                is calibrated.
            token_mask: where a token is real, (M, T); None where all are.

        Returns:
            Embeddings, (M, D), of no particular length.

        Raises:
            ContractError: a shape is wrong, H is not `input_dim`, or a layer is missing, out of
                range or was never seen.
        """
        check_input_dim(x, self.settings.input_dim)
        x = self.standardize(x, layer_idx).to(self.project.weight.dtype)
        return self.project(pool_tokens(self.tokens(x), token_mask))

    def calibrate(
        self,
        batches: Iterable[KViewBatch],
        *,
        max_batches: int | None = None,
        layer_ids: Sequence[int] | None = None,
    ) -> LayerStatistics:
        """Has tokens standardised by each layer's mean and deviation over the batches' real tokens.

        Args:
            batches: batches of training data, each read once.
            max_batches: stop after so many.
            layer_ids: the model's layer ids at the positions that `view_indices` name; None to
                have one mean and one deviation for all layers. A layer that no batch shows
                cannot be encoded.

        Returns:
            The statistics.

        Raises:
            ContractError: a batch breaks its contract, has no `view_indices` where `layer_ids` are
                given, or holds NaN or infinity.
        """
        statistics = measure_layers(batches, layer_ids, max_batches=max_batches, allow_unseen=True)
        self.standardize.set_statistics(statistics)
        return statistics


def halving_widths(input_dim: int, embedding_dim: int) -> list[int]:
    """H, H/2, H/4, ... down to the last that is at least D; one step in any case."""
    widths = [input_dim, max(input_dim // 2, embedding_dim)]
    while widths[-1] // 2 >= embedding_dim:
        widths.append(widths[-1] // 2)
    return widths


def pool_tokens(x: Tensor, token_mask: Tensor | None) -> Tensor:
    """The mean and the maximum over the real tokens: (M, T, D), (M, T) -> (M, 2D)."""
    if token_mask is None:
        return torch.cat([x.mean(1), x.amax(1)], dim=1)
    padding = ~token_mask[:, :, None]  # (M, T, 1)
    mean = x.masked_fill(padding, 0).sum(1) / token_mask.sum(1, keepdim=True)
    return torch.cat([mean, x.masked_fill(padding, -torch.inf).amax(1)], dim=1)


def check_input_dim(x: Tensor, input_dim: int) -> None:
    """Raises a ContractError where the activations are not of the encoder's hidden size."""
    if x.shape[-1] != input_dim:
        way_out = f"input_dim={input_dim} (or make the encoder with input_dim={x.shape[-1]})"
        raise ContractError.of("encoder", "x", "size of H", way_out, f"{x.shape[-1]}")
