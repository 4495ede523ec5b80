"""`kview evaluate --matrix`: several runs, each scored on several stores."""

from collections.abc import Sequence
from pathlib import Path

from ..contracts import ConfigError
from ..eval import DetectionEvaluation, NoMetrics, write_matrix
from ..train import RunFolder
from .console import print_table
from .failures import Failures
from .metric_table import number
from .scored_run import DetectionSettings, detect


def score_matrix(
    runs: Sequence[str],
    stores: Sequence[str],
    out: str,
    how: DetectionSettings,
    failures: Failures,
) -> Path:
    """Scores every run on its own test rows and on every store; gives the path of the page.

    A run or a store that fails leaves cells with the reason, and the others go on.

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
        for store in (None, *stores):
            where = "its own test rows" if store is None else folder_name(store)
            name = f"{folder_name(run)} on {where}"
            with failures.guard(name):
                found = detect(RunFolder(run), store, how).evaluation
                failures.add_detectors(name, found)
                cells[folder_name(run), where] = found
            if name in failures.named:
                cells[folder_name(run), where] = NoMetrics(reason=failures.named[name])
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


def folder_name(path: str) -> str:
    """The name of a run or a store: that of its folder."""
    return Path(path).resolve().name


def _auroc(cell: DetectionEvaluation | NoMetrics) -> str:
    return number(None if isinstance(cell, NoMetrics) else cell.detectors["knn"].auroc)
