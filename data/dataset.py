"""`ActivationDataset`: rows of a store, seen at K views."""

import hashlib
import operator
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Self, SupportsIndex

import numpy as np
import torch
from torch.utils.data import Dataset

from ..contracts import ConfigError, KViewBatch, KViewItem, ResponseLogprobs, StoreError, boundary
from .layout.chunks import MissingChunkError
from .store import ActivationStore
from .view_sampling import Draw, ViewRule, draw_views
from .view_settings import ViewSettings, require_fit, stored_top_k
from .workers import plan_epoch, read_by_threads


class ActivationDataset(Dataset[KViewItem]):
    """Rows of a store, each seen at K of its layers: a map-style dataset and a `KViewSource`.

    The views of a row are a pure function of (seed, epoch, row, repeat); an integer index means
    epoch 0. `batches` reads an epoch, each batch into one allocation.

    Args:
        store: whose rows.
        rows: (n,) rows of the store; all by default.
        labels: (n,) labels of these rows, 1, 0 or -1; the store's own by default.
        num_views: K, at least 2.
        relevant_layers: model layer ids that views are drawn from; all by default.
        fixed_layer: a position in `relevant_layers` that comes first in every sample; the other
            K - 1 views are drawn from the rest.
        pad_length: T; the store's `max_tokens` by default.
        view_sampling_with_replacement: a layer may be drawn more than once for a row.
        min_target_layers: layers that a row must have, else reading it raises; K by default, or
            all relevant ones where K is more.
        return_all_activations: items also carry every relevant layer, as `all_activations`.
        include_response_logprobs: samples also carry the response's log-probabilities.
        response_logprobs_top_k: alternatives a token in these; all that are stored by default.
        random_seed: of the order and the views.

    Raises:
        ConfigError: a setting is wrong, or does not fit the store.
    """

    def __init__(
        self,
        store: ActivationStore,
        rows: Sequence[int] | np.ndarray | None = None,
        labels: Sequence[int] | np.ndarray | None = None,
        *,
        num_views: int,
        relevant_layers: Sequence[int] | None = None,
        fixed_layer: int | None = None,
        pad_length: int | None = None,
        view_sampling_with_replacement: bool = False,
        min_target_layers: int | None = None,
        return_all_activations: bool = False,
        include_response_logprobs: bool = False,
        response_logprobs_top_k: int | None = None,
        random_seed: int = 42,
    ) -> None:
        layers = tuple(store.layer_ids if relevant_layers is None else relevant_layers)
        if min_target_layers is None:
            min_target_layers = min(num_views, len(layers))
        top_k = stored_top_k(store, include_response_logprobs, response_logprobs_top_k)
        settings = ViewSettings(
            num_views=num_views,
            relevant_layers=layers,
            fixed_layer=fixed_layer,
            pad_length=store.max_tokens if pad_length is None else pad_length,
            replacement=view_sampling_with_replacement,
            min_target_layers=min_target_layers,
            all_activations=return_all_activations,
            logprobs=include_response_logprobs,
            top_k=top_k,
            random_seed=random_seed,
        )
        require_fit(store, settings)
        rows = np.arange(len(store)) if rows is None else np.asarray(rows, np.int64)
        labels = store.halu[rows] if labels is None else np.asarray(labels, np.int8)
        if labels.shape != rows.shape:
            raise ConfigError(f"there are {len(labels)} labels for {len(rows)} rows")
        self._set(store, rows, labels, settings)

    def _set(
        self, store: ActivationStore, rows: np.ndarray, labels: np.ndarray, settings: ViewSettings
    ) -> None:
        self.store = store
        self.rows = rows
        self.labels = labels
        self.settings = settings
        places = {layer: place for place, layer in enumerate(store.layer_ids)}
        self._places = np.array([places[layer] for layer in settings.relevant_layers])

    def _changed(self, rows: np.ndarray, labels: np.ndarray, settings: ViewSettings) -> Self:
        other = object.__new__(type(self))
        other._set(self.store, rows, labels, settings)
        return other

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.rows)

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
        digest.update(repr(self.settings).encode())
        return digest.hexdigest()

    def with_views(self, positions: Sequence[int]) -> Self:
        """The same rows, every one seen at exactly these layers, whatever the epoch.

        Args:
            positions: K positions in `relevant_layers`, in order.

        Raises:
            ConfigError: fewer than two, out of range, or repeated where views do not repeat.
        """
        views = tuple(positions)
        size = len(self.layer_ids)
        repeated = len(set(views)) < len(views) and not self.views_repeat
        if len(views) < 2 or repeated or not all(0 <= v < size for v in views):
            raise ConfigError(
                f"views {list(views)} must be at least two positions from 0 to {size - 1}, each "
                "once unless views are drawn with replacement"
            )
        least = min(self.settings.min_target_layers, len(views))
        settings = replace(
            self.settings, num_views=len(views), views=views, min_target_layers=least
        )
        return self._changed(self.rows, self.labels, settings)

    def select(self, positions: Sequence[int] | np.ndarray) -> Self:
        """Some of the rows, seen in the same way.

        Args:
            positions: (m,) positions among this dataset's rows.
        """
        chosen = np.asarray(positions, np.int64)
        return self._changed(self.rows[chosen], self.labels[chosen], self.settings)

    def available_rows(self, k: int | None = None) -> np.ndarray:
        """Positions of the rows that have at least k of the relevant layers.

        Args:
            k: `min_target_layers` by default.
        """
        least = self.settings.min_target_layers if k is None else k
        return np.flatnonzero(self._available(self.rows).sum(1) >= least)

    @boundary
    def __getitem__(self, index: SupportsIndex | Draw) -> KViewItem:
        """One row, in epoch 0 where the index says no epoch.

        Raises:
            IndexError: there is no such row.
            StoreError: the row's activations are damaged, or it has too few layers.
        """
        draw = index if isinstance(index, Draw) else Draw(operator.index(index))
        if not -len(self) <= draw.row < len(self):
            raise IndexError(f"row {draw.row} of a dataset of {len(self)}")
        draw = draw._replace(row=draw.row % len(self))
        item = self._read([draw]).unbatch()[0]
        if not self.settings.all_activations:
            return item
        layers = self.store.read(
            self.rows[[draw.row]], self._places[None], max_tokens=self.settings.pad_length
        )
        return item.replace(all_activations=list(torch.from_numpy(layers[0])))

    @boundary
    def __getitems__(self, indices: Sequence[SupportsIndex | Draw]) -> KViewBatch:
        """Several rows as a batch, read into one allocation.

        Raises:
            StoreError: a row's activations are damaged, or it has too few layers.
        """
        return self._read([i if isinstance(i, Draw) else Draw(operator.index(i)) for i in indices])

    def batches(
        self,
        *,
        epoch: int,
        batch_size: int,
        start_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        balanced: bool = False,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> Iterator[KViewBatch]:
        """The batches of one epoch; see `KViewSource.batches`. Workers are threads."""
        batches = plan_epoch(
            self.labels,
            seed=self.settings.random_seed,
            epoch=epoch,
            batch_size=batch_size,
            start_step=start_step,
            rank=rank,
            world_size=world_size,
            shuffle=shuffle,
            balanced=balanced,
        )
        return read_by_threads(
            self.__getitems__, batches, num_workers=num_workers, pin_memory=pin_memory
        )

    def _read(self, draws: list[Draw]) -> KViewBatch:
        rows = self.rows[[d.row for d in draws]]  # (B,)
        views, activations = self._read_views(rows, draws)
        tokens = np.minimum(self.store.token_counts[rows], self.settings.pad_length)
        return KViewBatch(
            hashkey=[self.hashkeys[d.row] for d in draws],
            halu=torch.from_numpy(self.labels[[d.row for d in draws]].astype(np.float32)),
            views_activations=torch.from_numpy(activations),  # (B, K, T, H)
            view_indices=torch.from_numpy(views),
            input_length=torch.from_numpy(self.store.input_lengths[rows].astype(np.int64)),
            token_mask=torch.from_numpy(np.arange(self.settings.pad_length) < tokens[:, None]),
            logprobs=self._logprobs(rows) if self.settings.logprobs else None,
            views_repeat=self.views_repeat,
        )

    def _read_views(self, rows: np.ndarray, draws: list[Draw]) -> tuple[np.ndarray, np.ndarray]:
        """(B, K) positions in `relevant_layers`, and (B, K, T, H) what is there."""
        settings = self.settings
        every = np.ones((len(rows), len(self._places)), bool)
        if settings.views is not None:
            views = np.tile(np.array(settings.views), (len(rows), 1))
        elif settings.replacement or settings.min_target_layers > settings.num_views:
            views = self._draw(rows, draws, self._available(rows))
        else:  # missing layers are rare, and taking one away changes nothing among the others
            views = self._draw(rows, draws, every)
        try:
            return views, self._fetch(rows, views)
        except MissingChunkError:
            if settings.views is not None:
                self._require_stored(rows, views)
                raise
            views = self._draw(rows, draws, self._available(rows))
            return views, self._fetch(rows, views)

    def _fetch(self, rows: np.ndarray, views: np.ndarray) -> np.ndarray:
        return self.store.read(rows, self._places[views], max_tokens=self.settings.pad_length)

    def _draw(self, rows: np.ndarray, draws: list[Draw], available: np.ndarray) -> np.ndarray:
        settings = self.settings
        self._require_enough(rows, available)
        rule = ViewRule(settings.num_views, settings.fixed_layer, settings.replacement)
        return draw_views(
            rule, seed=settings.random_seed, rows=rows, draws=draws, available=available
        )

    def _available(self, rows: np.ndarray) -> np.ndarray:
        """(B, P) whether each relevant layer has the tokens that are wanted."""
        places = np.tile(self._places, (len(rows), 1))
        return self.store.stored(rows, places, max_tokens=self.settings.pad_length)

    def _require_enough(self, rows: np.ndarray, available: np.ndarray) -> None:
        least, fixed = self.settings.min_target_layers, self.settings.fixed_layer
        counts = available.sum(1)
        short = np.flatnonzero(counts < least)
        if len(short):
            row = rows[short[0]]
            raise StoreError(
                f"row {row} ({self.store.hashkeys[row]}) has {counts[short[0]]} of the "
                f"{len(self.layer_ids)} relevant layers and {least} are needed (so have "
                f"{len(short)} rows of this batch); keep dataset.available_rows({least}), or lower "
                "num_views"
            )
        if fixed is not None and not available[:, fixed].all():
            row = rows[np.flatnonzero(~available[:, fixed])[0]]
            raise StoreError(
                f"row {row} ({self.store.hashkeys[row]}) has no activations of fixed_layer={fixed} "
                f"(layer {self.layer_ids[fixed]})"
            )

    def _require_stored(self, rows: np.ndarray, views: np.ndarray) -> None:
        found = self.store.stored(rows, self._places[views], max_tokens=self.settings.pad_length)
        if not found.all():
            b, k = np.argwhere(~found)[0]
            raise StoreError(
                f"row {rows[b]} ({self.store.hashkeys[rows[b]]}) has no activations of layer "
                f"{self.layer_ids[views[b, k]]}, at which every row is to be seen; choose other "
                "views, or keep dataset.available_rows() of all layers"
            )

    def _logprobs(self, rows: np.ndarray) -> ResponseLogprobs:
        block, k = self.store.logprobs(rows), self.settings.top_k
        ids, logprobs = block.topk_token_ids, block.topk_logprobs
        return ResponseLogprobs(
            token_ids=torch.from_numpy(block.token_ids),
            token_logprobs=torch.from_numpy(block.token_logprobs),
            mask=torch.from_numpy(~np.isnan(block.token_logprobs)),
            topk_token_ids=None if not k or ids is None else torch.from_numpy(ids[..., :k]),
            topk_logprobs=None
            if not k or logprobs is None
            else torch.from_numpy(logprobs[..., :k]),
        )
