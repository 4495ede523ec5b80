"""A run and a store in, an evaluation out: what `evaluate`, `report` and `demo` share."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..contracts import ConfigError, StoreError
from ..data import ActivationDataset, ActivationParser
from ..eval import DetectionEvaluation, Reference, evaluate_detection, write_report
from ..eval.report.kept import ReportInputs, keep_report
from ..train import RunFolder, load_encoder
from .console import note, shown_progress
from .device import usable
from .layers import ViewLayers
from .run_data import dataset, every_layer, full_path, groups_of, open_data
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
    how = how or DetectionSettings()
    device = usable(how.device)
    config = folder.read_config()
    settings = RunSettings.from_dict(config)
    encoder = load_encoder(folder.encoder)
    if store_of_run is not None:
        settings = dataclasses.replace(settings, store=full_path(store_of_run))
    try:
        own = open_data(settings)
    except StoreError as error:
        if store_of_run is None:
            error.add_note(f"if the store of {folder.path} has moved, --store-of-run says where to")
        raise
    layers = ViewLayers.of_run(config)
    trained_on = dataset(own, settings, "train", layers.ids)
    require_same_rows(folder, config, trained_on)
    scored = own if store is None else open_data(settings, store)
    if store is not None:
        require_same_kind(own, scored, settings.store, store)
    read = layers.scored(own)
    train = every_layer(own, settings, "train", read)
    val = None if own.splits.val is None else every_layer(own, settings, "val", read)
    test = every_layer(scored, settings, "test", read)
    seen = [train] if val is None else [train, val]
    rows = np.arange(len(test)) if store is None else unseen_rows(test, seen, store)
    test = test.select(rows)
    note(f"reading {sum(map(len, seen))} train and val rows and {len(test)} test rows")
    with shown_progress() as progress:
        evaluation = evaluate_detection(
            encoder,
            train=train,
            val=val,
            test=test,
            views=[read.index(layer) for layer in layers.ids],
            batch_size=how.batch_size,
            device=device,
            train_groups=groups_of(own, "train"),
            groups=groups_of(scored, "test", rows),
            reference=how.reference,
            k=how.k,
            seed=settings.data.split_seed,
            progress=progress,
        )
    return Detection(
        evaluation=evaluation,
        settings=settings,
        train=train,
        test=test,
        store=settings.store if store is None else full_path(store),
        scored=scored,
        layers=layers,
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


def require_same_rows(
    folder: RunFolder, config: Mapping[str, Any], train: ActivationDataset
) -> None:
    """Refuses a run whose data has changed since: its split, and so its test rows, are others now.

    Raises:
        ConfigError: the rows or labels are not those that the run was trained on.
    """
    prints = config.get("fingerprint")
    known = prints.get("train") if isinstance(prints, Mapping) else None
    if known != train.fingerprint:
        raise ConfigError(
            f"the data of {folder.path} is not what it was trained on: rows, labels or lengths "
            "have changed, and rows that were trained on may now be test rows; train a new run"
        )


def unseen_rows(
    test: ActivationDataset, seen: Sequence[ActivationDataset], store: str
) -> np.ndarray:
    """Positions of the rows that the run has not seen, neither in train nor in val, by hashkey.

    Raises:
        ConfigError: it has seen all of them.
    """
    keys = {key for part in seen for key in part.hashkeys}
    rows = np.array([i for i, key in enumerate(test.hashkeys) if key not in keys], np.int64)
    if not len(rows):
        raise ConfigError(
            f"the run has seen every row of {store} in training; score its own test rows with "
            "kview evaluate RUN, or another store"
        )
    if len(rows) < len(test):
        note(f"{len(test) - len(rows)} rows of {store} were seen in training and are left out")
    return rows


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
        if ours != theirs and ours and theirs  # a store need not name its model
    ]
    if unlike:
        raise ConfigError(
            f"{other_name} does not fit a run on {own_name}: {'; '.join(unlike)}; score a store "
            "recorded from the same model"
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
