"""What a run trains and is scored on: its settings in, a parser and datasets out."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data import ActivationDataset, ActivationParser, find_inputs
from ..data.parser import Split
from .console import err
from .settings import RunSettings


def open_data(settings: RunSettings, store: str | None = None) -> ActivationParser:
    """The rows that the settings name; `store` in place of the run's own is all test.

    What groups rows where nobody says is looked for in another store anew: it need not have what
    the run's own has.
    """
    data, own = settings.data, store is None
    inputs = find_inputs(
        settings.store if store is None else store,
        generation=data.generation if own else None,
        labels=data.labels if own else None,
    )
    with err.status("reading labels and splitting rows"):  # a millisecond a group
        return ActivationParser(
            inputs.inference_json,
            inputs.eval_json,
            inputs.activations_path,
            split_strategy=data.split if own else "none",
            random_seed=data.split_seed,
            group_by=_group_by(data.group_by, own),
        )


def dataset(
    parser: ActivationParser, settings: RunSettings, split: Split, layers: tuple[int, ...]
) -> ActivationDataset:
    """One side of the split as K-view batches, as it is trained on.

    Args:
        layers: the model's layer ids that views are drawn from.
    """
    data, trainer = settings.data, settings.trainer
    return parser.get_dataset(
        split,
        num_views=trainer.num_views,
        random_seed=trainer.seed,
        relevant_layers=layers,
        fixed_layer=data.fixed_layer,
        pad_length=data.pad_length,
        view_sampling_with_replacement=trainer.view_sampling_with_replacement,
    )


def every_layer(
    parser: ActivationParser,
    settings: RunSettings,
    split: Split,
    layers: tuple[int, ...],
    *,
    logprobs: bool = False,
) -> ActivationDataset:
    """One side of the split with each of some layers as a view.

    Args:
        parser: whose rows.
        settings: of the run.
        split: the side.
        layers: the model's layer ids.
        logprobs: samples carry log-probabilities where the store has them, to be scored by.
    """
    rows = parser.get_dataset(
        split,
        num_views=max(2, len(layers)),
        relevant_layers=layers,
        pad_length=settings.data.pad_length,
        include_response_logprobs=logprobs and parser.store.logprobs_top_k is not None,
    )
    return rows.with_views(range(len(layers)))


def groups_of(
    parser: ActivationParser, split: Split, rows: NDArray[np.intp] | None = None
) -> list[str] | None:
    """The groups of the rows on one side of the split; None where rows are not grouped.

    Args:
        parser: whose rows.
        split: the side.
        rows: positions on that side; None for all of it.
    """
    groups, side = parser.groups, parser.split(split)
    if groups is None:
        return None
    return [groups[row] for row in (side if rows is None else side[rows])]


def _group_by(asked: str | None, own: bool) -> str | None:
    """What a parser is told to group by."""
    if asked == "none":
        return None
    return "auto" if asked is None or (asked in ("group", "prompt") and not own) else asked


def absolute(path: str | None) -> str | None:
    """A path that means the same from another folder."""
    return None if path is None else full_path(path)


def full_path(path: str) -> str:
    """The same, of a path or a URL, which stays as it is."""
    return path if "://" in path else str(Path(path).resolve())
