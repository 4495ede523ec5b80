"""An encoder of your own: checked, trained, saved and loaded.

python examples/own_encoder.py
"""

from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from kview.contracts.conformance import check_encoder
from kview.data import ActivationDataset, ActivationStore, write_synthetic_store
from kview.eval import embed
from kview.train import (
    LayerAwareContrastiveTrainer,
    LayerAwareContrastiveTrainerConfig,
    load_encoder,
)

H, L = 32, 8


class AttentionPool(nn.Module):
    """A learned query looks at the real tokens, and knows which layer it looks at.

    `forward` names what it wants: `layer_idx` (M,), `token_mask` (M, T), both or neither.
    """

    def __init__(self, hidden_size: int, embedding_dim: int, num_layers: int) -> None:
        super().__init__()
        self.config = {
            "hidden_size": hidden_size,
            "embedding_dim": embedding_dim,
            "num_layers": num_layers,
        }
        self.query = nn.Embedding(num_layers, hidden_size)
        self.project = nn.Linear(hidden_size, embedding_dim)

    def forward(self, x: Tensor, *, layer_idx: Tensor, token_mask: Tensor | None = None) -> Tensor:
        """(M, T, H) -> (M, D)."""
        scores = torch.einsum("mth,mh->mt", x, self.query(layer_idx)) / x.shape[-1] ** 0.5
        if token_mask is not None:
            scores = scores.masked_fill(~token_mask, -torch.inf)
        return self.project(torch.einsum("mt,mth->mh", scores.softmax(1), x))


def main() -> None:
    """Checks the encoder, trains it, and gets the same one back from the run's folder."""
    torch.manual_seed(0)
    encoder = AttentionPool(H, 16, L)
    check_encoder(encoder, hidden_size=H, num_layers=L)  # put this line into your own tests

    with TemporaryDirectory() as folder:
        path = f"{folder}/store.zarr"
        write_synthetic_store(path, num_rows=200, num_layers=L, hidden_size=H, max_tokens=8)
        source = ActivationDataset(ActivationStore.open(path), num_views=4)
        config = LayerAwareContrastiveTrainerConfig(
            num_views=4, max_epochs=5, lr=3e-3, temperature=0.2, calibrate=False
        )
        result = LayerAwareContrastiveTrainer(encoder, config, run_dir=f"{folder}/run").fit(source)
        for epoch in result.history:
            print(f"epoch {epoch.epoch}  train_loss {epoch.train_loss:.3f}")

        again = load_encoder(f"{folder}/run", AttentionPool)
        assert embed(again, source).equals(embed(encoder, source))
        print("loaded: the same embeddings, bit for bit")


if __name__ == "__main__":
    main()
