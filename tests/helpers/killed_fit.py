"""A fit in a process of its own, for tests that kill it: `killed_fit.py KIND FOLDER`."""

import sys
import time
from pathlib import Path

import torch

from helpers.sources import MemorySource
from kview.train import (
    ContrastiveTrainerConfig,
    FitResult,
    LayerAwareContrastiveTrainerConfig,
    LayerAwareProgressiveCompressor,
    ProgressiveCompressor,
    train_contrastive,
)


class SlowSource(MemorySource):
    """Takes its time over a batch, so that a kill finds the run under way."""

    def __init__(self, seconds: float) -> None:
        super().__init__(80, seed=3)
        self.seconds = seconds

    def batches(self, **reading):
        for batch in super().batches(**reading):
            time.sleep(self.seconds)
            yield batch


def fit(kind: str, folder: Path, *, seconds: float = 0.0, resume: bool = False) -> FitResult:
    """Trains with dropout, a val source and a checkpoint at every step."""
    torch.manual_seed(0)
    settings = {"batch_size": 8, "max_epochs": 4, "checkpoint_every_steps": 1, "accelerator": "cpu"}
    if kind == "plain":
        encoder = ProgressiveCompressor(16, 8, dropout=0.3)
        config = ContrastiveTrainerConfig(**settings)
    else:
        encoder = LayerAwareProgressiveCompressor(16, 8, num_layers=8, dropout=0.3)
        config = LayerAwareContrastiveTrainerConfig(**settings)
    return train_contrastive(
        encoder,
        SlowSource(seconds),
        MemorySource(16, seed=4),
        config=config,
        run_dir=folder,
        resume_from=folder if resume else None,
    )


if __name__ == "__main__":
    fit(sys.argv[1], Path(sys.argv[2]), seconds=0.02)
