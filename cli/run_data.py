"""What a run trains and is scored on: its settings in, a parser and datasets out."""

from pathlib import Path

from ..data import ActivationDataset, ActivationParser, find_inputs
from ..data.parser import Split
from .settings import RunSettings


def open_data(settings: RunSettings, store: str | None = None) -> ActivationParser:
    """The rows that the settings name; `store` in place of the run's own is all test."""
    data, own = settings.data, store is None
    inputs = find_inputs(
        settings.store if store is None else store,
        generation=data.generation if own else None,
        labels=data.labels if own else None,
    )
    return ActivationParser(
        inputs.inference_json,
        inputs.eval_json,
        inputs.activations_path,
        split_strategy=data.split if own else "none",
        random_seed=settings.split_seed,
        group_by=data.group_by,
    )


def dataset(parser: ActivationParser, settings: RunSettings, split: Split) -> ActivationDataset:
    """One side of the split as K-view batches."""
    data, trainer = settings.data, settings.trainer
    return parser.get_dataset(
        split,
        num_views=trainer.num_views,
        relevant_layers=data.relevant_layers,
        fixed_layer=data.fixed_layer,
        pad_length=data.pad_length,
        view_sampling_with_replacement=trainer.view_sampling_with_replacement,
    )


def absolute(path: str | None) -> str | None:
    """A path that means the same from another folder."""
    return None if path is None else str(Path(path).resolve())
