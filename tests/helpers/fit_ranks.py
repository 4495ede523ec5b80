"""A fit under torchrun, for tests of several processes: `fit_ranks.py FOLDER ARGUMENTS`."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from helpers.sources import MemorySource
from kview.train import ContrastiveTrainerConfig, ProgressiveCompressor, chunked, train_contrastive

ROWS = 75


def fit(
    folder: Path | None,
    settings: dict[str, object],
    *,
    dropout: float = 0.0,
    recompute: bool = True,
) -> list[torch.Tensor]:
    """Trains four epochs of five steps, the last of them uneven; gives the weights.

    With `recompute=False` the chunks of a step keep their activations, as if memory did not matter.
    """
    if not recompute:
        chunked.checkpoint = lambda function, *arguments, use_reentrant: function(*arguments)
    torch.manual_seed(0)
    encoder = ProgressiveCompressor(16, 8, dropout=dropout)
    fixed = {"batch_size": 16, "max_epochs": 4, "precision": "64-true", "accelerator": "cpu"}
    config = ContrastiveTrainerConfig(**{**fixed, **settings})  # type: ignore[arg-type]
    train_contrastive(encoder, MemorySource(ROWS), config=config, run_dir=folder)
    return list(encoder.state_dict().values())


if __name__ == "__main__":
    fit(Path(sys.argv[1]), **json.loads(sys.argv[2]))
    if dist.is_initialized():
        dist.barrier()  # whoever leaves first would pull the other's connection down
        dist.destroy_process_group()
