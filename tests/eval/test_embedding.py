"""Rows through an encoder, at every layer in one pass."""

import numpy as np
import pytest
import torch

from helpers.sources import MemorySource
from kview.contracts import (
    ConfigError,
    ContractError,
    EmbeddingBatch,
    KViewBatch,
    ViewEncoder,
    checks,
)
from kview.eval import embed, evenly_spaced
from kview.eval.embedding import embed_layers, token_means

EVERY = (0, 1, 2, 3, 4)
VIEWS = (0, 2, 4)


def with_means(encoder, source, **settings) -> tuple[EmbeddingBatch, torch.Tensor]:
    """The embeddings at some layers, and the means over tokens at all of them."""
    means = []
    embedded = embed_layers(
        encoder, source, see=lambda given, viewed, found: means.append(found), **settings
    )
    return embedded, torch.cat(means)


def test_embeddings_are_the_rows_in_order_in_eval_mode(source_of, encoder):
    source = source_of(10, views=VIEWS)
    encoder.train()
    whole, cut = embed(encoder, source), embed(encoder, source, batch_size=3)
    assert encoder.training
    assert whole.hashkey == cut.hashkey == source.hashkeys
    torch.testing.assert_close(whole.z_views, cut.z_views)
    assert whole["halu"].tolist() == source.labels.tolist()


def test_views_are_spread_evenly():
    assert evenly_spaced(7, 2) == (0, 6)
    assert evenly_spaced(7, 4) == (0, 2, 4, 6)
    assert evenly_spaced(5, 5) == (0, 1, 2, 3, 4)
    for layers in range(2, 40):
        for k in range(2, layers + 1):
            steps = np.diff(evenly_spaced(layers, k))
            assert len(steps) == k - 1
            assert steps.min() >= 1
            assert steps.max() - steps.min() <= 1
    with pytest.raises(ConfigError, match=r"num_views=8 .* 7 layers"):
        evenly_spaced(7, 8)


def test_token_means_leave_padding_out():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float16)
    mask = torch.tensor([[True, True, False, False], [True] * 4])
    batch = KViewBatch(
        hashkey=["a", "b"],
        halu=torch.zeros(2),
        views_activations=x,
        input_length=torch.ones(2, dtype=torch.int64),
        token_mask=mask,
    )
    means = token_means(batch)
    torch.testing.assert_close(means[0], x[0, :, :2].float().mean(dim=1))
    torch.testing.assert_close(means[1], x[1].float().mean(dim=1))
    torch.testing.assert_close(token_means(batch.replace(token_mask=None)), x.float().mean(dim=2))


def test_some_views_of_all_layers_are_what_embedding_them_alone_gives(source_of, encoder):
    some = embed_layers(encoder, source_of(10), views=VIEWS, batch_size=4)
    alone = embed(encoder, source_of(10, views=VIEWS))
    torch.testing.assert_close(some.z_views, alone.z_views)
    assert (some.hashkey, some["halu"].tolist()) == (alone.hashkey, alone["halu"].tolist())


@pytest.mark.parametrize("batch_size", [1, 4, 10])
def test_layers_come_in_their_order_whatever_the_views(source_of, encoder, batch_size):
    straight, turned = source_of(10), source_of(10, views=(3, 0, 4, 1, 2))
    first, means = with_means(encoder, straight, views=EVERY, batch_size=batch_size)
    second, same_means = with_means(encoder, turned, views=EVERY, batch_size=batch_size)
    torch.testing.assert_close(first.z_views, second.z_views)
    torch.testing.assert_close(means, same_means)
    (batch,) = straight.batches(epoch=0, batch_size=10)
    torch.testing.assert_close(means, token_means(batch))


def test_layers_may_come_in_another_order_in_each_row(encoder):
    source = MemorySource(12, num_views=8, num_layers=8, hidden_size=8)
    _, means = with_means(encoder, source, views=range(8), batch_size=5)
    torch.testing.assert_close(means, source.x.mean(dim=2))


def test_sources_that_do_not_fit_are_refused(source_of, encoder):
    with pytest.raises(ConfigError, match="3 views of 5 layers"):
        embed_layers(encoder, source_of(6, views=(0, 1, 2)), views=(0, 1))
    repeating = source_of(6, views=(0, 1, 2, 3, 3))
    repeating.views_repeat = True
    with pytest.raises(ConfigError, match="every layer once"):
        embed_layers(encoder, repeating, views=EVERY)
    shuffled = source_of(6)
    rows = list(shuffled.batches(epoch=0, batch_size=3))
    shuffled.batches = lambda **_: iter(rows[::-1])
    with pytest.raises(ContractError, match="6 rows, one at least, in order"):
        embed(encoder, shuffled)
    with pytest.raises(ContractError, match="0 rows, one at least, in order"):
        embed(encoder, source_of(0))


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_encoder_of_some_layers_is_only_asked_about_these(source_of, encoder, wrapped):
    source, asked = source_of(6, views=(4, 3, 2, 1, 0)), []
    encoder.eval()

    class OfTwo(torch.nn.Module):
        layer_ids = (3, 1)

        def forward(self, x, *, layer_idx, token_mask):
            asked.append(layer_idx.tolist())
            return encoder(x, token_mask=token_mask)

    given = ViewEncoder(OfTwo(), layer_ids=[3, 3, 1, 3, 3]) if wrapped else OfTwo()
    found, means = with_means(given, source, views=(1, 3) if not wrapped else (2, 3))
    assert asked == [[1, 0] * 6]
    views = (1, 3) if not wrapped else (2, 3)
    torch.testing.assert_close(found.z_views, embed(encoder, source_of(6, views=views)).z_views)
    assert means.shape[1] == 5


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_encoder_goes_where_rows_are_encoded_as_a_copy(source_of, encoder, wrapped):
    source = source_of(6, views=VIEWS)
    given = ViewEncoder(encoder) if wrapped else encoder
    with checks("shape"):  # a meta tensor has no values to look at
        found = embed(given, source, device="meta")
        assert found.z_views.device.type == "meta"
        assert found.z_views.shape == (6, 3, 6)
        every = embed_layers(given, source_of(6), views=VIEWS, device="meta")
        assert every.z_views.device.type == "meta"
    assert {p.device.type for p in encoder.parameters()} == {"cpu"}
    assert embed(given, source).z_views.isfinite().all()
