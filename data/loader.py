"""An epoch of batches from anything that makes a batch of draws, with any number of workers."""

import logging
import os
from collections.abc import Iterator
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ..contracts import ConfigError, KViewBatch, KViewItem, current_level
from ..contracts.levels import VARIABLE
from .collate import collate_kview
from .sampling import Draw, balanced_order, dropped_tail, epoch_batches, epoch_order

log = logging.getLogger("kview.data")


class DrawsBatches(Protocol):
    """What the loader needs: the batch of some draws, as a pure function of them."""

    def __getitem__(self, index: Draw, /) -> KViewItem: ...

    def __getitems__(self, draws: list[Draw], /) -> KViewBatch: ...


def load_batches(
    dataset: DrawsBatches,
    *,
    labels: np.ndarray,
    seed: int,
    epoch: int,
    batch_size: int,
    start_step: int,
    rank: int,
    world_size: int,
    shuffle: bool,
    balanced: bool,
    num_workers: int,
    pin_memory: bool,
) -> Iterator[KViewBatch]:
    """The batches of one epoch; see `KViewSource.batches`.

    The order is cut into batches before anything is divided among ranks or workers, and a draw
    carries its epoch, so that none of them can change what a batch holds.

    Args:
        dataset: makes the batches.
        labels: (N,) of its rows.
        seed: of the order.

    Raises:
        ConfigError: a setting is out of range or cannot take effect.
    """
    if epoch < 0 or num_workers < 0:
        raise ConfigError(f"epoch={epoch}, num_workers={num_workers}: neither can be negative")
    if balanced and not shuffle:
        raise ConfigError("balanced=True draws at random: it cannot take effect with shuffle=False")
    if pin_memory and not torch.accelerator.is_available():
        raise ConfigError("pin_memory=True cannot take effect: there is no accelerator")
    if balanced:
        order = balanced_order(labels=labels, seed=seed, epoch=epoch)
    else:
        order = epoch_order(size=len(labels), seed=seed, epoch=epoch, shuffle=shuffle)
    batches = list(
        epoch_batches(
            order, batch_size=batch_size, start_step=start_step, rank=rank, world_size=world_size
        )
    )
    dropped = dropped_tail(len(order), batch_size=batch_size, world_size=world_size)
    if dropped:
        log.info("epoch %d: left out %d samples, fewer than %d ranks", epoch, dropped, world_size)
    loader = DataLoader(
        _Draws(dataset),
        batch_sampler=batches,
        collate_fn=collate_kview,
        num_workers=num_workers,
        pin_memory=pin_memory,
        worker_init_fn=partial(_set_level, current_level()) if num_workers else None,
        generator=torch.Generator(),  # its own: the default generator belongs to the training run
    )
    return iter(loader)


class _Draws(Dataset[KViewItem]):
    """What DataLoader asks of a dataset, in its terms."""

    def __init__(self, dataset: DrawsBatches) -> None:
        self.dataset = dataset

    def __getitem__(self, index: Draw) -> KViewItem:
        return self.dataset[index]

    def __getitems__(self, draws: list[Draw]) -> KViewBatch:
        return self.dataset.__getitems__(draws)


def _set_level(level: str, worker: int) -> None:
    os.environ[VARIABLE] = level
