"""`kview evaluate --matrix`: several runs, each scored on several stores."""

from collections.abc import Sequence
from pathlib import Path

from ..contracts import ConfigError
from ..eval import DetectionEvaluation, FittedDetection, NoMetrics, write_matrix
from ..train import RunFolder
from .console import print_table
from .failures import Failures
from .metric_table import number
from .opened_run import OpenRun, open_run, rows_to_score
from .scored_run import DetectionSettings, fit_run, score_run


def score_matrix(
    runs: Sequence[str],
    stores: Sequence[str],
    out: str,
    how: DetectionSettings,
    failures: Failures,
) -> Path:
    """Scores every run on its own test rows and on every store; gives the path of the page.

    A run is fitted once, whatever it is scored on. A run or a store that fails leaves cells with
    the reason, and the others go on.

    Args:
        runs: folders of the runs.
        stores: the other stores.
        out: folder to write to.
        how: settings of the detectors.
        failures: learns what failed.

    Raises:
        ConfigError: names repeat.
    """
    for paths in (runs, stores):
        names = [folder_name(path) for path in paths]
        if len(set(names)) < len(names):
            raise ConfigError(
                f"a matrix tells runs and stores apart by their folders' names: {names} repeat one"
            )
    cells: dict[tuple[str, str], DetectionEvaluation | NoMetrics] = {}
    for run in runs:
        for where, cell in _cells(run, stores, how, failures).items():
            cells[folder_name(run), where] = cell
    names = list(dict.fromkeys(run for run, _ in cells))
    print_table(
        "AUROC of kNN, by run and store",
        ("run", *dict.fromkeys(store for _, store in cells)),
        [
            (name, *(_auroc(cell) for (run, _), cell in cells.items() if run == name))
            for name in names
        ],
    )
    return write_matrix(out, cells)


def _cells(
    run: str, stores: Sequence[str], how: DetectionSettings, failures: Failures
) -> dict[str, DetectionEvaluation | NoMetrics]:
    """What a run that is fitted once finds on its own test rows, and on every store."""
    name = folder_name(run)
    wheres = {"its own test rows": None, **{folder_name(store): store for store in stores}}
    ready: tuple[OpenRun, FittedDetection] | None = None
    with failures.guard(name):
        opened = open_run(RunFolder(run))
        ready = opened, fit_run(opened, how)
    if ready is None:
        return dict.fromkeys(wheres, NoMetrics(reason=failures.named[name]))
    cells: dict[str, DetectionEvaluation | NoMetrics] = {}
    for where, store in wheres.items():
        cell = f"{name} on {where}"
        with failures.guard(cell):
            found = score_run(*ready, rows_to_score(ready[0], store)).evaluation
            failures.add_detectors(cell, found)
            cells[where] = found
        if cell in failures.named:
            cells[where] = NoMetrics(reason=failures.named[cell])
    return cells


def folder_name(path: str) -> str:
    """The name of a run or a store: that of its folder."""
    return Path(path).resolve().name


def _auroc(cell: DetectionEvaluation | NoMetrics) -> str:
    return number(None if isinstance(cell, NoMetrics) else cell.detectors["knn"].auroc)
