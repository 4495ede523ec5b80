"""Metrics of K-view embeddings."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.oracles import pair_cosines_by_loops, view_retrieval_by_loops
from kview.contracts import ContractError
from kview.eval import (
    KViewMetrics,
    intra_inter_margin,
    intra_sample_cosine_mean,
    view_retrieval_top1,
)

seeds = st.integers(0, 2**32 - 1)


def draw_views(data, *, min_samples: int = 1) -> torch.Tensor:
    B = data.draw(st.integers(min_samples, 7), label="B")
    K = data.draw(st.integers(2, 5), label="K")
    D = data.draw(st.integers(1, 9), label="D")
    dtype = data.draw(st.sampled_from([torch.float64, torch.float32, torch.bfloat16]))
    generator = torch.Generator().manual_seed(data.draw(seeds, label="seed"))
    z = torch.randn(B, K, D, generator=generator, dtype=torch.float64)
    lengths = torch.rand(B, K, 1, generator=generator, dtype=torch.float64) * 100 + 0.01
    return (z * lengths).to(dtype)


@given(st.data())
def test_metrics_equal_the_dense_oracle(data):
    z = draw_views(data, min_samples=2)
    within, between = pair_cosines_by_loops(z)
    intra, inter = sum(within) / len(within), sum(between) / len(between)
    assert intra_sample_cosine_mean(z).item() == pytest.approx(intra, abs=1e-12)
    assert intra_inter_margin(z).item() == pytest.approx(intra - inter, abs=1e-12)
    assert view_retrieval_top1(z).item() == view_retrieval_by_loops(z)


@given(st.data())
def test_streaming_does_not_depend_on_how_the_samples_are_cut(data):
    z = draw_views(data, min_samples=2)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(z)), min_size=1, max_size=4)))
    sizes = [b - a for a, b in zip([0, *cuts], [*cuts, len(z)], strict=True)]
    whole, cut = KViewMetrics(), KViewMetrics()
    whole.update(z)
    parts = [KViewMetrics() for _ in range(2)]
    for i, tile in enumerate(z.split(sizes)):
        cut.update(tile)
        parts[i % 2].update(tile)
    parts[0].merge(parts[1])
    reduced = KViewMetrics(cut.state * 1.0, num_views=z.shape[1])
    for other in (cut, parts[0], reduced):
        assert other.compute().n_samples == len(z)
        assert other.compute().intra_cos == pytest.approx(whole.compute().intra_cos, abs=1e-12)
        assert other.compute().intra_inter_margin == pytest.approx(
            whole.compute().intra_inter_margin, abs=1e-12
        )


def test_tiles_do_not_change_the_sums(monkeypatch):
    z = torch.randn(50, 3, 8)
    whole = intra_inter_margin(z).item()
    monkeypatch.setattr("kview.eval.metrics._TILE", 60)
    assert intra_inter_margin(z).item() == pytest.approx(whole, abs=1e-12)
    assert view_retrieval_top1(z).item() == view_retrieval_by_loops(z)


@given(st.data())
def test_two_views_give_the_pair_cosine(data):
    z = draw_views(data)[:, :2]
    expected = torch.cosine_similarity(z[:, 0].double(), z[:, 1].double(), dim=-1).mean()
    assert intra_sample_cosine_mean(z).item() == pytest.approx(expected.item(), abs=1e-12)


def test_collapsed_views_have_margin_zero_and_retrieve_nothing():
    z = torch.ones(4, 3, 5)
    assert intra_sample_cosine_mean(z).item() == pytest.approx(1)
    assert intra_inter_margin(z).item() == pytest.approx(0)
    assert view_retrieval_top1(z).item() == 0


def test_orthogonal_samples_have_margin_one_and_retrieve_everything():
    z = torch.eye(4).unsqueeze(1).repeat(1, 3, 1)
    assert intra_inter_margin(z).item() == pytest.approx(1)
    assert view_retrieval_top1(z).item() == 1


def test_one_sample_has_no_margin():
    z = torch.randn(1, 2, 3)
    with pytest.raises(ContractError, match="B >= 2"):
        intra_inter_margin(z)
    with pytest.raises(ContractError, match="B >= 2"):
        view_retrieval_top1(z)
    metrics = KViewMetrics()
    metrics.update(z)
    assert metrics.compute().intra_inter_margin is None


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_a_view_without_direction_is_refused(bad):
    z = torch.randn(3, 2, 4)
    z[1, 0] = bad
    for metric in (intra_sample_cosine_mean, intra_inter_margin, view_retrieval_top1):
        with pytest.raises(ContractError, match="1 of 6"):
            metric(z)


def test_metrics_of_nothing_and_of_mixed_shapes_are_refused():
    metrics = KViewMetrics()
    with pytest.raises(ContractError, match="at least one batch"):
        metrics.compute()
    metrics.update(torch.empty(0, 2, 4))
    with pytest.raises(ContractError, match="at least one sample"):
        metrics.compute()
    with pytest.raises(ContractError, match="K=3, D=4"):
        metrics.update(torch.randn(2, 3, 4))
    other = KViewMetrics()
    other.update(torch.randn(2, 2, 5))
    with pytest.raises(ContractError, match="K=2, D=5"):
        metrics.merge(other)
