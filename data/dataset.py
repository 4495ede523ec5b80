"""`ActivationDataset`: rows of a store, seen at K views."""

import hashlib
import operator
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Self, SupportsIndex, Unpack

import numpy as np
import torch
from torch.utils.data import Dataset

from ..contracts import ConfigError, KViewBatch, KViewItem, boundary
from .epochs import EpochBatches
from .indices import as_indices
from .labels import as_labels
from .passes import Passes
from .store import ActivationStore
from .view_reader import ViewReader
from .view_sampling import Draw
from .view_settings import ViewOptions, ViewSettings, view_settings
from .workers import read_by_threads


class ActivationDataset(EpochBatches, Dataset[KViewItem]):
    """Rows of a store, each seen at K of its layers: a map-style dataset and a `KViewSource`.

    The views of a row are a pure function of (seed, epoch, row, repeat). `batches` reads an epoch,
    each batch into one allocation. `dataset[i]` is row i in epoch 0; a DataLoader, which asks for
    several rows at once, sees other views in every pass, whatever its workers.

    Args:
        store: whose rows.
        rows: (n,) rows of the store; all by default.
        labels: (n,) labels of these rows, 1, 0 or -1; the store's own by default.
        num_views: K, at least 2.
        random_seed: of the order and the views.
        options: how the rows are seen; `ViewOptions` documents them.

    Raises:
        ConfigError: a setting is wrong, or does not fit the store.
        LabelError: a label is none.

    Examples:
        >>> import tempfile
        >>> from kview.data import ActivationDataset, ActivationStore, write_synthetic_store
        >>> path = f"{tempfile.mkdtemp()}/a.zarr"
        >>> write_synthetic_store(path, num_rows=6, num_layers=5, hidden_size=8, max_tokens=4)
        >>> dataset = ActivationDataset(ActivationStore.open(path), num_views=3)
        >>> for batch in dataset.batches(epoch=0, batch_size=4):
        ...     print(batch.views_activations.shape, batch.view_indices.shape)
        torch.Size([4, 3, 4, 8]) torch.Size([4, 3])
        torch.Size([2, 3, 4, 8]) torch.Size([2, 3])
    """

    def __init__(
        self,
        store: ActivationStore,
        rows: Sequence[int] | np.ndarray | None = None,
        labels: Sequence[int] | np.ndarray | None = None,
        *,
        num_views: int,
        random_seed: int = 42,
        **options: Unpack[ViewOptions],
    ) -> None:
        settings = view_settings(store, num_views=num_views, random_seed=random_seed, **options)
        every = len(store)
        rows = np.arange(every) if rows is None else as_indices("row", rows, every)
        labels = store.halu[rows] if labels is None else as_labels(labels, len(rows))
        self._set(store, rows, labels, settings)

    def _set(
        self, store: ActivationStore, rows: np.ndarray, labels: np.ndarray, settings: ViewSettings
    ) -> None:
        self.store = store
        self.rows = rows
        self.labels = labels
        self.settings = settings
        self.random_seed = settings.random_seed
        self._reader = ViewReader(store, settings)
        self._passes = Passes(len(rows))

    def _changed(self, rows: np.ndarray, labels: np.ndarray, settings: ViewSettings) -> Self:
        other = object.__new__(type(self))
        other._set(self.store, rows, labels, settings)
        return other

    @property
    def num_views(self) -> int:
        """K."""
        return self.settings.num_views

    @property
    def views_repeat(self) -> bool:
        """Whether a row's views may repeat a layer."""
        return self.settings.replacement

    @property
    def layer_ids(self) -> tuple[int, ...]:
        """The model's layer id at each position that `view_indices` can name."""
        return self.settings.relevant_layers

    @property
    def hashkeys(self) -> list[str]:
        """The rows' ids."""
        return self._hashkeys

    @cached_property
    def _hashkeys(self) -> list[str]:
        keys = self.store.hashkeys
        return [keys[row] for row in self.rows.tolist()]

    @property
    def response_lengths(self) -> np.ndarray:
        """(n,) int32, response tokens, before truncation where that is known."""
        return self.store.response_lengths[self.rows]

    @property
    def fingerprint(self) -> str:
        """Changes with the rows, the labels and the drawing of views."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(self.store.fingerprint.encode())
        for column in (self.rows, self.labels):
            digest.update(column.tobytes())
        settings = replace(self.settings, min_target_layers=self.settings.layers_needed)
        digest.update(repr(settings).encode())
        return digest.hexdigest()

    def with_views(self, positions: Sequence[int]) -> Self:
        """The same rows, every one seen at exactly these layers, whatever the epoch.

        Args:
            positions: K positions in `relevant_layers`, in order.

        Raises:
            ConfigError: fewer than two, out of range, or repeated where views do not repeat.
        """
        views = tuple(operator.index(position) for position in positions)
        size = len(self.layer_ids)
        repeated = len(set(views)) < len(views) and not self.views_repeat
        if len(views) < 2 or repeated or not all(0 <= v < size for v in views):
            raise ConfigError(
                f"views {list(views)} must be at least two positions from 0 to {size - 1}, each "
                "once unless views are drawn with replacement"
            )
        least = min(self.settings.layers_needed, len(views))
        settings = replace(
            self.settings, num_views=len(views), views=views, min_target_layers=least
        )
        return self._changed(self.rows, self.labels, settings)

    def select(self, positions: Sequence[int] | np.ndarray) -> Self:
        """Some of the rows, seen in the same way.

        Args:
            positions: (m,) positions among this dataset's rows.

        Raises:
            ConfigError: there is no such row.
        """
        chosen = as_indices("row", positions, len(self))
        return self._changed(self.rows[chosen], self.labels[chosen], self.settings)

    def available_rows(self, k: int | None = None) -> np.ndarray:
        """Positions of the rows that have k of the relevant layers, and those seen in every row.

        Args:
            k: `min_target_layers` by default.
        """
        least = self.settings.layers_needed if k is None else k
        available = self._reader.available(self.rows)
        always = available[:, list(self.settings.seen_in_every_row)].all(1)
        return np.flatnonzero(always & (available.sum(1) >= least))

    @boundary
    def __getitem__(self, index: SupportsIndex | Draw) -> KViewItem:
        """One row, in epoch 0 where the index says no epoch.

        Raises:
            IndexError: there is no such row.
            StoreError: the row's activations are damaged, or it has too few layers.
        """
        draw = index if isinstance(index, Draw) else Draw(operator.index(index))
        draw = draw._replace(row=self._place(draw.row))
        item = self._read([draw]).unbatch()[0]
        if not self.settings.all_activations:
            return item
        layers = self._reader.read_every_layer(self.rows[draw.row])
        return item.replace(all_activations=list(torch.from_numpy(layers)))

    @boundary
    def __getitems__(self, indices: Sequence[SupportsIndex | Draw]) -> KViewBatch:
        """Several rows as a batch, read into one allocation: what a DataLoader asks for.

        A row that is asked for the n-th time without an epoch is seen as in epoch n, from 0.

        Raises:
            IndexError: there is no such row.
            StoreError: a row's activations are damaged, or it has too few layers.
        """
        return self._read(
            [
                i._replace(row=self._place(i.row))
                if isinstance(i, Draw)
                else self._passes.next(self._place(operator.index(i)))
                for i in indices
            ]
        )

    def set_epoch(self, epoch: int) -> None:
        """Makes the next pass of a DataLoader the one of this epoch.

        One process counts its passes by itself. Several, that a `DistributedSampler` gives other
        rows each epoch, have to be told, as has one that goes on where another stopped.

        Raises:
            ConfigError: the epoch is negative.
        """
        if epoch < 0:
            raise ConfigError(f"epoch={epoch}: epochs count from 0")
        self._passes.start(epoch)

    def _place(self, row: int) -> int:
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of a dataset of {len(self)}")
        return row % len(self)

    def read_batches(
        self, batches: list[list[Draw]], *, num_workers: int, pin_memory: bool
    ) -> Iterator[KViewBatch]:
        """Reads batches ahead in threads."""
        return read_by_threads(
            self.__getitems__, batches, num_workers=num_workers, pin_memory=pin_memory
        )

    def _read(self, draws: list[Draw]) -> KViewBatch:
        rows = self.rows[[d.row for d in draws]]  # (B,)
        views, activations = self._reader.read(rows, draws)
        tokens = np.minimum(self.store.token_counts[rows], self.settings.pad_length)
        return KViewBatch(
            hashkey=[self.hashkeys[d.row] for d in draws],
            halu=torch.from_numpy(self.labels[[d.row for d in draws]].astype(np.float32)),
            views_activations=torch.from_numpy(activations),  # (B, K, T, H)
            view_indices=torch.from_numpy(views),
            input_length=torch.from_numpy(self.store.input_lengths[rows].astype(np.int64)),
            token_mask=torch.from_numpy(np.arange(self.settings.pad_length) < tokens[:, None]),
            logprobs=self.store.logprobs(rows).tensors(self.settings.top_k)
            if self.settings.logprobs
            else None,
            views_repeat=self.views_repeat,
        )
