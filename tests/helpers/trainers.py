"""Small trainers of both kinds, alike but for the kind."""

from pathlib import Path
from typing import Any

import torch

from kview.train import (
    ContrastiveTrainer,
    ContrastiveTrainerConfig,
    LayerAwareContrastiveTrainer,
    LayerAwareContrastiveTrainerConfig,
    LayerAwareProgressiveCompressor,
    ProgressiveCompressor,
)

KINDS = ("plain", "layer_aware")
D, L = 8, 8


def make_trainer(
    kind: str,
    num_views: int = 4,
    *,
    hidden_size: int = 16,
    dropout: float = 0.1,
    run_dir: Path | None = None,
    **settings: Any,
) -> ContrastiveTrainer:
    """A trainer of a fresh encoder, always with the same weights; 8 layers, embeddings of 8."""
    torch.manual_seed(0)
    given = {"num_views": num_views, "batch_size": 16, "accelerator": "cpu", **settings}
    if kind == "plain":
        plain = ProgressiveCompressor(hidden_size, D, dropout=dropout)
        return ContrastiveTrainer(plain, ContrastiveTrainerConfig(**given), run_dir=run_dir)
    aware = LayerAwareProgressiveCompressor(hidden_size, D, num_layers=L, dropout=dropout)
    config = LayerAwareContrastiveTrainerConfig(**given)
    return LayerAwareContrastiveTrainer(aware, config, run_dir=run_dir)
