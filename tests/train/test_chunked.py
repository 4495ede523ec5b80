"""A step in chunks of views is the step."""

import pytest
import torch

from helpers.sources import MemorySource
from kview.contracts import KViewBatch, ViewEncoder
from kview.train import LayerAwareProgressiveCompressor
from kview.train.chunked import encode_in_chunks


def masked_batch() -> KViewBatch:
    batch = next(MemorySource(num_views=5).batches(epoch=0, batch_size=6))
    mask = torch.ones(6, 3, dtype=torch.bool)
    mask[::2, 1:] = False
    return batch.replace(token_mask=mask)


@pytest.mark.parametrize("chunk_views", [1, 2, 3, 4])
def test_embeddings_and_gradients_are_those_of_one_pass(chunk_views):
    torch.manual_seed(0)
    encoder = LayerAwareProgressiveCompressor(16, 4, num_layers=8, dropout=0.0).double()
    views, batch = ViewEncoder(encoder), masked_batch()
    whole, parts = views(batch), encode_in_chunks(views, batch, chunk_views)
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-12)
    weights = list(encoder.parameters())
    expected, found = (torch.autograd.grad(z.square().sum(), weights) for z in (whole, parts))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_no_more_than_a_chunk_is_encoded_at_once():
    encoder = LayerAwareProgressiveCompressor(16, 4, num_layers=8)
    sizes: list[int] = []
    encoder.compressor.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    encode_in_chunks(ViewEncoder(encoder), masked_batch(), 2)
    assert sizes == [12, 12, 6]
