"""How well detection works on a labelled store: both trainers, several K, several seeds.

Every seed makes its own grouped split, run and evaluation; the settings are kview's defaults.
Prints a JSON line a run and writes the page:

    python benchmarks/quality.py DIR [--group-by question] [--page docs/results.md]
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kview.cli.scored_run import detect
from kview.cli.settings import DataSettings, EncoderSettings, RunSettings
from kview.cli.train import train
from kview.eval import DetectionEvaluation, DetectionMetrics, Estimate
from kview.train import ContrastiveTrainerConfig, RunFolder

SEEDS = (42, 43, 44, 45, 46)
VIEWS = (2, 4, 6)
NAMES = ("knn", "length", "probe")

_INTRODUCTION = """
Detection of hallucinations on a real store: {source}.

Written by `benchmarks/quality.py`. Every seed makes its own split (80 % train, 20 % test, groups
kept whole) and its own run at kview's default settings; nothing was chosen by looking at a test
split. How the defaults were found is in [training.md](training.md#where-the-defaults-come-from).
The values are AUROCs: higher is better. `kNN` is kview's detector; `length` scores an answer by
its number of tokens alone, and `probe` is a logistic regression on the mean of one layer, chosen by
cross-validation on train.
"""


@dataclass(frozen=True)
class Row:
    """One run: AUROCs and paired differences, each with its interval."""

    layer_aware: bool
    num_views: int
    seed: int
    auroc: dict[str, tuple[float, float, float]]
    difference: dict[str, tuple[float, float, float]]


def run(store: str, group_by: str | None, layer_aware: bool, num_views: int, seed: int) -> Row:
    """Trains and evaluates once, in a folder of its own."""
    settings = RunSettings(
        store=store,
        data=DataSettings(group_by=group_by),
        encoder=EncoderSettings(layer_aware=layer_aware),
        trainer=ContrastiveTrainerConfig(num_views=num_views, seed=seed),
    )
    with tempfile.TemporaryDirectory() as folder:
        train(settings, RunFolder(folder))
        evaluation = detect(RunFolder(folder)).evaluation
    return Row(
        layer_aware=layer_aware,
        num_views=num_views,
        seed=seed,
        auroc={name: _auroc(evaluation, name) for name in NAMES},
        difference={
            d.second: _with_interval(d.auroc) for d in evaluation.differences if d.first == "knn"
        },
    )


def _auroc(evaluation: DetectionEvaluation, name: str) -> tuple[float, float, float]:
    metrics = evaluation.scored[name].metrics
    assert isinstance(metrics, DetectionMetrics), metrics
    return _with_interval(metrics.auroc)


def _with_interval(estimate: Estimate) -> tuple[float, float, float]:
    assert estimate.interval is not None, "there is no interval"
    low, high = estimate.interval
    return estimate.value, low, high


def page(rows: Sequence[Row], source: str) -> str:
    """The page: means over the seeds, then every run."""
    lines = [
        "# Results",
        "",
        *_INTRODUCTION.format(source=source).strip().splitlines(),
        "",
        "## Means over the seeds",
        "",
        "In brackets the lowest and the highest seed. Below zero the baseline is better.",
        "",
        "| trainer | K | kNN | length | probe | kNN - length | kNN - probe |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for layer_aware in (False, True):
        for num_views in VIEWS:
            same = [r for r in rows if (r.layer_aware, r.num_views) == (layer_aware, num_views)]
            cells = [_mean([r.auroc[name][0] for r in same]) for name in NAMES]
            cells += [_mean([r.difference[n][0] for r in same], "+") for n in ("length", "probe")]
            lines.append(f"| {_trainer(layer_aware)} | {num_views} | {' | '.join(cells)} |")
    lines += [
        "",
        "## Every run",
        "",
        "In brackets the 95 % interval over the groups of the test split;",
        "differences are paired.",
        "",
        "| trainer | K | seed | kNN | length | probe | kNN - length | kNN - probe |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        cells = [_interval(r.auroc[name]) for name in NAMES]
        cells += [_interval(r.difference[name], "+") for name in ("length", "probe")]
        lines.append(
            f"| {_trainer(r.layer_aware)} | {r.num_views} | {r.seed} | {' | '.join(cells)} |"
        )
    return "\n".join(lines) + "\n"


def _trainer(layer_aware: bool) -> str:
    return "layer-aware" if layer_aware else "plain"


def _mean(values: Sequence[float], sign: str = "") -> str:
    return f"{statistics.mean(values):{sign}.3f} ({min(values):{sign}.3f}, {max(values):{sign}.3f})"


def _interval(figure: tuple[float, float, float], sign: str = "") -> str:
    value, low, high = figure
    return f"{value:{sign}.3f} ({low:{sign}.3f}, {high:{sign}.3f})"


def main() -> None:
    """Runs everything, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    parser.add_argument("--group-by")
    parser.add_argument("--page", type=Path)
    parser.add_argument("--source", default="a labelled store")
    arguments = parser.parse_args()
    rows = []
    for layer_aware in (False, True):
        for num_views in VIEWS:
            for seed in SEEDS:
                row = run(arguments.store, arguments.group_by, layer_aware, num_views, seed)
                rows.append(row)
                print(json.dumps(vars(row)), flush=True)
    if arguments.page:
        arguments.page.write_text(page(rows, arguments.source))


if __name__ == "__main__":
    sys.exit(main())
