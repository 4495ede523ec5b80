"""Contracts in a training loop that is all your own: plain PyTorch, no trainer, no store.

python examples/plain_loop.py
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kview.contracts import ContractError, KViewBatch, boundary, checks, restore_views
from kview.train import supcon_loss

B, K, T, H, D = 16, 4, 6, 32, 8


class MeanEncoder(nn.Module):
    """The mean token through two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(H, 32), nn.GELU(), nn.Linear(32, D))

    def forward(self, x: Tensor) -> Tensor:
        """(M, T, H) -> (M, D)."""
        return self.layers(x.mean(1))


def my_batch(step: int) -> KViewBatch:
    """Whatever your code makes of its data; it is checked when it is built."""
    generator = torch.Generator().manual_seed(step)
    halu = torch.arange(B).remainder(2).float()
    x = torch.randn(B, K, T, H, generator=generator) + halu[:, None, None, None]
    return KViewBatch(
        hashkey=[f"answer {step}-{b}" for b in range(B)],
        halu=halu,
        views_activations=x,
        input_length=torch.full((B,), 12),
    )


@boundary
def loss_of(encoder: MeanEncoder, batch: KViewBatch) -> Float[Tensor, ""]:
    """Your own step, with its arguments and its result checked on every call."""
    z = encoder(batch.flatten().x)  # (B*K, D)
    return supcon_loss(restore_views(z, batch.num_views), batch.halu)


def main() -> None:
    """Trains 20 steps; checks everything in the first, as in a debugging run."""
    torch.manual_seed(0)
    encoder = MeanEncoder()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-2)
    for step in range(20):
        with checks("full" if step == 0 else "shape"):
            loss = loss_of(encoder, my_batch(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 5 == 0:
            print(f"step {step:2d}  loss {loss.item():.3f}")

    batch = my_batch(0)
    try:
        batch.replace(halu=batch.halu.long(), input_length=torch.zeros(3).long())
    except ContractError as error:
        print(error)


if __name__ == "__main__":
    main()
