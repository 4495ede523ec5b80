"""The table of metrics that `evaluate` and `demo` print."""

from ..eval import DetectionEvaluation, Estimate, NoMetrics, Scored
from .console import print_table, say


def show_metrics(evaluation: DetectionEvaluation) -> None:
    """The table of detectors and baselines on stdout."""
    rows = [_row(name, scored) for name, scored in evaluation.scored.items()]
    print_table(
        f"{len(evaluation.hashkeys)} test rows; higher scores mean more likely hallucinated",
        ("", "AUROC", "95 % interval", "average precision", "FPR at 95 % TPR"),
        rows,
    )
    for name, scored in evaluation.scored.items():
        if isinstance(scored.metrics, NoMetrics):
            say(f"{name}: {scored.metrics.reason}")


def _row(name: str, scored: Scored) -> tuple[str, ...]:
    metrics = scored.metrics
    if isinstance(metrics, NoMetrics):
        return (name, "-", "-", "-", "-")
    return (
        name,
        f"{metrics.auroc.value:.3f}",
        _interval(metrics.auroc),
        f"{metrics.average_precision.value:.3f}",
        f"{metrics.fpr95.value:.3f}",
    )


def _interval(estimate: Estimate) -> str:
    return "-" if estimate.interval is None else "{:.3f} to {:.3f}".format(*estimate.interval)
