"""What differs between trainings that differ in their seed only."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any, Self

from .results import DetectionEvaluation


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


WORDS = {"chosen": "the chosen detector", "best_baseline": "the best baseline"}
"""For people, what in `Spread.auroc` is no scorer's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """AUROC over several trainings, scored on the same rows.

    Attributes:
        seeds: of the trainings that could be evaluated.
        chosen: the detector that each of them relies on.
        best_baseline: the baseline that each of them has to beat; None where there is none.
        auroc: by name: of `chosen`, of `best_baseline`, and of every detector.
    """

    seeds: tuple[int, ...]
    chosen: tuple[str, ...]
    best_baseline: tuple[str | None, ...]
    auroc: Mapping[str, Mean]

    @classmethod
    def of(cls, found: Mapping[int, DetectionEvaluation]) -> Self:
        """The spread over trainings.

        Args:
            found: what each training's evaluation found, by seed; one at least.
        """
        each = list(found.values())
        chosen = tuple(e.choice.name for e in each)
        baselines = tuple(e.best_baseline.name if e.best_baseline else None for e in each)
        detectors = dict.fromkeys(name for e in each for name in e.detectors)
        names = {
            "chosen": chosen,
            "best_baseline": baselines,
            **{name: (name,) * len(each) for name in detectors},
        }
        return cls(
            seeds=tuple(found),
            chosen=chosen,
            best_baseline=baselines,
            auroc={
                key: Mean.of([_auroc(e, name) for e, name in zip(each, of, strict=True)])
                for key, of in names.items()
            },
        )

    def to_dict(self) -> dict[str, Any]:
        """What stands in the evaluation.json of the run."""
        return {"schema": "kview-seeds/1", **asdict(self)}


def _auroc(found: DetectionEvaluation, name: str | None) -> float | None:
    return found.scored[name].auroc if name in found.scored else None
