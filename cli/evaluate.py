"""`kview evaluate` and `kview report`: figures, predictions and the page for a run."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from ..contracts import ConfigError
from ..data import ActivationDataset, ActivationParser
from ..eval import (
    DetectionEvaluation,
    Figure,
    NoFigures,
    Scored,
    evaluate_detection,
    evenly_spaced,
    write_report,
)
from ..eval.outputs import summary
from ..train import RunFolder, load_encoder
from .console import note, print_json, print_table, say
from .settings import RunSettings
from .train import dataset, open_data


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Score a run's test rows, or another store's, and write evaluation.json and report.html.

    Detectors are fitted on the run's training rows. Figures of another store go into a folder of
    the run that is named after it.
    """

    run: tyro.conf.Positional[str]
    """Folder of the run."""

    store: tyro.conf.Positional[str | None] = None
    """Another store, whose rows the run has never seen; None: the run's own test rows."""

    batch_size: int = 256
    """Samples embedded at once."""

    device: str = "cpu"
    """Where to embed: cpu, cuda, mps."""

    json: bool = False
    """Print the figures as JSON instead of a table."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write a run's report.html anew, and print where it is."""

    run: tyro.conf.Positional[str]
    """Folder of the run."""


def run_evaluate(command: Evaluate) -> None:
    """Runs `kview evaluate`."""
    folder = RunFolder(command.run)
    evaluation, report = evaluate(
        folder, command.store, batch_size=command.batch_size, device=command.device
    )
    if command.json:
        print_json(summary(evaluation))
        return
    show(evaluation)
    say(f"report: {report}")


def run_report(command: Report) -> None:
    """Runs `kview report`."""
    _, report = evaluate(RunFolder(command.run))
    say(str(report))


def evaluate(
    folder: RunFolder, store: str | None = None, *, batch_size: int = 256, device: str = "cpu"
) -> tuple[DetectionEvaluation, Path]:
    """Evaluates a run and writes what was found.

    Args:
        folder: the run's.
        store: another store to score; None for the run's own test rows.
        batch_size: samples embedded at once.
        device: where to embed.

    Returns:
        The evaluation and the report's path.

    Raises:
        ConfigError: the other store does not fit the run.
    """
    settings = RunSettings.from_dict(folder.read_config())
    encoder = load_encoder(folder.encoder)
    own = open_data(settings)
    train = dataset(own, settings, "train")
    other = own if store is None else open_data(settings, store)
    test = dataset(other, settings, "test")
    if store is not None:
        require_same_kind(own, other, settings.store, store)
    views = evenly_spaced(len(train.layer_ids), settings.trainer.num_views)
    layers = range(len(train.layer_ids))
    note(
        f"embedding {len(train)} train and {len(test)} test rows at layers "
        f"{[train.layer_ids[i] for i in views]}"
    )
    evaluation = evaluate_detection(
        encoder,
        train=train.with_views(views),
        test=test.with_views(views),
        train_layers=train.with_views(layers),
        test_layers=test.with_views(layers),
        batch_size=batch_size,
        device=device,
        groups=test_groups(other),
        seed=settings.trainer.seed,
    )
    target = folder.path if store is None else folder.path / f"on-{Path(store).resolve().name}"
    evaluation.write(target)
    report = write_report(
        target,
        evaluation=evaluation,
        metrics=folder.read_metrics(),
        config=settings.to_dict(),
        data_summary=data_summary(other, train, test),
        texts=other.texts,
    )
    return evaluation, report


def test_groups(parser: ActivationParser) -> list[str] | None:
    """The test rows' groups, which the intervals keep together; None where rows have none."""
    if parser.groups is None:
        return None
    return [parser.groups[row] for row in parser.split("test")]


def require_same_kind(
    own: ActivationParser, other: ActivationParser, own_name: str, other_name: str
) -> None:
    """Refuses a store whose layers, hidden size or model are not the run's.

    Raises:
        ConfigError: naming what differs.
    """
    pairs = {
        "layers": (own.store.layer_ids, other.store.layer_ids),
        "hidden size": (own.store.hidden_size, other.store.hidden_size),
        "model": (own.store.model, other.store.model),
    }
    unlike = [
        f"{name} {theirs} (the run: {ours})"
        for name, (ours, theirs) in pairs.items()
        if ours != theirs and None not in (ours, theirs)
    ]
    if unlike:
        raise ConfigError(
            f"{other_name} does not fit a run on {own_name}: {'; '.join(unlike)}; score a store "
            "recorded from the same model"
        )


def data_summary(
    parser: ActivationParser, train: ActivationDataset, test: ActivationDataset
) -> dict[str, str | int | float]:
    """What the report says of the data."""
    store = parser.store
    return {
        "rows in the store": len(store),
        "train rows": len(train),
        "test rows": len(test),
        "hallucinated in test": int((test.labels == 1).sum()),
        "unlabelled in test": int((test.labels == -1).sum()),
        "layers": store.num_layers,
        "hidden size": store.hidden_size,
        "response tokens kept": store.max_tokens,
        "model": store.model or "not recorded",
    }


def show(evaluation: DetectionEvaluation) -> None:
    """The table of detectors and baselines on stdout."""
    rows = [_row(name, scored) for name, scored in evaluation.scored.items()]
    print_table(
        f"{len(evaluation.hashkeys)} test rows; higher scores mean more likely hallucinated",
        ("", "AUROC", "95 % interval", "average precision", "FPR at 95 % TPR"),
        rows,
    )
    for name, scored in evaluation.scored.items():
        if isinstance(scored.figures, NoFigures):
            say(f"{name}: {scored.figures.reason}")


def _row(name: str, scored: Scored) -> tuple[str, ...]:
    figures = scored.figures
    if isinstance(figures, NoFigures):
        return (name, "-", "-", "-", "-")
    return (
        name,
        f"{figures.auroc.value:.3f}",
        _interval(figures.auroc),
        f"{figures.average_precision.value:.3f}",
        f"{figures.fpr95.value:.3f}",
    )


def _interval(figure: Figure) -> str:
    return "-" if figure.interval is None else "{:.3f} to {:.3f}".format(*figure.interval)
