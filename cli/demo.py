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
from .settings import DataSettings, EncoderSettings, RunSettings
from .train import train


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Write a store that looks like a causal model's, train on its best layers, and report."""

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
        store,
        num_rows=600,
        num_layers=16,
        hidden_size=64,
        max_tokens=4,
        seed=command.seed,
        affine_layers=True,
        signal_layers=range(7, 13),
        outliers=3,
    )
    note(
        f"wrote {store}: 600 synthetic responses, 16 layers, each with a basis of its own and "
        "three huge dimensions; layers 7 to 12 know, together and not alone, what is made up"
    )
    settings = RunSettings(
        store=str(store.resolve()),
        data=DataSettings(group_by="group", split_seed=command.seed),
        encoder=EncoderSettings(layer_aware=True),
        trainer=ContrastiveTrainerConfig(max_epochs=12, seed=command.seed),
    )
    train(settings, folder)
    found = detect(folder)
    write_evaluation(folder.path, found.evaluation)
    report = write_page(found, folder, folder.path)
    show_metrics(found.evaluation)
    say(f"{time.perf_counter() - began:.0f} s")
    say(f"report: {report}")
