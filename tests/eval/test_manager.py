"""The manager of accumulated embeddings."""

import pytest
import torch

from helpers.oracles import pair_cosines_by_loops
from kview.contracts import ConfigError, ContractError, EmbeddingRecord
from kview.eval import CosineEvaluator, EvaluatorError, EvaluatorManager


class Failing:
    name = "failing"

    def evaluate(self, embeddings):
        raise ZeroDivisionError("no such luck")


def filled(manager: EvaluatorManager, sizes=(3, 2), seed: int = 0) -> torch.Tensor:
    z = torch.randn(sum(sizes), 3, 4, generator=torch.Generator().manual_seed(seed))
    start = 0
    for size in sizes:
        rows = range(start, start + size)
        manager.accumulate_batch(
            z[rows.start : rows.stop],
            [f"key{i}" for i in rows],
            torch.tensor([i % 2 for i in rows]),
        )
        start += size
    return z


def test_records_carry_the_views_the_hashkey_and_the_label():
    manager = EvaluatorManager()
    z = filled(manager)
    records = list(manager.records())
    assert all(isinstance(record, EmbeddingRecord) for record in records)
    assert [record.hashkey for record in records] == [f"key{i}" for i in range(5)]
    assert [float(record["halu"]) for record in records] == [0, 1, 0, 1, 0]
    torch.testing.assert_close(torch.stack([r.z_views for r in records]), z)
    assert set(dict(records[0])) == {"z_views", "hashkey", "halu"}


def test_stats_and_clear():
    manager = EvaluatorManager()
    z = filled(manager)
    stats = manager.get_stats()
    assert (stats.n_samples, stats.n_batches, stats.n_labelled) == (5, 2, 5)
    within, _ = pair_cosines_by_loops(z)
    assert stats.metrics is not None
    assert stats.metrics.intra_cos == pytest.approx(sum(within) / len(within))
    manager.clear()
    assert manager.accumulated_z_views == []
    assert manager.get_stats().n_samples == 0
    assert manager.get_stats().metrics is None
    with pytest.raises(ContractError, match="none"):
        manager.embeddings()


def test_accumulated_embeddings_are_detached():
    manager = EvaluatorManager()
    z = torch.randn(2, 2, 3, requires_grad=True)
    manager.accumulate_batch(z)
    assert not manager.accumulated_z_views[0].requires_grad
    assert manager.embeddings().hashkey is None


@pytest.mark.parametrize(
    "batch",
    [
        {"hashkeys": ["a"]},
        {"labels": torch.zeros(3)},
        {"hashkeys": ["a", "b", "c"], "labels": torch.zeros(1)},
    ],
)
def test_lengths_that_disagree_are_refused(batch):
    manager = EvaluatorManager()
    with pytest.raises(ContractError, match="axis B"):
        manager.accumulate_batch(torch.randn(2, 2, 3), **batch)
    assert manager.get_stats().n_samples == 0


@pytest.mark.parametrize(
    ("shape", "batch", "match"),
    [
        ((2, 2, 4), {}, "hashkeys"),
        ((2, 2, 4), {"hashkeys": ["c", "d"]}, "labels"),
        ((2, 3, 4), {"hashkeys": ["c", "d"], "labels": torch.zeros(2)}, "axes K, D"),
    ],
)
def test_a_batch_unlike_those_before_is_refused(shape, batch, match):
    manager = EvaluatorManager()
    manager.accumulate_batch(torch.randn(2, 2, 4), ["a", "b"], torch.zeros(2))
    with pytest.raises(ContractError, match=match):
        manager.accumulate_batch(torch.randn(shape), **batch)


def test_an_evaluator_that_fails_is_named():
    manager = EvaluatorManager([CosineEvaluator(), Failing()])
    filled(manager)
    with pytest.raises(EvaluatorError, match="'failing' failed: ZeroDivisionError: no such luck"):
        manager.run()


def test_evaluators_with_one_name_are_refused():
    with pytest.raises(ConfigError, match="'cosine'"):
        EvaluatorManager([CosineEvaluator(), CosineEvaluator()])


def test_the_cosine_evaluator_looks_at_all_pairs_of_each_class():
    manager = EvaluatorManager([CosineEvaluator()])
    z = filled(manager)
    report = manager.run()["cosine"]
    for metrics, rows in ((report.overall, z), (report.by_class[1], z[1::2])):
        within, _ = pair_cosines_by_loops(rows)
        assert metrics.mean == pytest.approx(sum(within) / len(within))
        assert (metrics.min, metrics.max) == pytest.approx((min(within), max(within)))
        assert (metrics.n_samples, metrics.n_pairs) == (len(rows), len(within))
    assert set(report.by_class) == {0, 1}
