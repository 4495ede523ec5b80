"""`source_of`: a `KViewSource` of any map-style dataset of items."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from ..contracts import ConfigError, ItemDataset, KViewBatch, KViewItem
from .collate import collate_kview
from .epochs import EpochBatches
from .labels import as_labels
from .view_sampling import Draw
from .workers import read_by_processes


@dataclass(kw_only=True, eq=False, repr=False)
class ItemSource(EpochBatches, Dataset[KViewItem]):
    """A `KViewSource` over a dataset of items, whose views are what the dataset says.

    Built by `source_of`, which documents the arguments.
    """

    dataset: ItemDataset
    num_views: int
    views_repeat: bool
    layer_ids: tuple[int, ...]
    hashkeys: Sequence[str]
    labels: np.ndarray
    response_lengths: np.ndarray
    random_seed: int

    @property
    def fingerprint(self) -> str:
        """Changes with the ids, the labels, the lengths, the layers, K and the seed."""
        settings = (self.num_views, self.views_repeat, self.layer_ids, self.random_seed)
        digest = hashlib.sha256(repr(settings).encode())
        digest.update("\n".join(self.hashkeys).encode())
        digest.update(self.labels.tobytes() + self.response_lengths.tobytes())
        return digest.hexdigest()

    def __getitem__(self, index: Draw) -> KViewItem:
        """The item of a draw."""
        return self.dataset[index.row]

    def __getitems__(self, draws: list[Draw]) -> KViewBatch:
        """The items of some draws, as a batch."""
        return collate_kview([self.dataset[d.row] for d in draws])

    def read_batches(
        self, batches: list[list[Draw]], *, num_workers: int, pin_memory: bool
    ) -> Iterator[KViewBatch]:
        """Makes batches in worker processes."""
        return read_by_processes(self, batches, num_workers=num_workers, pin_memory=pin_memory)


def source_of(
    dataset: ItemDataset,
    *,
    num_views: int,
    layer_ids: Sequence[int] | None = None,
    views_repeat: bool = False,
    seed: int = 42,
) -> ItemSource:
    """Makes a source of a dataset of items, reading each item once to learn ids and labels.

    The dataset decides which views an item has. For a run to be repeatable, `dataset[i]` has to
    give the same item every time.

    Args:
        dataset: map-style, of `KViewItem`s with K views each.
        num_views: K.
        layer_ids: the model's layer id at each position that `view_indices` name; 0, 1, ... up to
            the largest that occurs by default.
        views_repeat: items' views may repeat a layer.
        seed: of the order.

    Raises:
        ConfigError: the seed is negative, or an item has another K, repeats views though it may
            not, or names a position beyond `layer_ids`.
    """
    if seed < 0:
        raise ConfigError(f"seed={seed} is negative")
    hashkeys: list[str] = []
    labels, lengths, top = [], [], -1
    for i in range(len(dataset)):
        item = dataset[i]
        if item.views_activations.shape[0] != num_views or item.views_repeat > views_repeat:
            raise ConfigError(
                f"item {i} has {item.views_activations.shape[0]} views, "
                f"views_repeat={item.views_repeat}; the source is to have num_views={num_views}, "
                f"views_repeat={views_repeat}"
            )
        hashkeys.append(item.hashkey)
        labels.append(float(item.halu))
        lengths.append(_tokens(item))
        top = max(top, int(item.view_indices.max()))
    known = tuple(range(top + 1)) if layer_ids is None else tuple(layer_ids)
    if top >= len(known):
        raise ConfigError(f"view_indices reach {top} and layer_ids has {len(known)} layers")
    return ItemSource(
        dataset=dataset,
        num_views=num_views,
        views_repeat=views_repeat,
        layer_ids=known,
        hashkeys=hashkeys,
        labels=as_labels(labels, len(hashkeys)),
        response_lengths=np.array(lengths, np.int32),
        random_seed=seed,
    )


def _tokens(item: KViewItem) -> int:
    mask = item.token_mask
    return item.views_activations.shape[1] if mask is None else int(torch.count_nonzero(mask))
