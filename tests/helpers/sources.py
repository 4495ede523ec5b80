"""A K-view source in memory: the tests' tiny stand-in for a store."""

from collections.abc import Iterator

import numpy as np
import torch

from kview.contracts import KViewBatch


class MemorySource:
    """Random activations, shifted a little where a sample is hallucinated."""

    def __init__(
        self,
        num_rows: int = 40,
        *,
        num_views: int = 4,
        num_layers: int = 8,
        max_tokens: int = 3,
        hidden_size: int = 16,
        seed: int = 0,
        shift: float = 0.5,
        views_repeat: bool = False,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        shape = (num_rows, num_layers, max_tokens, hidden_size)
        self.labels = np.arange(num_rows, dtype=np.int8) % 2
        self.x = torch.randn(shape, generator=generator)
        self.x += shift * torch.from_numpy(self.labels)[:, None, None, None]
        self.num_views = num_views
        self.views_repeat = views_repeat
        self.layer_ids = tuple(range(num_layers))
        self.hashkeys = [f"key-{seed}-{row}" for row in range(num_rows)]
        self.response_lengths = np.full(num_rows, max_tokens, dtype=np.int32)
        self.fingerprint = f"memory {shape} {seed} {shift}"

    def __len__(self) -> int:
        return len(self.hashkeys)

    def batches(
        self,
        *,
        epoch: int,
        batch_size: int,
        shuffle: bool = True,
        start_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
        **how: object,
    ) -> Iterator[KViewBatch]:
        """What a `KViewSource` gives; balancing, workers and pinned memory change nothing here."""
        order = np.arange(len(self))
        if shuffle:
            order = np.random.default_rng((epoch, 1)).permutation(order)
        cuts = range(start_step * batch_size, len(self), batch_size)
        rows = [order[cut : cut + batch_size] for cut in cuts]
        for batch in (r[rank::world_size] for r in rows if len(r) >= world_size):
            yield self.batch(batch, epoch)

    def batch(self, rows: np.ndarray, epoch: int = 0) -> KViewBatch:
        """The given rows as a batch."""
        views = np.stack([self._views(int(row), epoch) for row in rows])
        return KViewBatch(
            hashkey=[self.hashkeys[row] for row in rows],
            halu=torch.from_numpy(self.labels[rows]).float(),
            views_activations=self.x[torch.from_numpy(rows)[:, None], torch.from_numpy(views)],
            view_indices=torch.from_numpy(views),
            input_length=torch.ones(len(rows), dtype=torch.long),
        )

    def _views(self, row: int, epoch: int) -> np.ndarray:
        generator = np.random.default_rng((row, epoch))
        return generator.permutation(len(self.layer_ids))[: self.num_views]
