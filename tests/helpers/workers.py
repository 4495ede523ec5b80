"""What spawned processes import: a dataset, a collate function, a question."""

from collections.abc import Sequence
from typing import Any

import torch

from kview.contracts import KViewBatch, KViewItem, current_level


class Items:
    """A few samples, of which one may be broken."""

    def __init__(self, size: int = 8, broken: int | None = None) -> None:
        self.size = size
        self.broken = broken

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> KViewItem:
        bad = index == self.broken
        return KViewItem(
            hashkey=f"sample-{index}-{current_level()}",
            halu=torch.tensor(5.0 if bad else 1.0),
            views_activations=torch.full((3, 2, 4), float(index)),
            view_indices=torch.tensor([0, 0, 1]) if bad else torch.arange(3),
            input_length=-1 if bad else index,
        )


def collate(items: Sequence[KViewItem]) -> KViewBatch:
    """The samples as a batch."""
    return KViewBatch(
        hashkey=[item.hashkey for item in items],
        halu=torch.stack([item.halu for item in items]),
        views_activations=torch.stack([item.views_activations for item in items]),
        view_indices=torch.stack([item.view_indices for item in items]),
        input_length=torch.tensor([item.input_length for item in items]),
    )


def collate_wrongly(items: Sequence[KViewItem]) -> KViewBatch:
    """Forgets a label."""
    batch = collate(items)
    return batch.replace(halu=batch.halu[1:])


def tell_level(queue: Any) -> None:
    """Puts this process's level into a queue."""
    queue.put(current_level())
