"""`ProgressiveCompressor`: the plain encoder of one view."""

import dataclasses
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ...contracts import ContractError, boundary
from ...contracts.settings import Count, Share, settings


@settings
class CompressorSettings:
    """The settings of a compressor, in its words."""

    input_dim: Count
    embedding_dim: Count = 128
    dropout: Share = 0.1


class ProgressiveCompressor(nn.Module):
    """Halves the width of every token until it is near the embedding's, then pools the tokens.

    Each step is Linear, LayerNorm, GELU and dropout. The mean and the maximum over the real tokens,
    side by side, are projected to the embedding: the maximum keeps what one token shows, which the
    mean over a long response would dilute. It takes any layer's activations alike.

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

    def __init__(self, input_dim: int, embedding_dim: int = 128, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.settings = CompressorSettings(
            input_dim=input_dim, embedding_dim=embedding_dim, dropout=dropout
        )
        self.input_dim, self.embedding_dim = input_dim, embedding_dim
        widths = halving_widths(input_dim, embedding_dim)
        steps: list[nn.Module] = [nn.LayerNorm(input_dim)]
        for before, after in pairwise(widths):
            steps += [nn.Linear(before, after), nn.LayerNorm(after), nn.GELU(), nn.Dropout(dropout)]
        self.tokens = nn.Sequential(*steps)
        self.project = nn.Linear(2 * widths[-1], embedding_dim)

    @property
    def config(self) -> dict[str, object]:
        """The arguments that make another of its kind; JSON values."""
        return dataclasses.asdict(self.settings)

    @boundary
    def forward(
        self, x: Float[Tensor, "M T H"], *, token_mask: Bool[Tensor, "M T"] | None = None
    ) -> Float[Tensor, "M D"]:
        """Encodes flattened views.

        Args:
            x: activations, (M, T, H).
            token_mask: where a token is real, (M, T); None where all are.

        Returns:
            Embeddings, (M, D), of no particular length.

        Raises:
            ContractError: a shape is wrong, or H is not `input_dim`.
        """
        check_input_dim(x, self.settings.input_dim)
        return self.project(pool_tokens(self.tokens(x), token_mask))


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
