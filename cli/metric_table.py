"""The tables of metrics that `evaluate` and `demo` print."""

from ..eval import DetectionEvaluation, NoMetrics, Scored
from ..eval.detection.spread import WORDS, Spread
from .console import print_table, say


def show_metrics(evaluation: DetectionEvaluation) -> None:
    """The table of detectors and baselines on stdout, and the verdict under it."""
    print_table(
        f"{len(evaluation.hashkeys)} test rows; higher scores mean more likely hallucinated",
        ("", "AUROC", "95 % interval", "average precision", "FPR at 95 % TPR"),
        [(name, *_cells(scored)) for name, scored in evaluation.scored.items()],
    )
    say(f"the detector to rely on: {evaluation.choice.reason}")
    for name, scored in evaluation.scored.items():
        if isinstance(scored.metrics, NoMetrics):
            say(f"{name}: {scored.metrics.reason}")
    for note in evaluation.notes:
        say(f"note: {note}")
    say(evaluation.verdict.sentence)


def show_spread(spread: Spread) -> None:
    """AUROC over several trainings on stdout."""
    print_table(
        f"AUROC of {len(spread.seeds)} trainings on one split; the deviation is training's alone",
        ("", "mean", "deviation", *(f"seed {seed}" for seed in spread.seeds)),
        [
            (
                WORDS.get(name, name),
                *(number(value) for value in (auroc.mean, auroc.deviation, *auroc.values)),
            )
            for name, auroc in spread.auroc.items()
        ],
    )
    say(f"chosen: {', '.join(spread.chosen)}")
    say(f"best baselines: {', '.join(name or '-' for name in spread.best_baseline)}")


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _cells(scored: Scored) -> tuple[str, str, str, str]:
    metrics = scored.metrics
    if isinstance(metrics, NoMetrics):
        return ("-", "-", "-", "-")
    found = (metrics.auroc, metrics.average_precision, metrics.fpr95)
    auroc, precision, fpr95 = (f"{estimate.value:.3f}" for estimate in found)
    interval = metrics.auroc.interval
    return (auroc, "{:.3f} to {:.3f}".format(*interval) if interval else "-", precision, fpr95)
