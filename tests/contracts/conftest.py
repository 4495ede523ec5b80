"""A batch and an item that have every optional part."""

import pytest
import torch

from kview.contracts import KViewBatch, KViewItem, ResponseLogprobs


@pytest.fixture
def batch() -> KViewBatch:
    """B=3, K=4, T=5, H=6, R=2."""
    generator = torch.Generator().manual_seed(0)
    return KViewBatch(
        hashkey=["a", "b", "c"],
        halu=torch.tensor([1.0, 0.0, -1.0]),
        views_activations=torch.randn(3, 4, 5, 6, generator=generator),
        view_indices=torch.rand(3, 7, generator=generator).argsort(1)[:, :4],
        input_length=torch.tensor([10, 0, 3]),
        token_mask=torch.ones(3, 5, dtype=torch.bool),
        logprobs=ResponseLogprobs(
            token_ids=torch.tensor([[4, 5], [6, -1], [7, 8]]),
            token_logprobs=torch.tensor([[-0.1, -0.2], [-0.3, torch.nan], [-0.4, -0.5]]),
            mask=torch.tensor([[True, True], [True, False], [True, True]]),
        ),
    )


@pytest.fixture
def item(batch: KViewBatch) -> KViewItem:
    """The batch's first sample: K=4, T=5, H=6."""
    return batch.unbatch()[0]
