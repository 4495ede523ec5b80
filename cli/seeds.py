"""A run that is trained several times on one split: its seeds, and a folder for each."""

import json
from collections.abc import Sequence

from ..contracts.settings import NotNegativeInt, checked
from ..train import RunFolder
from .settings import RunSettings


def seeds_of(run: RunFolder) -> list[int]:
    """The seeds of a run that is trained several times; none of any other folder.

    Raises:
        CheckpointError: its config.json is damaged.
        ConfigError: they are no seeds.
    """
    if not run.config.is_file():
        return []
    return checked(list[NotNegativeInt], seeds=run.read_config().get("seeds", []))


def write_seeds(run: RunFolder, settings: RunSettings, seeds: Sequence[int]) -> None:
    """Makes the folder of a run that is trained several times, with its config.json."""
    run.path.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**settings.to_dict(), "seeds": list(seeds)}, indent=2)
    run.config.write_text(text + "\n")


def run_of(run: RunFolder, seed: int) -> RunFolder:
    """The folder of one training."""
    return RunFolder(run.path / f"seed-{seed}")
