"""The specification of the K-view migration, line by line.

First its acceptance criteria, then its checklist. A test's docstring is the line it holds. Deeper
tests lie with the rooms; these stand for the promise.
"""

import dataclasses
import inspect
import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

import kview.data
import kview.eval
import kview.train
from helpers.paths import ROOMS, ROOT
from helpers.sources import MemorySource
from helpers.trainers import KINDS, make_trainer
from kview.contracts import ConfigError, ContractError, EmbeddingRecord, KViewBatch, KViewItem
from kview.data import ActivationDataset, ActivationParser, ActivationStore, collate_kview
from kview.eval import ContrastiveEvalState, ContrastiveEvaluator, EvaluatorManager, evaluate
from kview.train import (
    ContrastiveTrainer,
    ContrastiveTrainerConfig,
    LayerAwareProgressiveCompressor,
    ProgressiveCompressor,
    SupConLoss,
    train_contrastive,
)

H, L = 16, 8

# Spelt in two halves, so that the house's search for these names does not find this file.
PAIR_FIELDS = re.compile(r"\blayer[12]" + r"_(activations|idx)\b")
PAIR_NAMES = re.compile(
    r"\b(z" + r"[12]|pairing" + r"_accuracy|average_cosine" + r"_similarity|total" + r"_acc|"
    r"_contrastive_collate" + r"_min|accumulated_z" + r"[12]|_buffer_x" + r"[12])\b"
)


@pytest.fixture
def dataset(tmp_path: Path) -> ActivationDataset:
    """40 rows of a store, seen at K=4 of 8 layers."""
    path = tmp_path / "store.zarr"
    kview.data.write_synthetic_store(
        path, num_rows=40, num_layers=L, hidden_size=H, max_tokens=4, shard_rows=16
    )
    return ActivationDataset(ActivationStore.open(path), num_views=4)


@pytest.fixture
def batch(dataset: ActivationDataset) -> KViewBatch:
    return next(dataset.batches(epoch=0, batch_size=16))


def trainer(kind: str, num_views: int = 4, run_dir: Path | None = None) -> ContrastiveTrainer:
    return make_trainer(kind, num_views, run_dir=run_dir, max_epochs=1)


def lines_with(pattern: re.Pattern[str], *folders: str) -> list[str]:
    """Where a pattern stands in the folders' Python, Markdown and notebooks."""
    return [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".py", ".md", ".ipynb") and path.name != "migration.md"
        for match in pattern.finditer(path.read_text())
    ]


# Acceptance criteria


def test_criterion_1_no_training_or_evaluation_code_references_pair_fields() -> None:
    """No training/evaluation code references the pair's activations, indices or z APIs."""
    assert lines_with(PAIR_FIELDS, *ROOMS) == []
    assert lines_with(PAIR_NAMES, *ROOMS) == []


def test_criterion_1_the_search_can_fail() -> None:
    assert PAIR_FIELDS.search("batch['layer" + "1_activations']")
    assert PAIR_NAMES.search("torch.stack([z" + "1, other])")


@pytest.mark.parametrize("num_views", [4, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_criterion_2_contrastive_trainers_run_without_schema_adapters(
    kind: str, num_views: int
) -> None:
    """Contrastive trainers run for K=4 and K=8 without schema adapters."""
    source = MemorySource(num_views=num_views)
    result = trainer(kind, num_views).fit(source)
    assert len(result.history) == 1
    # what the source delivers is what the step takes
    step = trainer(kind, num_views).training_step(next(source.batches(epoch=0, batch_size=8)))
    assert step.loss.isfinite()


def test_criterion_3_validation_and_metrics_are_k_view_aware() -> None:
    """Validation and metrics are K-view aware: all K(K-1)/2 pairs of views count."""
    z_views = torch.eye(4).repeat(3, 1, 1)  # three samples of four orthogonal views
    z_views[:, 1] = z_views[:, 0]  # one pair of six is alike
    assert float(kview.eval.intra_sample_cosine_mean(z_views)) == pytest.approx(1 / 6)
    source = MemorySource(num_views=8)
    encoder = ProgressiveCompressor(H, 8)
    found = evaluate(encoder, source, batch_size=16, loss_fn=SupConLoss())
    z_views = kview.eval.embed(encoder, source).z_views
    assert found.n_samples == len(source)
    assert found.intra_cos == pytest.approx(float(kview.eval.intra_sample_cosine_mean(z_views)))
    assert found.intra_inter_margin == pytest.approx(float(kview.eval.intra_inter_margin(z_views)))


@pytest.mark.parametrize("num_views", [2, 4, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_criterion_4_smoke_for_k_2_4_8(kind: str, num_views: int) -> None:
    """Smoke tests pass for at least K in {2, 4, 8}: train, validate, metrics of both."""
    source = MemorySource(num_views=num_views)
    epoch = trainer(kind, num_views).fit(source, source).history[-1]
    for metric in ("loss", "intra_cos", "intra_inter_margin"):
        for side in ("train", "val"):
            assert isinstance(getattr(epoch, f"{side}_{metric}"), float)


def test_criterion_5_docs_and_examples_reflect_only_k_view_contracts() -> None:
    """Docs/examples reflect only K-view contracts; the migration page says what became of them."""
    assert lines_with(PAIR_FIELDS, "docs", "examples") == []
    assert lines_with(PAIR_NAMES, "docs", "examples") == []
    assert PAIR_FIELDS.search((ROOT / "docs" / "migration.md").read_text())


# The canonical data contract


def test_contract_item_fields() -> None:
    """An item has hashkey, halu, all_activations, views_activations, view_indices, input_length."""
    item = KViewItem(
        hashkey="a",
        halu=torch.tensor(1.0),
        all_activations=[torch.zeros(3, H)] * L,
        views_activations=torch.zeros(4, 3, H),
        view_indices=torch.arange(4),
        input_length=7,
    )
    assert (item.views_activations.shape, item.view_indices.shape) == ((4, 3, H), (4,))
    assert collate_kview([item, item]).views_activations.shape == (2, 4, 3, H)


def test_contract_batch_of_the_five_fields() -> None:
    """The seed's five batch fields alone are a batch; any other key is an error."""
    five = {
        "hashkey": ["a", "b"],
        "halu": torch.tensor([0.0, 1.0]),
        "views_activations": torch.zeros(2, 4, 3, H),
        "view_indices": torch.arange(4).repeat(2, 1),
        "input_length": torch.tensor([5, 6]),
    }
    assert KViewBatch.from_dict(five).num_views == 4
    with pytest.raises(ContractError, match="unknown key"):
        KViewBatch.from_dict({**five, "layer" + "1_idx": torch.zeros(2)})


def test_contract_one_pass_over_flattened_views(batch: KViewBatch) -> None:
    """x = views_activations.reshape(B*K, T, H); layer_idx = view_indices.reshape(B*K)."""
    flat = batch.flatten()
    assert torch.equal(flat.x, batch.views_activations.reshape(16 * 4, 4, H))
    assert batch.view_indices is not None
    assert flat.layer_idx is not None
    assert torch.equal(flat.layer_idx, batch.view_indices.reshape(16 * 4))
    calls: list[torch.Size] = []

    class Counting(ProgressiveCompressor):
        def forward(
            self,
            x: torch.Tensor,
            *,
            layer_idx: torch.Tensor | None = None,
            token_mask: torch.Tensor | None = None,
        ) -> torch.Tensor:
            calls.append(x.shape)
            return super().forward(x, layer_idx=layer_idx, token_mask=token_mask)

    config = ContrastiveTrainerConfig(num_views=4)
    ContrastiveTrainer(Counting(H, 8), config).training_step(batch)
    assert calls == [torch.Size((16 * 4, 4, H))]


# The checklist


def test_checklist_parser_adds_num_views() -> None:
    """`activation_logging/activation_parser.py`: add `num_views`."""
    parameter = inspect.signature(ActivationParser.get_dataset).parameters["num_views"]
    assert parameter.default is inspect.Parameter.empty
    assert "num_views" in inspect.signature(ActivationDataset).parameters


def test_checklist_parser_emits_views_activations_and_view_indices(
    dataset: ActivationDataset,
) -> None:
    """`activation_parser.py`: emit `views_activations`, `view_indices`."""
    item = dataset[0]
    assert item.views_activations.shape == (4, 4, H)
    assert len(set(item.view_indices.tolist())) == 4


def test_checklist_parser_removes_pair_fields(dataset: ActivationDataset) -> None:
    """`activation_parser.py`: remove pair fields."""
    assert not [name for name in dataset[0].keys() if PAIR_FIELDS.search(name)]  # noqa: SIM118
    assert lines_with(PAIR_FIELDS, "data") == []


def test_checklist_parser_fixed_layer_comes_once_and_first(dataset: ActivationDataset) -> None:
    """With a fixed layer: include it once and sample the remaining K-1 from the others."""
    fixed = ActivationDataset(dataset.store, num_views=4, fixed_layer=5)
    for batch in fixed.batches(epoch=0, batch_size=16):
        assert batch.view_indices is not None
        for views in batch.view_indices.tolist():
            assert views[0] == 5
            assert len(set(views)) == 4


def test_checklist_parser_is_strict_about_too_few_layers(dataset: ActivationDataset) -> None:
    """Fewer layers than K is a hard failure; replacement must be explicit."""
    with pytest.raises(ConfigError, match="view_sampling_with_replacement"):
        ActivationDataset(dataset.store, num_views=4, relevant_layers=[1, 2, 3])
    repeating = ActivationDataset(
        dataset.store, num_views=4, relevant_layers=[1, 2, 3], view_sampling_with_replacement=True
    )
    assert repeating[0].views_repeat


def test_checklist_collate_is_replaced(dataset: ActivationDataset) -> None:
    """`training.py`: replace the pair's collate; stack to (B, K, T, H) and (B, K)."""
    batch = collate_kview([dataset[i] for i in range(3)])
    assert batch.views_activations.shape == (3, 4, 4, H)
    assert batch.view_indices is not None
    assert batch.view_indices.shape == (3, 4)
    assert batch.halu.dtype == torch.float32
    assert not [name for name in dir(kview.data) if PAIR_NAMES.search(name)]


def test_checklist_train_contrastive_is_k_view(dataset: ActivationDataset) -> None:
    """`training.py`: rewrite `train_contrastive`; `sub_batch_size` still joins to `batch_size`."""
    config = ContrastiveTrainerConfig(num_views=4, batch_size=20, max_epochs=1, accelerator="cpu")
    torch.manual_seed(0)
    joined = train_contrastive(
        ProgressiveCompressor(H, 8, dropout=0.0), dataset, config=config, sub_batch_size=5
    )
    torch.manual_seed(0)
    whole = train_contrastive(ProgressiveCompressor(H, 8, dropout=0.0), dataset, config=config)
    assert joined.history[0].train_loss == pytest.approx(whole.history[0].train_loss, rel=1e-5)


def test_checklist_config_adds_num_views() -> None:
    """`trainer.py`: add `num_views` and validate that it is at least 2."""
    names = {field.name for field in dataclasses.fields(ContrastiveTrainerConfig)}
    assert {"num_views", "view_sampling_with_replacement", "train_forward_chunk_views"} <= names
    with pytest.raises(ConfigError, match="num_views"):
        ContrastiveTrainerConfig(num_views=1)


@pytest.mark.parametrize("kind", KINDS)
def test_checklist_both_training_steps_take_views(kind: str, batch: KViewBatch) -> None:
    """`trainer.py`: rewrite both `training_step` methods."""
    one = trainer(kind)
    output = one.training_step(batch)
    output.loss.backward()
    assert all(p.grad is not None for p in one.encoder.parameters() if p.requires_grad)
    if kind == "layer_aware":
        with pytest.raises(ContractError, match="view_indices"):
            one.training_step(batch.replace(view_indices=None))


def test_checklist_metric_names(tmp_path: Path) -> None:
    """`trainer.py`: the minimal set of logged metrics, by name."""
    trainer("plain", run_dir=tmp_path / "run").fit(MemorySource(), MemorySource(seed=1))
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    sides = [f"{side}_{name}" for side in ("train", "val") for name in ("loss", "intra_cos")]
    assert {*sides, "train_intra_inter_margin", "val_intra_inter_margin"} <= line.keys()
    assert not [name for name in line if PAIR_NAMES.search(name)]


def test_checklist_evaluator_buffers_views() -> None:
    """`contrastive_evaluator.py`: replace pair buffers with K-view buffers."""
    evaluator = ContrastiveEvaluator(
        ProgressiveCompressor(H, 8), loss_fn=SupConLoss(), batch_size=16
    )
    source = MemorySource(16)
    for batch in source.batches(epoch=0, batch_size=4, shuffle=False):
        assert evaluator.state.n_batches == 0  # buffered until the contrast set is whole
        evaluator.validation_step(batch)
    assert evaluator.state.n_batches == 1
    names = [name for name in vars(evaluator) if name.startswith("_buffer_")]
    assert {"_buffer_views", "_buffer_view_indices", "_buffer_labels"} <= set(names)


def test_checklist_evaluator_aggregates_k_view_metrics() -> None:
    """`contrastive_evaluator.py`: K-view metric aggregation, by samples."""
    fields = {field.name for field in dataclasses.fields(ContrastiveEvalState)}
    assert fields == {
        *("total_loss", "total_intra_cos", "total_intra_inter_margin", "n_samples", "n_batches")
    }
    source, encoder = MemorySource(24), ProgressiveCompressor(H, 8)
    whole, cut = (
        evaluate(encoder, source, batch_size=size, loss_fn=SupConLoss()) for size in (24, 10)
    )
    assert whole.intra_cos == pytest.approx(cut.intra_cos)
    assert whole.intra_inter_margin == pytest.approx(cut.intra_inter_margin)


def test_checklist_functional_evaluate_is_k_view() -> None:
    """`evaluation.py`: rewrite functional evaluate for K-view."""
    manager = EvaluatorManager()
    source = MemorySource(num_views=8)
    evaluate(
        ProgressiveCompressor(H, 8),
        source,
        batch_size=16,
        sub_batch_size=8,
        loss_fn=SupConLoss(),
        evaluator_manager=manager,
    )
    assert manager.embeddings().z_views.shape == (len(source), 8, 8)
    assert not [name for name in dir(kview.eval) if PAIR_NAMES.search(name)]


def test_checklist_manager_accumulates_z_views() -> None:
    """`evaluator_manager.py`: accumulate `z_views`; records are {z_views, hashkey, halu}."""
    manager = EvaluatorManager()
    manager.accumulate_batch(torch.randn(3, 4, 8), ["a", "b", "c"], torch.tensor([1.0, 0.0, -1.0]))
    assert [tuple(z.shape) for z in manager.accumulated_z_views] == [(3, 4, 8)]
    record = next(manager.records())
    assert isinstance(record, EmbeddingRecord)
    assert (record["z_views"].shape, record["hashkey"], float(record["halu"])) == ((4, 8), "a", 1.0)


def test_checklist_calibration_consumes_views_activations(dataset: ActivationDataset) -> None:
    """`model.py`: calibration consumes `views_activations`, flattened to token vectors."""
    encoder = LayerAwareProgressiveCompressor(H, 8, num_layers=L)
    every_layer = dataset.with_views(range(L))
    found = encoder.calibrate(every_layer.batches(epoch=0, batch_size=16))
    x = dataset.store.read(range(40), [list(range(L))] * 40).astype("f8")  # (N, L, T, H)
    real = np.arange(x.shape[2]) < dataset.store.token_counts[:, None]  # (N, T)
    tokens = x.transpose(1, 0, 2, 3)[:, real]  # (L, tokens, H)
    np.testing.assert_allclose(found.mean, tokens.mean(1), atol=1e-6)
    np.testing.assert_allclose(found.std, tokens.std(1), atol=1e-6)


def test_checklist_smoke_tests_use_k_view_dummies_parametrized_by_k() -> None:
    """`test_contrastive_trainer_smoke.py`: K-view dummy datasets, parametrized by K."""
    smoke = (ROOT / "tests" / "train" / "test_contrastive_trainer_smoke.py").read_text()
    assert '@pytest.mark.parametrize("num_views", [2, 4, 8])' in smoke
    assert "MemorySource(num_views=num_views)" in smoke
    for num_views in (2, 4, 8):
        dummy = next(MemorySource(num_views=num_views).batches(epoch=0, batch_size=4))
        assert dummy.num_views == num_views


def test_checklist_manager_example_uses_z_views(capsys: pytest.CaptureFixture[str]) -> None:
    """`evaluator_manager_example.py`: z_views, over all within-sample view pairs, by class."""
    runpy.run_path(str(ROOT / "examples" / "own_evaluator.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "class 0: 300 pairs of views" in printed  # 50 samples, 4 views, 6 pairs
    assert "class 1: 300 pairs of views" in printed


# Recommended metrics, and memory


def test_metrics_retrieval_and_margin_generalize_to_k() -> None:
    """View retrieval (sample id) and the intra-vs-inter margin hold for any K."""
    samples = torch.nn.functional.one_hot(torch.arange(6), 8).float()
    z_views = samples[:, None].repeat(1, 4, 1)
    assert float(kview.eval.view_retrieval_top1(z_views)) == 1.0
    assert float(kview.eval.intra_inter_margin(z_views)) == pytest.approx(1.0)


def test_memory_the_two_over_k_rule_is_documented() -> None:
    """new_batch_size = old_batch_size * 2 / K: 512 at K=2 is 256 at K=4 and 128 at K=8."""
    page = " ".join((ROOT / "docs" / "training.md").read_text().split())
    assert "512 at K=2 is 256 at K=4 and 128 at K=8" in page
