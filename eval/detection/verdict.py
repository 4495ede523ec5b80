"""The verdict of an evaluation: does the detector beat the best baseline?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ...contracts import ConfigError
from .comparison import Difference
from .scoring import DetectionMetrics, NoMetrics

Outcome = Literal["better", "no_better", "cannot_tell"]

MARGIN = 0.02
"""A gain of AUROC below this is none that matters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the primary comparison says.

    Attributes:
        outcome: `better`: the difference's interval lies above 0. `no_better`: it does not, and it
            ends below a gain of 0.02, so that none that matters is left. `cannot_tell`: neither.
        sentence: the same for people, with the numbers.
        difference: the primary comparison; None where there is none.
    """

    outcome: Outcome
    sentence: str
    difference: Difference | None


def verdict(
    differences: Sequence[Difference],
    metrics: Mapping[str, DetectionMetrics | NoMetrics],
    *,
    n_groups: int | None,
    validated: bool,
) -> Verdict:
    """What an evaluation's primary comparison says, in a sentence.

    Args:
        differences: one of them primary, or none at all.
        metrics: of each detector and baseline, by name.
        n_groups: groups of labelled test rows; None where each row is its own.
        validated: whether validation rows chose the baseline of the primary comparison.

    Raises:
        ConfigError: a scorer of the primary comparison has no metrics.
    """
    primary = next((d for d in differences if d.primary), None)
    if primary is None:
        reasons = [m.reason for m in metrics.values() if isinstance(m, NoMetrics)]
        why = reasons[0] if reasons else "there is no baseline to compare with"
        sentence = f"Cannot tell whether a detector beats a baseline: {why}."
        return Verdict(outcome="cannot_tell", sentence=sentence, difference=None)
    first, second = (_known(metrics, name) for name in (primary.first, primary.second))
    low, high = primary.auroc.interval or (-1.0, 1.0)
    outcome: Outcome = "better" if low > 0 else "no_better" if high < MARGIN else "cannot_tell"
    numbers = (
        f"AUROC {first.auroc.value:.3f} against {second.auroc.value:.3f}, a difference of "
        f"{primary.auroc.value:+.3f} (95 % interval {low:+.3f} to {high:+.3f}, p {_p(primary.p)})"
    )
    which = "the best baseline" if validated else "the baseline taken by default"
    names = primary.first, f"{which}, {primary.second}"
    if outcome == "better":
        sentence = f"{names[0]} is better than {names[1]}: {numbers}."
    elif outcome == "no_better":
        sentence = f"{names[0]} is no better than {names[1]}: {numbers}."
    else:
        rows = first.n_positive + first.n_negative
        of = f"{rows} labelled test rows" + (f" in {n_groups} groups" if n_groups else "")
        sentence = (
            f"Cannot tell whether {names[0]} is better than {names[1]}: {numbers}; with {of} the "
            f"interval is {high - low:.3f} wide."
        )
    return Verdict(outcome=outcome, sentence=sentence, difference=primary)


def _known(metrics: Mapping[str, DetectionMetrics | NoMetrics], name: str) -> DetectionMetrics:
    found = metrics[name]
    if isinstance(found, NoMetrics):
        raise ConfigError(f"{name} is compared and has no metrics: {found.reason}")
    return found


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
