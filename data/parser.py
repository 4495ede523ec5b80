"""`ActivationParser`: a store, its labels and its splits; and where a folder keeps them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self, Unpack

import numpy as np

from ..contracts import ConfigError, LabelError
from .dataset import ActivationDataset
from .families import family_at
from .labels import FilePath, join_labels
from .layout.files import places
from .part import Text
from .splits import SplitStrategy, split_rows
from .store import ActivationStore, StorePath
from .text_fields import Numbers, prompt_field
from .view_settings import ViewOptions

Split = Literal["train", "val", "test"]


@dataclass(frozen=True, slots=True)
class StoreInputs:
    """The three paths that `ActivationParser` takes.

    Attributes:
        inference_json: generation.jsonl, or None for a store that labels itself.
        eval_json: eval_results.json, or None likewise.
        activations_path: the store.
    """

    inference_json: str | None
    eval_json: str | None
    activations_path: str


def find_inputs(
    path: StorePath, *, generation: FilePath | None = None, labels: FilePath | None = None
) -> StoreInputs:
    """The inputs at a path: a store, or a folder with a store and its label files side by side.

    Args:
        path: a store, or a folder that holds `activations.zarr` and may hold `generation.jsonl`
            and `eval_results.json`.
        generation: names the generation file instead.
        labels: names the label file instead.

    Raises:
        StoreError: what the store at the path is cannot be told.
    """
    beside = [Path(path, name) for name in ("generation.jsonl", "eval_results.json")]
    found = [str(file) if file.is_file() else None for file in beside]
    if any(found):
        family = family_at(places(path))
        if family is not None and family[1].keeps_label_files:
            found = [None, None]
    named = zip((generation, labels), found, strict=True)
    inference_json, eval_json = (f if given is None else os.fspath(given) for given, f in named)
    return StoreInputs(inference_json, eval_json, activations_path=os.fspath(path))


class ActivationParser:
    """Opens a store, labels its rows, and splits them.

    Args:
        inference_json: generation.jsonl, one `prompt` per line; None where a store labels itself.
        eval_json: eval_results.json, aligned with it by position; None likewise.
        activations_path: the store, or several to be read as one.
        split_strategy: `two_way` (train and test), `three_way` (and val), or `none` (all test).
        random_seed: of the splits, the order and the views.
        group_by: what must not be split apart: a key of generation.jsonl's lines; `group`, the
            store's own groups; `prompt`, rows whose prompts are equal; or `auto`, the store's own
            groups and otherwise equal prompts, as far as they tie rows together.
        follow_symlinks: as in `ActivationStore.open`.

    Attributes:
        store: the open store.
        rows: (n,) rows of the store that take part.
        halu: (n,) int8, their labels.
        groups: their groups, or None.
        grouped_by: what these were taken from, or None.
        splits: positions among these rows.

    Raises:
        StoreError: the store cannot be read.
        LabelError: the files do not fit each other or the store, or there is too little to split.
        ConfigError: a setting is wrong.

    Examples:
        >>> import tempfile
        >>> from kview.data import ActivationParser, write_synthetic_store
        >>> path = f"{tempfile.mkdtemp()}/a.zarr"
        >>> write_synthetic_store(path, num_rows=40, num_layers=5, hidden_size=8, max_tokens=4)
        >>> parser = ActivationParser(None, None, path, group_by="group")
        >>> train = parser.get_dataset("train", num_views=3)
        >>> len(train), len(parser.get_dataset("test", num_views=3))
        (32, 8)
    """

    def __init__(
        self,
        inference_json: FilePath | None,
        eval_json: FilePath | None,
        activations_path: StorePath | Sequence[StorePath],
        *,
        split_strategy: SplitStrategy = "two_way",
        random_seed: int = 42,
        group_by: str | None = None,
        follow_symlinks: bool = False,
    ) -> None:
        if random_seed < 0:
            raise ConfigError(f"random_seed={random_seed} is negative")
        self.store = ActivationStore.open(activations_path, follow_symlinks=follow_symlinks)
        joined = join_labels(self.store, inference_json, eval_json, group_by=group_by)
        self.rows = joined.rows
        self.halu = joined.halu
        self.groups, self.grouped_by = joined.grouping.names, joined.grouping.by
        self._fields = joined.fields
        self.random_seed = random_seed
        self.split_strategy: SplitStrategy = split_strategy
        try:
            self.splits = split_rows(
                self.halu, strategy=split_strategy, seed=random_seed, groups=self.groups
            )
        except LabelError as error:
            if self.grouped_by is not None:
                error.add_note(f"rows with one `{self.grouped_by}` stay on one side (group_by)")
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the store's open files."""
        self.store.close()

    @cached_property
    def texts(self) -> dict[str, Text]:
        """Prompts and responses by hashkey, as far as the store has them."""
        return self.store.texts()

    @cached_property
    def text_fields(self) -> dict[str, Numbers]:
        """By field, such as `prompt`: (n,) a number per row, equal where texts are; -1 for none."""
        return prompt_field(self.store) if self._fields is None else self._fields

    def split(self, split: Split) -> np.ndarray:
        """The positions of a split among `rows`.

        Raises:
            ConfigError: the strategy makes no such split.
        """
        found = {"train": self.splits.train, "val": self.splits.val, "test": self.splits.test}
        positions = found.get(split)
        if positions is None:
            made = [name for name, part in found.items() if part is not None]
            raise ConfigError(
                f"split {split!r}: split_strategy={self.split_strategy!r} makes {', '.join(made)} "
                "(three_way makes train, val, test)"
            )
        return positions

    def get_dataset(
        self,
        split: Split,
        *,
        num_views: int,
        random_seed: int | None = None,
        **options: Unpack[ViewOptions],
    ) -> ActivationDataset:
        """The rows of one split.

        Args:
            split: `train`, `val` (three_way only) or `test`.
            num_views: K, at least 2.
            random_seed: of the order and the views; None for the one that split the rows.
            options: how else the rows are seen; `ViewOptions` documents them.

        Raises:
            ConfigError: there is no such split, or a setting does not fit the store.
        """
        chosen = self.split(split)
        return ActivationDataset(
            self.store,
            self.rows[chosen],
            self.halu[chosen],
            num_views=num_views,
            random_seed=self.random_seed if random_seed is None else random_seed,
            **options,
        )
