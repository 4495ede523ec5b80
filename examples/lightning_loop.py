"""Contracts inside PyTorch Lightning: its loop, its Trainer, our batches.

python examples/lightning_loop.py        (needs pip install lightning)
"""

import lightning
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from kview.contracts import KViewBatch, KViewItem, ViewEncoder, boundary
from kview.data import collate_kview
from kview.eval import intra_sample_cosine_mean, sample_ids
from kview.train import ProgressiveCompressor, supcon_loss

N, K, T, H, D = 64, 4, 6, 32, 8


class MyAnswers(Dataset[KViewItem]):
    """Your own dataset: one answer at a time, seen at K layers."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> KViewItem:
        if not 0 <= index < N:
            raise IndexError(index)
        halu = index % 2
        generator = torch.Generator().manual_seed(index)
        return KViewItem(
            hashkey=f"answer {index}",
            halu=torch.tensor(float(halu)),
            views_activations=torch.randn(K, T, H, generator=generator) + halu,
            view_indices=torch.arange(K),
            input_length=12,
        )


class Contrastive(lightning.LightningModule):
    """SupCon over K views; Lightning moves a KViewBatch between devices like a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ProgressiveCompressor(H, D)
        self.views = ViewEncoder(self.encoder)

    @boundary
    def training_step(self, batch: KViewBatch, batch_idx: int) -> Float[Tensor, ""]:
        """The loss of a batch, which is checked as it comes in."""
        z_views = self.views(batch)  # (B, K, D)
        loss = supcon_loss(z_views, batch.halu, sample_ids=sample_ids(batch.hashkey))
        cosine = intra_sample_cosine_mean(z_views)
        self.log_dict({"loss": loss, "intra_cos": cosine.float()}, batch_size=len(batch))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


def main() -> None:
    """Trains four epochs with nothing left on disk."""
    lightning.seed_everything(0, verbose=False)
    loader = DataLoader(MyAnswers(), batch_size=16, shuffle=True, collate_fn=collate_kview)
    trainer = lightning.Trainer(
        max_epochs=4,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    trainer.fit(Contrastive(), loader)
    print({name: round(float(value), 3) for name, value in trainer.callback_metrics.items()})


if __name__ == "__main__":
    main()
