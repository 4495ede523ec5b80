"""`kview evaluate` and `kview report`: metrics, predictions and the page for a run."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from ..contracts import ConfigError
from ..eval import (
    DetectionEvaluation,
    Estimate,
    NoMetrics,
    Scored,
    evaluation_json,
    write_evaluation,
    write_matrix,
)
from ..train import RunFolder
from .console import print_json, print_table, say
from .scored_run import DetectionSettings, detect, write_page


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Score a run's test rows, or another store's, and write evaluation.json and report.html.

    Detectors are fitted on the run's training rows. Figures of another store go into a folder of
    the run that is named after it. With `--matrix`, several runs are scored on several stores.
    """

    run: tyro.conf.Positional[str | None] = None
    """Folder of the run."""

    store: tyro.conf.Positional[str | None] = None
    """Another store, whose rows the run has never seen; None: the run's own test rows."""

    matrix: tuple[str, ...] | None = None
    """Folders of several runs, each scored on its own test rows and on every one of --stores."""

    stores: tuple[str, ...] = ()
    """The other stores of a matrix."""

    out: str | None = None
    """Folder to write to; None: the run's own, or for another store one inside it."""

    embeddings: bool = False
    """Also write the scored rows' embeddings.safetensors."""

    json: bool = False
    """Print the metrics as JSON instead of a table."""

    detection: DetectionSettings = field(default_factory=DetectionSettings)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write a run's report.html anew, and print where it is."""

    run: tyro.conf.Positional[str]
    """Folder of the run."""


def run_evaluate(command: Evaluate) -> None:
    """Runs `kview evaluate`.

    Raises:
        ConfigError: flags are missing, or do not go together.
    """
    if command.matrix is not None:
        run_matrix(command)
        return
    if command.run is None:
        raise ConfigError("kview evaluate needs a RUN (or --matrix RUN RUN ... --out DIR)")
    if command.stores:
        raise ConfigError("--stores has no effect without --matrix")
    run = RunFolder(command.run)
    found = detect(run, command.store, command.detection)
    folder = run.path if command.store is None else run.path / f"on-{_name(command.store)}"
    folder = folder if command.out is None else Path(command.out)
    write_evaluation(folder, found.evaluation, embeddings=command.embeddings)
    report = write_page(found, run, folder)
    if command.json:
        print_json(evaluation_json(found.evaluation))
    else:
        show(found.evaluation)
        say(f"report: {report}")


def run_report(command: Report) -> None:
    """Runs `kview report`."""
    run = RunFolder(command.run)
    say(str(write_page(detect(run, how=_as_before(run)), run, run.path)))


def run_matrix(command: Evaluate) -> None:
    """Runs `kview evaluate --matrix`.

    Raises:
        ConfigError: flags are missing, or do not go together.
    """
    runs = command.matrix
    if not runs or command.out is None or command.run or command.embeddings:
        raise ConfigError(
            "kview evaluate --matrix RUN RUN ... needs --out DIR, and takes no other RUN and no "
            "--embeddings"
        )
    for paths in (runs, command.stores):
        names = [_name(path) for path in paths]
        if len(set(names)) < len(names):
            raise ConfigError(
                f"a matrix tells runs and stores apart by their folders' names: {names} repeat one"
            )
    cells: dict[tuple[str, str], DetectionEvaluation | NoMetrics] = {}
    for run in runs:
        for store in (None, *command.stores):
            name = "its own test rows" if store is None else _name(store)
            try:
                found = detect(RunFolder(run), store, command.detection)
                cells[_name(run), name] = found.evaluation
            except ConfigError as error:
                if store is None:
                    raise
                cells[_name(run), name] = NoMetrics(reason=str(error))
    page = write_matrix(command.out, cells)
    print_table(
        "AUROC of kNN, by run and store",
        ("run", *dict.fromkeys(store for _, store in cells)),
        [
            (_name(run), *(_auroc(found) for (row, _), found in cells.items() if row == _name(run)))
            for run in runs
        ],
    )
    say(f"matrix: {page}")


def show(evaluation: DetectionEvaluation) -> None:
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


def _auroc(found: DetectionEvaluation | NoMetrics) -> str:
    metrics = found if isinstance(found, NoMetrics) else found.detectors["knn"].metrics
    return "-" if isinstance(metrics, NoMetrics) else f"{metrics.auroc.value:.3f}"


def _interval(estimate: Estimate) -> str:
    return "-" if estimate.interval is None else "{:.3f} to {:.3f}".format(*estimate.interval)


def _as_before(run: RunFolder) -> DetectionSettings:
    """The settings of the evaluation in the run's folder; the defaults where it has none."""
    if not run.evaluation.is_file():
        return DetectionSettings()
    data = json.loads(run.evaluation.read_text())["data"]
    return DetectionSettings(reference=data["reference"], k=data["k"])


def _name(path: str) -> str:
    return Path(path).resolve().name
