"""`kview evaluate` and `kview report`: metrics, predictions and the page for a run."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from ..contracts import ConfigError
from ..eval import DetectionEvaluation, evaluation_json, write_evaluation
from ..eval.detection.spread import Spread
from ..eval.report.kept import kept_report
from ..eval.report.seeds import write_seeds_report
from ..train import RunFolder
from .console import print_json, say
from .failures import Failures
from .matrix import score_matrix
from .metric_table import show_metrics, show_spread
from .output_folder import output_folder
from .scored_run import DetectionSettings, detect, draw_page, write_page
from .seeds import run_of, seeds_of


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Score a run's test rows, or another store's, and write evaluation.json and report.html.

    Detectors are fitted on the run's training rows. Of a run that was trained with several seeds,
    each training is scored, and evaluation.json holds mean and spread over them. Metrics of another
    store go into a folder of the run that is named after it. With `--matrix`, several runs are
    scored on several stores.
    """

    run: tyro.conf.Positional[str | None] = None
    """Folder of the run."""

    store: tyro.conf.Positional[str | None] = None
    """Another store, whose rows the run has never seen; None: the run's own test rows."""

    matrix: tuple[str, ...] | None = None
    """Folders of several runs, each scored on its own test rows and on every one of --stores."""

    stores: tuple[str, ...] = ()
    """The other stores of a matrix."""

    store_of_run: str | None = None
    """Where the store is that the run was trained on, if it has moved since."""

    out: str | None = None
    """Folder to write to; None: the run's own, or for another store one inside it."""

    embeddings: bool = False
    """Also write the scored rows' embeddings.safetensors."""

    json: bool = False
    """Print the metrics as JSON instead of a table."""

    detection: DetectionSettings = field(default_factory=DetectionSettings)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Draw report.html anew from what `evaluate` kept, and print where it is."""

    run: tyro.conf.Positional[str]
    """Folder of the run, or another that `evaluate` wrote to."""


def run_evaluate(command: Evaluate) -> None:
    """Runs `kview evaluate`.

    Raises:
        ConfigError: flags are missing, or do not go together.
    """
    if command.matrix is not None:
        _run_matrix(command, command.matrix)
        return
    if command.run is None:
        raise ConfigError("kview evaluate needs a RUN (or --matrix RUN RUN ... --out DIR)")
    if command.stores:
        raise ConfigError("--stores has no effect without --matrix")
    run = RunFolder(command.run)
    folder = run.path if command.store is None else output_folder(run.path, command.store)
    folder = folder if command.out is None else Path(command.out)
    failures = Failures()
    if seeds := seeds_of(run):
        _evaluate_seeds(command, run, seeds, folder, failures)
    else:
        found = _evaluate(command, run, folder, failures)
        if command.json:
            print_json(evaluation_json(found))
    failures.end()


def _evaluate(
    command: Evaluate, run: RunFolder, folder: Path, failures: Failures
) -> DetectionEvaluation:
    found = detect(run, command.store, command.detection, store_of_run=command.store_of_run)
    write_evaluation(folder, found.evaluation, embeddings=command.embeddings)
    report = write_page(found, run, folder)
    if not command.json:
        show_metrics(found.evaluation)
        say(f"report: {report}")
    failures.add_detectors(str(run.path), found.evaluation)
    return found.evaluation


def _evaluate_seeds(
    command: Evaluate, run: RunFolder, seeds: list[int], folder: Path, failures: Failures
) -> None:
    """Each training into its own folder, and mean and spread into the run's."""
    found: dict[int, DetectionEvaluation] = {}
    for seed in seeds:
        one = run_of(run, seed)
        with failures.guard(one.path.name):
            found[seed] = _evaluate(command, one, folder / one.path.name, failures)
    if found:
        spread = Spread.of(found)
        text = json.dumps(spread.to_dict(), indent=2)
        (folder / "evaluation.json").write_text(text + "\n")
        page = write_seeds_report(
            folder,
            evaluations=found,
            metrics={seed: run_of(run, seed).read_metrics() for seed in found},
            pages=_pages(run, found),
        )
        if command.json:
            print_json(spread.to_dict())
        else:
            show_spread(spread)
            say(f"report: {page}")


def run_report(command: Report) -> None:
    """Runs `kview report`."""
    run = RunFolder(command.run)
    seeds = seeds_of(run)
    if not seeds:
        say(str(draw_page(run.path, kept_report(run.path))))
        return
    kept = {seed: kept_report(run_of(run, seed).path) for seed in seeds}
    for seed, inputs in kept.items():
        say(str(draw_page(run_of(run, seed).path, inputs)))
    page = write_seeds_report(
        run.path,
        evaluations={seed: inputs.evaluation for seed, inputs in kept.items()},
        metrics={seed: inputs.metrics for seed, inputs in kept.items()},
        pages=_pages(run, seeds),
    )
    say(str(page))


def _pages(run: RunFolder, seeds: Iterable[int]) -> dict[int, str]:
    """Where each training's page is, seen from the folder of all."""
    return {seed: f"{run_of(run, seed).path.name}/report.html" for seed in seeds}


def _run_matrix(command: Evaluate, runs: tuple[str, ...]) -> None:
    others = command.run or command.embeddings or command.store_of_run
    if not runs or command.out is None or others:
        raise ConfigError(
            "kview evaluate --matrix RUN RUN ... needs --out DIR, and takes no other RUN, no "
            "--embeddings and no --store-of-run"
        )
    failures = Failures()
    page = score_matrix(runs, command.stores, command.out, command.detection, failures)
    say(f"matrix: {page}")
    failures.end()
