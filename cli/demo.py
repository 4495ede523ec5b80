"""`kview demo`: the whole way through on a synthetic store, without any download."""

import time
from dataclasses import dataclass
from pathlib import Path

from ..contracts import ConfigError
from ..data import write_synthetic_store
from ..eval import write_evaluation
from ..train import ContrastiveTrainerConfig, RunFolder
from .console import note, say
from .metric_table import show_metrics
from .scored_run import detect, write_page
from .settings import EncoderSettings, RunSettings
from .train import train


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Write a synthetic store, train on K=4 of its 8 layers, evaluate, and report."""

    out: str = "runs/demo"
    """Folder for the store and the run; it must not hold a run yet."""

    seed: int = 42
    """Seed of the data and of the run."""


def run_demo(command: Demo) -> None:
    """Runs `kview demo`.

    Raises:
        ConfigError: the folder holds something already.
    """
    began = time.perf_counter()
    folder = RunFolder(command.out)
    if folder.path.exists() and any(folder.path.iterdir()):
        raise ConfigError(
            f"{folder.path} is not empty; choose another --out, or delete the folder first"
        )
    store = Path(command.out) / "store.zarr"
    write_synthetic_store(
        store, num_rows=1000, num_layers=8, hidden_size=64, max_tokens=16, seed=command.seed
    )
    note(f"wrote {store}: 1000 synthetic responses, 8 layers")
    settings = RunSettings(
        store=str(store.resolve()),
        encoder=EncoderSettings(layer_aware=True, embedding_dim=32),
        trainer=ContrastiveTrainerConfig(num_views=4, max_epochs=12, lr=3e-3, seed=command.seed),
    )
    train(settings, folder)
    found = detect(folder)
    write_evaluation(folder.path, found.evaluation)
    report = write_page(found, folder, folder.path)
    show_metrics(found.evaluation)
    say(f"{time.perf_counter() - began:.0f} s")
    say(f"report: {report}")
