"""An epoch of batches: what is in each, and workers that read them ahead."""

import contextvars
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ..contracts import ConfigError, KViewBatch, KViewItem, current_level
from ..contracts.levels import VARIABLE
from .collate import collate_kview
from .view_sampling import Draw, balanced_order, dropped_tail, epoch_batches, epoch_order

log = logging.getLogger("kview.data")


def plan_epoch(
    labels: np.ndarray,
    *,
    seed: int,
    epoch: int,
    batch_size: int,
    start_step: int,
    rank: int,
    world_size: int,
    shuffle: bool,
    balanced: bool,
) -> list[list[Draw]]:
    """What each batch of an epoch holds; see `KViewSource.batches`.

    The order is cut into batches before anything is divided among ranks or workers, and a draw
    carries its epoch, so that none of them can change what a batch holds.

    Args:
        labels: (N,) of the rows.
        seed: of the order.

    Raises:
        ConfigError: a setting is out of range or cannot take effect.
    """
    if epoch < 0:
        raise ConfigError(f"epoch={epoch}: epochs count from 0")
    if balanced and not shuffle:
        raise ConfigError("balanced=True draws at random: it cannot take effect with shuffle=False")
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
    return batches


def read_by_threads(
    read: Callable[[list[Draw]], KViewBatch],
    batches: list[list[Draw]],
    *,
    num_workers: int,
    pin_memory: bool,
) -> Iterator[KViewBatch]:
    """Reads batches in threads of this process, one ahead for every worker, in order.

    Reading from files leaves Python free, and a batch need not be copied to get here, as it must
    from another process. The checks' level comes along.

    Args:
        read: makes a batch.
        batches: what they hold.
        num_workers: threads; with none, a batch is read when it is asked for.
        pin_memory: gives batches in pinned memory.

    Raises:
        ConfigError: a setting cannot take effect.
    """
    _require_workers(num_workers, pin_memory)
    make = (lambda draws: read(draws).pin_memory()) if pin_memory else read
    return map(make, batches) if num_workers == 0 else _ahead(make, batches, num_workers)


def _ahead(
    make: Callable[[list[Draw]], KViewBatch], batches: list[list[Draw]], num_workers: int
) -> Iterator[KViewBatch]:
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="kview-read")
    coming: deque[Future[KViewBatch]] = deque()
    try:
        for draws in batches:
            # threads do not inherit the level of a `with checks(...)` block: hand it over
            coming.append(pool.submit(contextvars.copy_context().run, make, draws))
            if len(coming) > num_workers:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class DrawsBatches(Protocol):
    """A dataset that makes the batch of some draws, as a pure function of them."""

    def __getitem__(self, index: Draw, /) -> KViewItem: ...

    def __getitems__(self, draws: list[Draw], /) -> KViewBatch: ...


def read_by_processes(
    dataset: DrawsBatches,
    batches: list[list[Draw]],
    *,
    num_workers: int,
    pin_memory: bool,
) -> Iterator[KViewBatch]:
    """Makes batches in processes, through torch's DataLoader: for items that keep Python busy.

    The checks' level comes along. Arguments and errors as in `read_by_threads`.
    """
    _require_workers(num_workers, pin_memory)
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


def _require_workers(num_workers: int, pin_memory: bool) -> None:
    if num_workers < 0:
        raise ConfigError(f"num_workers={num_workers} is negative")
    if pin_memory and not torch.accelerator.is_available():
        raise ConfigError("pin_memory=True cannot take effect: there is no accelerator")
