"""A source of random K-view batches in memory, with a signal that a detector can find."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kview.contracts import KViewBatch
from kview.eval import DetectionEvaluation, evaluate_detection


@dataclass
class TensorSource:
    """A `KViewSource` over tensors: x (N, L, T, H), of which it shows the layers `views`."""

    x: Tensor
    labels: np.ndarray
    views: tuple[int, ...]
    response_lengths: np.ndarray
    hashkeys: list[str]
    views_repeat: bool = False
    fingerprint: str = "fixed"

    @property
    def num_views(self) -> int:
        return len(self.views)

    @property
    def layer_ids(self) -> tuple[int, ...]:
        return tuple(range(self.x.shape[1]))

    def __len__(self) -> int:
        return len(self.x)

    def batches(
        self, *, epoch: int, batch_size: int, start_step: int = 0, shuffle: bool = True, **ignored
    ) -> Iterator[KViewBatch]:
        for start in range(start_step * batch_size, len(self), batch_size):
            rows = slice(start, start + batch_size)
            x = self.x[rows][:, list(self.views)]
            yield KViewBatch(
                hashkey=self.hashkeys[rows],
                halu=torch.as_tensor(self.labels[rows]).float(),
                views_activations=x,
                view_indices=torch.tensor(self.views).expand(len(x), -1),
                input_length=torch.full((len(x),), 5),
                token_mask=torch.arange(x.shape[2])
                < torch.as_tensor(self.response_lengths[rows]).clamp(max=x.shape[2])[:, None],
                views_repeat=self.views_repeat,
            )


def make_source(
    n: int = 40,
    *,
    layers: int = 5,
    views: tuple[int, ...] | None = None,
    hidden: int = 8,
    signal: float = 4.0,
    seed: int = 0,
    prefix: str = "row",
) -> TensorSource:
    """Half the rows are hallucinated, and shifted along one axis in layers past the middle."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, layers, 3, hidden, generator=generator)
    labels = np.arange(n, dtype=np.int8) % 2
    x[:, :, :, 0] += 3.0
    x[labels == 1, layers // 2 :, :, 1] += signal
    lengths = np.random.default_rng(seed).integers(1, 9, n).astype(np.int32)
    return TensorSource(
        x=x,
        labels=labels,
        views=views or tuple(range(layers)),
        response_lengths=lengths,
        hashkeys=[f"{prefix}{i}" for i in range(n)],
    )


class MeanEncoder(nn.Module):
    """The masked mean over tokens through a linear map; dropout shows which mode it is in."""

    def __init__(self, hidden: int = 8, dim: int = 6, seed: int = 0) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(0.5)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.linear.weight.copy_(torch.randn(dim, hidden, generator=generator))
            self.linear.bias.zero_()

    def forward(self, x: Tensor, *, token_mask: Tensor | None = None) -> Tensor:
        if token_mask is None:
            return self.dropout(self.linear(x.mean(dim=1)))
        mask = token_mask.unsqueeze(-1)
        return self.dropout(self.linear((x * mask).sum(dim=1) / mask.sum(dim=1)))


@pytest.fixture
def source_of():
    return make_source


@pytest.fixture
def encoder() -> MeanEncoder:
    return MeanEncoder()


@pytest.fixture(scope="session")
def evaluation() -> DetectionEvaluation:
    return evaluate_detection(
        MeanEncoder(),
        train=make_source(60, seed=1),
        test=make_source(40, seed=2, prefix="t"),
        val=make_source(40, seed=3, prefix="v"),
        views=(0, 2, 4),
        n_resamples=50,
    )
