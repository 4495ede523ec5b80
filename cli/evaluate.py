"""`kview evaluate` and `kview report`: metrics, predictions and the page for a run."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from ..contracts import CheckpointError, ConfigError
from ..contracts.settings import Count, checked
from ..eval import DetectionEvaluation, Reference, evaluation_json, write_evaluation
from ..train import RunFolder
from .console import print_json, say
from .failures import Failures
from .matrix import folder_name, score_matrix
from .metric_table import show_metrics, show_spread
from .scored_run import DetectionSettings, detect, write_page
from .seeds import Spread, run_of, seeds_of


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
        _run_matrix(command, command.matrix)
        return
    if command.run is None:
        raise ConfigError("kview evaluate needs a RUN (or --matrix RUN RUN ... --out DIR)")
    if command.stores:
        raise ConfigError("--stores has no effect without --matrix")
    run = RunFolder(command.run)
    name = "" if command.store is None else f"on-{folder_name(command.store)}"
    folder = run.path / name if command.out is None else Path(command.out)
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
    found = detect(run, command.store, command.detection)
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
        if command.json:
            print_json(spread.to_dict())
        else:
            show_spread(spread)


def run_report(command: Report) -> None:
    """Runs `kview report`."""
    run = RunFolder(command.run)
    say(str(write_page(detect(run, how=_as_before(run)), run, run.path)))


def _run_matrix(command: Evaluate, runs: tuple[str, ...]) -> None:
    if not runs or command.out is None or command.run or command.embeddings:
        raise ConfigError(
            "kview evaluate --matrix RUN RUN ... needs --out DIR, and takes no other RUN and no "
            "--embeddings"
        )
    failures = Failures()
    page = score_matrix(runs, command.stores, command.out, command.detection, failures)
    say(f"matrix: {page}")
    failures.end()


def _as_before(run: RunFolder) -> DetectionSettings:
    """The settings of the evaluation in the run's folder; the defaults where it has none."""
    if not run.evaluation.is_file():
        return DetectionSettings()
    try:
        data = json.loads(run.evaluation.read_text())["data"]
        return DetectionSettings(
            reference=checked(Reference, reference=data["reference"]),
            k=checked(Count, k=data["k"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{run.evaluation} is damaged ({type(error).__name__}: {error}); kview evaluate "
            f"{run.path} writes it anew"
        ) from error
