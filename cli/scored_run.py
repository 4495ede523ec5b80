"""A run and a store in, an evaluation out: what `evaluate`, `report` and `demo` share."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from ..data import ActivationDataset, ActivationParser
from ..eval import (
    DetectionEvaluation,
    FittedDetection,
    Reference,
    fit_detection,
    score_detection,
    write_report,
)
from ..eval.report.kept import ReportInputs, keep_report
from ..train import RunFolder
from .console import note, shown_progress
from .device import usable
from .layers import ViewLayers
from .opened_run import OpenRun, ToScore, open_run, rows_to_score
from .run_data import groups_of
from .settings import RunSettings


@dataclass(frozen=True, kw_only=True)
class DetectionSettings:
    """How detectors are fitted and rows embedded."""

    reference: Reference = "not_hallucinated"
    """The training rows that detectors are fitted on."""

    k: int | Literal["validation"] = 10
    """Neighbours of kNN; validation chooses them on the validation rows."""

    batch_size: int = 256
    """Samples embedded at once."""

    device: str = "cpu"
    """Where to embed: cpu, cuda, mps."""


@dataclass(frozen=True, kw_only=True)
class Detection:
    """What was found, and on what.

    Attributes:
        evaluation: what was found.
        settings: the run's.
        train: the run's training rows.
        test: the rows that were scored.
        store: the path of the store that was scored.
        scored: its parser.
        layers: which layers views are drawn from, and why.
    """

    evaluation: DetectionEvaluation
    settings: RunSettings
    train: ActivationDataset
    test: ActivationDataset
    store: str
    scored: ActivationParser
    layers: ViewLayers


def detect(
    folder: RunFolder,
    store: str | None = None,
    how: DetectionSettings | None = None,
    *,
    store_of_run: str | None = None,
) -> Detection:
    """Scores a run's own test rows, or the rows of another store that it was not trained on.

    Args:
        folder: the run's.
        store: another store; None for the run's own test rows.
        how: settings of the detectors.
        store_of_run: where the store is that the run was trained on; None for where it was.

    Raises:
        ConfigError: the other store does not fit the run, or holds nothing new.
        CheckpointError: the folder holds no finished run.
    """
    run = open_run(folder, store_of_run)
    rows = rows_to_score(run, store)  # before fitting: what does not fit is refused early
    return score_run(run, fit_run(run, how or DetectionSettings()), rows)


def fit_run(run: OpenRun, how: DetectionSettings) -> FittedDetection:
    """Fits detectors and baselines on a run's training rows, to score several stores by.

    Args:
        run: opened.
        how: settings of the detectors.

    Raises:
        ConfigError: the device does not work here.
    """
    device = usable(how.device)
    read = run.layers.scored(run.own)
    note(f"reading {sum(map(len, run.seen))} train and val rows")
    with shown_progress() as progress:
        return fit_detection(
            run.encoder,
            train=run.train,
            val=run.val,
            views=[read.index(layer) for layer in run.layers.ids],
            batch_size=how.batch_size,
            device=device,
            train_groups=groups_of(run.own, "train"),
            reference=how.reference,
            k=how.k,
            seed=run.settings.data.split_seed,
            progress=progress,
        )


def score_run(run: OpenRun, fitted: FittedDetection, rows: ToScore) -> Detection:
    """Scores rows by what was fitted on a run's training rows.

    Args:
        run: opened.
        fitted: on its training rows.
        rows: those to score.
    """
    note(f"reading {len(rows.test)} test rows")
    with shown_progress() as progress:
        evaluation = score_detection(fitted, test=rows.test, groups=rows.groups, progress=progress)
    return Detection(
        evaluation=evaluation,
        settings=run.settings,
        train=run.train,
        test=rows.test,
        store=rows.store,
        scored=rows.parser,
        layers=run.layers,
    )


def write_page(found: Detection, run: RunFolder, folder: Path) -> Path:
    """Writes report.html, and report.json to draw it again from; gives the page's path.

    Args:
        found: what was found.
        run: the run's folder, whose training curves the report shows.
        folder: where to write.
    """
    inputs = ReportInputs(
        evaluation=found.evaluation,
        metrics=run.read_metrics(),
        config=found.settings.to_dict(),
        data_summary={"run": str(run.path.resolve()), **data_summary(found)},
        texts=found.scored.texts,
    )
    keep_report(folder, inputs)
    return draw_page(folder, inputs)


def draw_page(folder: Path, inputs: ReportInputs) -> Path:
    """Writes report.html; gives its path."""
    return write_report(
        folder,
        evaluation=inputs.evaluation,
        metrics=inputs.metrics,
        config=inputs.config,
        data_summary=inputs.data_summary,
        texts=inputs.texts,
    )


def data_summary(found: Detection) -> dict[str, str | int | float]:
    """What the report says of the data."""
    scored, store = found.scored, found.scored.store
    groups = "none" if scored.groups is None else len(set(scored.groups))
    return {
        "store": found.store,
        "rows in the store": len(store),
        f"groups by {scored.grouped_by}" if scored.grouped_by else "groups": groups,
        "train rows": len(found.train),
        "test rows": len(found.test),
        "hallucinated in test": int((found.test.labels == 1).sum()),
        "unlabelled in test": int((found.test.labels == -1).sum()),
        "layers": store.num_layers,
        "views from layers": f"{', '.join(map(str, found.layers.ids))} ({found.layers.reason})",
        "hidden size": store.hidden_size,
        "response tokens kept": store.max_tokens,
        "model": store.model or "not recorded",
        "seed of training": found.settings.trainer.seed,
        "seed of the split": found.settings.data.split_seed,
        "kview": version("kview"),
    }
