"""Training on two processes, with the loss of the whole batch, as one process would have it.

    torchrun --nproc-per-node 2 examples/two_processes.py

Run without torchrun it trains on one process and prints the same losses.
"""

import os
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist

from kview.data import ActivationDataset, ActivationStore, write_synthetic_store
from kview.train import ContrastiveTrainer, ContrastiveTrainerConfig, ProgressiveCompressor


def main() -> None:
    """Every process makes the same store and takes its share of each batch."""
    rank = int(os.environ.get("RANK", 0))
    torch.manual_seed(0)  # every process begins with the same weights
    with TemporaryDirectory() as folder:
        path = f"{folder}/store.zarr"
        write_synthetic_store(path, num_rows=200, num_layers=8, hidden_size=32, max_tokens=8)
        source = ActivationDataset(ActivationStore.open(path), num_views=4)
        config = ContrastiveTrainerConfig(
            num_views=4,
            batch_size=50,  # of all processes together
            max_epochs=3,
            lr=3e-3,
            accelerator="cpu",
        )
        encoder = ProgressiveCompressor(32, 16, dropout=0.0)  # dropout is drawn by rank
        result = ContrastiveTrainer(encoder, config).fit(source)
    if rank == 0:
        for epoch in result.history:
            print(f"epoch {epoch.epoch}  train_loss {epoch.train_loss:.4f}")
    if dist.is_initialized():
        dist.barrier()  # whoever leaves first would pull the other's connection down
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
