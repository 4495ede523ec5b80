"""A run that is trained several times on one split: its folders, and the spread over training."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any, Self

from ..contracts.settings import NotNegativeInt, checked
from ..eval import DetectionEvaluation
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A number over several trainings.

    Attributes:
        mean: over those that have one; None where none has.
        deviation: their sample standard deviation; None for fewer than two.
        values: each training's, None where it has none.
    """

    mean: float | None
    deviation: float | None
    values: tuple[float | None, ...]

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Self:
        """The mean of some values, and their deviation."""
        known = [value for value in values if value is not None]
        return cls(
            mean=mean(known) if known else None,
            deviation=stdev(known) if len(known) > 1 else None,
            values=tuple(values),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What differs between trainings that differ in their seed only.

    Attributes:
        seeds: of the trainings that could be evaluated.
        chosen: the detector that each of them relies on.
        auroc: by name: of the chosen detector, and of kNN.
    """

    seeds: tuple[int, ...]
    chosen: tuple[str, ...]
    auroc: Mapping[str, Mean]

    @classmethod
    def of(cls, found: Mapping[int, DetectionEvaluation]) -> Self:
        """The spread over trainings, from what each seed's found on the same rows."""
        chosen = [evaluation.choice.name for evaluation in found.values()]
        names = {"chosen": chosen, "knn": ["knn"] * len(found)}
        return cls(
            seeds=tuple(found),
            chosen=tuple(chosen),
            auroc={
                key: Mean.of([e.scored[n].auroc for e, n in zip(found.values(), each, strict=True)])
                for key, each in names.items()
            },
        )

    def to_dict(self) -> dict[str, Any]:
        """What stands in the evaluation.json of the run."""
        return {"schema": "kview-seeds/1", **asdict(self)}
