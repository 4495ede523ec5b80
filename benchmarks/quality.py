"""How well detection works on labelled stores: kview's plain defaults, five seeds each.

Every seed makes its own split of 70 % train, 10 % val and 20 % test, groups kept whole, and its own
run; nothing but val rows chooses the detector. Prints a JSON line per run and writes the page:

    python benchmarks/quality.py NAME=DIR[:GROUP_BY] ... [--layer-aware] [--page docs/results.md]

`benchmarks/model_stores.py` makes stores of models' activations to run it on.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from kview.cli.scored_run import detect
from kview.cli.settings import DataSettings, EncoderSettings, RunSettings
from kview.cli.train import train
from kview.eval import DetectionEvaluation, DetectionMetrics
from kview.train import ContrastiveTrainerConfig, RunFolder

SEEDS = (42, 43, 44, 45, 46)

_INTRODUCTION = """
What kview's plain defaults reach, by AUROC (higher is better), on labelled stores of real models'
activations. Written by `benchmarks/quality.py`: every seed makes its own split (70 % train, 10 %
val, 20 % test, groups kept whole) and its own run. Within a run, layers are chosen on train rows,
and the detector on val rows. The defaults themselves were chosen on some of these stores, by val
rows, as [training.md](training.md#where-the-defaults-come-from) says. Test rows chose nothing.

`chosen` is the detector that val rows chose, `kNN` the one that needs no hallucinated rows to be
fitted, `length` the number of tokens alone, and `probe` a logistic regression on the mean
of one layer, the layer and its penalty chosen by grouped cross-validation on train.

`cities` and `facts` are true and false statements that SmolLM2-135M-Instruct read,
`own_capitals`, `own_order` and `own_arithmetic` answers that it gave itself, checked by a rule;
`other_facts` and `other_own` are the same of Qwen2.5-Coder-0.5B-Instruct; `halueval_qa` are right
and wrong answers to 200 questions of HaluEval QA, read by all-MiniLM-L6-v2.
"""


@dataclass(frozen=True)
class Run:
    """One run: AUROCs, and what it chose."""

    store: str
    seed: int
    chosen: str
    layers: tuple[int, ...]
    auroc: dict[str, float]
    verdict: str


def run(name: str, store: str, group_by: str | None, layer_aware: bool, seed: int) -> Run:
    """Trains and evaluates once, in a folder of its own."""
    settings = RunSettings(
        store=store,
        data=DataSettings(group_by=group_by or "none", split_seed=seed),
        encoder=EncoderSettings(layer_aware=layer_aware),
        trainer=ContrastiveTrainerConfig(seed=seed),
    )
    with tempfile.TemporaryDirectory() as folder:
        train(settings, RunFolder(folder))
        found = detect(RunFolder(folder)).evaluation
    chosen = found.choice.name
    scorers = {"chosen": chosen, "knn": "knn", "length": "length", "probe": "probe"}
    return Run(
        store=name,
        seed=seed,
        chosen=chosen,
        layers=found.view_layers,
        auroc={column: _auroc(found, scorer) for column, scorer in scorers.items()},
        verdict=found.verdict.outcome,
    )


def _auroc(evaluation: DetectionEvaluation, name: str) -> float:
    metrics = evaluation.scored[name].metrics
    assert isinstance(metrics, DetectionMetrics), metrics
    return metrics.auroc.value


def page(runs: Sequence[Run], layer_aware: bool) -> str:
    """The page: means over the seeds, then every run."""
    trainer = "layer-aware" if layer_aware else "plain"
    lines = [
        "# Results",
        "",
        *_INTRODUCTION.strip().splitlines(),
        "",
        f"## Means over {len({r.seed for r in runs})} seeds, {trainer} trainer",
        "",
        "In brackets the lowest and the highest seed. Below zero the probe is better. The verdicts",
        "count runs that say better / no better / cannot tell.",
        "",
        "| store | chosen | kNN | probe | length | chosen - probe | verdicts |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for store in dict.fromkeys(r.store for r in runs):
        same = [r for r in runs if r.store == store]
        cells = [_mean(r.auroc[c] for r in same) for c in ("chosen", "knn", "probe", "length")]
        cells.append(_mean((r.auroc["chosen"] - r.auroc["probe"] for r in same), "+"))
        verdicts = [r.verdict for r in same]
        outcomes = ("better", "no_better", "cannot_tell")
        cells.append(" / ".join(str(verdicts.count(outcome)) for outcome in outcomes))
        lines.append(f"| {store} | {' | '.join(cells)} |")
    lines += [
        "",
        "## Every run",
        "",
        "| store | seed | detector chosen | view layers | chosen | kNN | probe | verdict |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in runs:
        cells = [f"{r.auroc[c]:.3f}" for c in ("chosen", "knn", "probe")]
        layers = " ".join(map(str, r.layers))
        lines.append(
            f"| {r.store} | {r.seed} | {r.chosen} | {layers} | {' | '.join(cells)} "
            f"| {r.verdict.replace('_', ' ')} |"
        )
    return "\n".join(lines) + "\n"


def _mean(values: Iterable[float], sign: str = "") -> str:
    values = list(values)
    return f"{statistics.mean(values):{sign}.3f} ({min(values):{sign}.3f}, {max(values):{sign}.3f})"


def main() -> None:
    """Runs everything, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stores", nargs="+", metavar="NAME=DIR[:GROUP_BY]")
    parser.add_argument("--layer-aware", action="store_true")
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    runs = []
    for given in arguments.stores:
        name, _, place = given.partition("=")
        store, _, group_by = place.partition(":")
        for seed in SEEDS:
            runs.append(run(name, store, group_by or None, arguments.layer_aware, seed))
            print(json.dumps(asdict(runs[-1])), flush=True)
    if arguments.page:
        arguments.page.write_text(page(runs, arguments.layer_aware))


if __name__ == "__main__":
    sys.exit(main())
