"""A fit in a process of its own, for tests that kill it: `killed_fit.py KIND FOLDER`."""

import sys
import time
from pathlib import Path

from helpers.sources import MemorySource
from helpers.trainers import make_trainer
from kview.train import FitResult


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
    settings = {"batch_size": 8, "max_epochs": 4, "checkpoint_every_steps": 1}
    trainer = make_trainer(kind, dropout=0.3, run_dir=folder, **settings)
    return trainer.fit(
        SlowSource(seconds), MemorySource(16, seed=4), resume_from=folder if resume else None
    )


if __name__ == "__main__":
    fit(sys.argv[1], Path(sys.argv[2]), seconds=0.02)
