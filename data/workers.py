"""Workers that read batches ahead: threads, or processes."""

import contextvars
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import torch
from torch.utils.data import DataLoader, Dataset

from ..contracts import ConfigError, KViewBatch, KViewItem, current_level
from ..contracts.levels import VARIABLE
from .collate import collate_kview
from .view_sampling import Draw


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


def read_by_processes(
    dataset: Dataset[KViewItem],
    batches: list[list[Draw]],
    *,
    num_workers: int,
    pin_memory: bool,
) -> Iterator[KViewBatch]:
    """Makes batches in processes, through torch's DataLoader: for items that keep Python busy.

    The checks' level comes along.

    Args:
        dataset: makes the batch of some draws, through `__getitems__`.
        batches: what they hold.
        num_workers: processes; with none, a batch is made when it is asked for.
        pin_memory: gives batches in pinned memory.

    Raises:
        ConfigError: a setting cannot take effect.
    """
    _require_workers(num_workers, pin_memory)
    loader = DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=collate_kview,
        num_workers=num_workers,
        pin_memory=pin_memory,
        worker_init_fn=partial(_set_level, current_level()) if num_workers else None,
        generator=torch.Generator(),  # its own: the default generator belongs to the training run
    )
    return iter(loader)


def _set_level(level: str, worker: int) -> None:
    os.environ[VARIABLE] = level


def _require_workers(num_workers: int, pin_memory: bool) -> None:
    if num_workers < 0:
        raise ConfigError(f"num_workers={num_workers} is negative")
    if pin_memory and not torch.accelerator.is_available():
        raise ConfigError("pin_memory=True cannot take effect: there is no accelerator")
