"""A finished run with the data that it was trained on, and the rows that it may be scored on."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..contracts import ConfigError, Encoder, StoreError
from ..data import ActivationDataset, ActivationParser
from ..train import RunFolder, load_encoder
from .console import note
from .layers import ViewLayers
from .run_data import dataset, every_layer, full_path, groups_of, open_data
from .settings import RunSettings


@dataclass(frozen=True, kw_only=True)
class OpenRun:
    """A finished run and its data, of which nothing has been read yet.

    Attributes:
        encoder: the run's.
        settings: the run's.
        own: the parser of the store that it was trained on.
        train: its training rows, every layer that is scored a view.
        val: its validation rows likewise; None without.
        layers: which layers views are drawn from, and why.
    """

    encoder: Encoder
    settings: RunSettings
    own: ActivationParser
    train: ActivationDataset
    val: ActivationDataset | None
    layers: ViewLayers

    @property
    def seen(self) -> list[ActivationDataset]:
        """The rows that training has seen."""
        return [self.train] if self.val is None else [self.train, self.val]


@dataclass(frozen=True, kw_only=True)
class ToScore:
    """Rows to score.

    Attributes:
        test: the rows.
        groups: theirs; None where they are not grouped.
        store: the path of their store.
        parser: of that store.
    """

    test: ActivationDataset
    groups: list[str] | None
    store: str
    parser: ActivationParser


def open_run(folder: RunFolder, store_of_run: str | None = None) -> OpenRun:
    """Opens a run with the data that it was trained on.

    Args:
        folder: the run's.
        store_of_run: where the store is that the run was trained on; None for where it was.

    Raises:
        CheckpointError: the folder holds no finished run.
        ConfigError: the data has changed since.
        StoreError: the store is not there.
    """
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
    require_same_rows(folder, config, dataset(own, settings, "train", layers.ids))
    read = layers.scored(own)
    return OpenRun(
        encoder=encoder,
        settings=settings,
        own=own,
        train=every_layer(own, settings, "train", read),
        val=None
        if own.splits.val is None
        else every_layer(own, settings, "val", read, logprobs=True),
        layers=layers,
    )


def rows_to_score(run: OpenRun, store: str | None = None) -> ToScore:
    """A run's own test rows, or the rows of another store that it was not trained on.

    Args:
        run: opened.
        store: another store; None for the run's own test rows.

    Raises:
        ConfigError: the other store does not fit the run, or holds nothing new.
    """
    settings, own = run.settings, run.own
    parser = own if store is None else open_data(settings, store)
    if store is not None:
        require_same_kind(own, parser, settings.store, store)
    test = every_layer(parser, settings, "test", run.layers.scored(own), logprobs=True)
    rows = np.arange(len(test)) if store is None else unseen_rows(test, run.seen, store)
    return ToScore(
        test=test.select(rows),
        groups=groups_of(parser, "test", rows),
        store=settings.store if store is None else full_path(store),
        parser=parser,
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
