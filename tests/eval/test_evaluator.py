"""`ContrastiveEvaluator` and `evaluate`."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.oracles import pair_cosines_by_loops, supcon_by_loops
from kview.contracts import ConfigError, ContractError, KViewBatch, ViewEncoder
from kview.eval import (
    ContrastiveEvalState,
    ContrastiveEvaluator,
    EvaluatorManager,
    evaluate,
    intra_inter_margin,
    intra_sample_cosine_mean,
    sample_ids,
)


def batch_of(B: int, K: int = 2, T: int = 3, H: int = 4, seed: int = 0, **changes) -> KViewBatch:
    generator = torch.Generator().manual_seed(seed)
    fields = {
        "hashkey": [f"key{i}" for i in range(B)],
        "halu": torch.arange(B) % 3 - 1.0,
        "views_activations": torch.randn(B, K, T, H, generator=generator),
        "input_length": torch.ones(B, dtype=torch.int64),
    }
    return KViewBatch(**{**fields, **changes})


def pieces(batch: KViewBatch, sizes: list[int]) -> list[KViewBatch]:
    cut, start = [], 0
    for size in sizes:
        rows = slice(start, start + size)
        cut.append(
            KViewBatch(
                hashkey=batch.hashkey[rows],
                halu=batch.halu[rows],
                views_activations=batch.views_activations[rows],
                input_length=batch.input_length[rows],
                token_mask=None if batch.token_mask is None else batch.token_mask[rows],
            )
        )
        start += size
    return cut


def oracle_loss(z_views, labels=None, *, sample_ids=None):
    return supcon_by_loops(z_views, labels, sample_ids=sample_ids)


def mean_of_tokens(x: torch.Tensor, /, **views: torch.Tensor | None) -> torch.Tensor:
    return x.mean(dim=1)


@given(st.data())
def test_metrics_do_not_depend_on_how_sub_batches_are_cut(data):
    n = data.draw(st.integers(2, 9), label="samples")
    K = data.draw(st.integers(2, 4), label="K")
    size = data.draw(st.integers(1, 10), label="batch_size")
    cuts = sorted(data.draw(st.sets(st.integers(1, n - 1)), label="cuts"))
    batch = batch_of(n, K=K, seed=data.draw(st.integers(0, 1000)))
    sizes = [b - a for a, b in zip([0, *cuts], [*cuts, n], strict=True)]
    manager = EvaluatorManager()

    metrics = evaluate(
        mean_of_tokens,
        pieces(batch, sizes),
        batch_size=size,
        loss_fn=oracle_loss,
        evaluator_manager=manager,
    )

    z = batch.views_activations.mean(dim=2)
    ids = sample_ids(batch.hashkey)
    losses = [
        supcon_by_loops(z[i : i + size], batch.halu[i : i + size], sample_ids=ids[i : i + size])
        * len(z[i : i + size])
        for i in range(0, n, size)
    ]
    within, between = pair_cosines_by_loops(z)
    intra = sum(within) / len(within)
    assert metrics.loss == pytest.approx((sum(losses) / n).item(), abs=1e-6)
    assert metrics.intra_cos == pytest.approx(intra, abs=1e-6)
    margin = intra - sum(between) / len(between)
    assert metrics.intra_inter_margin == pytest.approx(margin, abs=1e-6)
    assert (metrics.n_samples, metrics.n_batches) == (n, len(losses))
    stats = manager.get_stats()
    assert stats.metrics is not None
    assert stats.metrics.intra_cos == pytest.approx(metrics.intra_cos, abs=1e-12)
    assert stats.metrics.intra_inter_margin == pytest.approx(metrics.intra_inter_margin, abs=1e-12)
    assert manager.embeddings().hashkey == batch.hashkey


def test_a_source_and_its_batches_give_the_same_metrics(source_of, encoder):
    source = source_of(20, views=(0, 2, 4))
    whole = evaluate(encoder, source, batch_size=8, loss_fn=oracle_loss)
    sub = evaluate(encoder, source, batch_size=8, sub_batch_size=4, loss_fn=oracle_loss)
    batches = list(source.batches(epoch=0, batch_size=8, shuffle=False))
    assert whole == sub == evaluate(encoder, batches, batch_size=8, loss_fn=oracle_loss)
    assert whole.n_batches == 3


def test_the_encoder_is_in_eval_mode_and_put_back(source_of, encoder):
    encoder.train()
    encoder.linear.eval()
    source = source_of(6)
    first = evaluate(encoder, source, batch_size=6, loss_fn=oracle_loss)
    assert first == evaluate(encoder, source, batch_size=6, loss_fn=oracle_loss)
    assert encoder.training
    assert encoder.dropout.training
    assert not encoder.linear.training


def test_the_state_holds_sums_over_samples(source_of, encoder):
    evaluator = ContrastiveEvaluator(ViewEncoder(encoder), loss_fn=oracle_loss, batch_size=4)
    assert evaluator.state == ContrastiveEvalState()
    (batch,) = source_of(6).batches(epoch=0, batch_size=6, shuffle=False)
    evaluator.validation_step(batch)
    assert evaluator.state.n_samples == 4
    assert len(evaluator._buffer_views) == len(evaluator._buffer_labels) == 1
    assert len(evaluator._buffer_view_indices) == 1
    metrics = evaluator.finish()
    state = evaluator.state
    assert (state.n_samples, state.n_batches) == (6, 2)
    assert state.total_loss / 6 == pytest.approx(metrics.loss)
    assert state.total_intra_cos / 6 == pytest.approx(metrics.intra_cos)
    assert state.total_intra_inter_margin is not None
    assert state.total_intra_inter_margin / 6 == pytest.approx(metrics.intra_inter_margin)
    assert evaluator._buffer_views == []


def test_states_of_processes_add_up(source_of, encoder):
    batches = list(source_of(9).batches(epoch=0, batch_size=4, shuffle=False))
    whole = evaluate(encoder, batches, batch_size=4, loss_fn=oracle_loss)
    ranks = []
    for batch in batches:
        evaluator = ContrastiveEvaluator(encoder, loss_fn=oracle_loss, batch_size=4)
        evaluator.validation_step(batch)
        evaluator.finish()
        ranks.append(evaluator)
    sums = [sum(r.metrics.state for r in ranks), sum(r._sums for r in ranks)]
    together = ranks[0].finish(all_reduce=lambda _: sums.pop(0))
    assert together.loss == pytest.approx(whole.loss)
    assert together.intra_cos == pytest.approx(whole.intra_cos)
    assert together.intra_inter_margin == pytest.approx(whole.intra_inter_margin)
    assert (together.n_samples, together.n_batches) == (9, 3)


def test_the_loss_gets_labels_ids_and_nothing_else():
    seen = []

    def loss(z_views, labels=None, *, sample_ids=None):
        seen.append((labels, sample_ids))
        return z_views.sum() * 0

    batch = batch_of(3)
    evaluate(mean_of_tokens, [batch], batch_size=3, loss_fn=loss)
    evaluate(mean_of_tokens, [batch], batch_size=3, loss_fn=loss, use_labels=False)
    evaluate(mean_of_tokens, [batch], batch_size=3, loss_fn=loss, ignore_label=7)
    assert seen[0][0].tolist() == [-1, 0, 1]
    assert seen[0][1].tolist() == sample_ids(batch.hashkey).tolist()
    assert seen[1][0] is None
    assert seen[2][0].tolist() == [7, 0, 1]


def test_max_batches_counts_contrast_sets():
    for batches in ([batch_of(9)], pieces(batch_of(9), [3, 3, 3])):
        metrics = evaluate(
            mean_of_tokens, batches, batch_size=2, loss_fn=oracle_loss, max_batches=2
        )
        assert (metrics.n_samples, metrics.n_batches) == (4, 2)


def test_a_sub_batch_without_a_mask_joins_those_that_have_one(encoder):
    plain = batch_of(4, H=8)
    masked = plain.replace(token_mask=torch.ones(4, 3, dtype=torch.bool))
    first, second = pieces(plain, [2, 2])
    mixed = [first, pieces(masked, [2, 2])[1]]
    expected = evaluate(encoder, [first, second], batch_size=4, loss_fn=oracle_loss)
    metrics = evaluate(encoder, mixed, batch_size=4, loss_fn=oracle_loss)
    assert metrics.loss == pytest.approx(expected.loss)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 4, "sub_batch_size": 3}, "does not divide"),
        ({"batch_size": 4, "sub_batch_size": 2}, "a batch of 4 came"),
        ({"batch_size": 4, "max_batches": 0}, "max_batches=0"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, match):
    with pytest.raises(ConfigError, match=match):
        evaluate(mean_of_tokens, [batch_of(4)], loss_fn=oracle_loss, **settings)


def test_batches_unlike_those_before_are_refused():
    batches = [batch_of(2), batch_of(2, K=3)]
    with pytest.raises(ContractError, match=r"axes K, T, H.*\(2, 3, 4\).*\(3, 3, 4\)"):
        evaluate(mean_of_tokens, batches, batch_size=8, loss_fn=oracle_loss)
    with pytest.raises(ContractError, match="K=2, D=4 as before"):
        evaluate(mean_of_tokens, batches, batch_size=2, loss_fn=oracle_loss)


def test_no_batch_at_all_is_refused():
    with pytest.raises(ContractError, match="at least one batch"):
        evaluate(mean_of_tokens, [], batch_size=2, loss_fn=oracle_loss)


def test_one_sample_has_a_loss_but_no_margin():
    metrics = evaluate(mean_of_tokens, [batch_of(1)], batch_size=2, loss_fn=oracle_loss)
    assert metrics.intra_inter_margin is None
    assert metrics.n_samples == 1


def test_the_pure_functions_agree_with_evaluate(source_of, encoder):
    source = source_of(12)
    manager = EvaluatorManager()
    metrics = evaluate(
        encoder, source, batch_size=5, loss_fn=oracle_loss, evaluator_manager=manager
    )
    z = manager.embeddings().z_views
    assert intra_sample_cosine_mean(z).item() == pytest.approx(metrics.intra_cos, abs=1e-12)
    assert intra_inter_margin(z).item() == pytest.approx(metrics.intra_inter_margin, abs=1e-12)
