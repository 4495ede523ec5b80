"""Trainer, evaluator, `evaluate` and manager say the same of one encoder."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.trainers import KINDS, make_trainer
from kview.contracts import KViewBatch, ViewEncoder
from kview.contracts.strategies import kview_batches
from kview.eval import (
    ContrastiveEvaluator,
    EvaluatorManager,
    evaluate,
    intra_inter_margin,
    intra_sample_cosine_mean,
)
from kview.train import ContrastiveTrainer


@st.composite
def batches(draw: st.DrawFn) -> KViewBatch:
    """Batches of two samples or more, in float32, of eight layers."""
    return draw(
        kview_batches(
            B=st.integers(2, 7),
            K=st.sampled_from([2, 4, 8]),
            T=st.integers(1, 5),
            H=st.integers(4, 9),
            layers=8,
            dtypes=[torch.float32],
            view_indices=True,
            views_repeat=False,
            repeat_hashkeys=False,
        )
    )


def trainer_for(batch: KViewBatch, kind: str) -> ContrastiveTrainer:
    """A trainer in eval mode, so that nothing is dropped."""
    hidden = batch.views_activations.shape[-1]
    trainer = make_trainer(kind, batch.num_views, hidden_size=hidden, dropout=0.5)
    trainer.encoder.eval()
    return trainer


@given(batch=batches(), kind=st.sampled_from(KINDS), sub_batch=st.integers(1, 7))
def test_everybody_reports_the_same_metrics(batch, kind, sub_batch):
    trainer = trainer_for(batch, kind)
    manager = EvaluatorManager()
    with torch.no_grad():
        step = trainer.training_step(batch)
    whole = evaluate(
        trainer.encoder,
        [batch],
        batch_size=len(batch),
        loss_fn=trainer.val_loss_fn,
        evaluator_manager=manager,
    )
    evaluator = ContrastiveEvaluator(
        trainer.encoder, loss_fn=trainer.val_loss_fn, batch_size=len(batch)
    )
    for part in pieces(batch, sub_batch):
        evaluator.validation_step(part)
    cut = evaluator.finish()
    stats = manager.get_stats().metrics
    z_views = ViewEncoder(trainer.encoder)(batch).detach()
    assert stats is not None
    found = {
        "intra_cos": [
            step.metrics["intra_cos"],
            whole.intra_cos,
            cut.intra_cos,
            stats.intra_cos,
            float(intra_sample_cosine_mean(z_views)),
        ],
        "intra_inter_margin": [
            step.metrics["intra_inter_margin"],
            whole.intra_inter_margin,
            cut.intra_inter_margin,
            stats.intra_inter_margin,
            float(intra_inter_margin(z_views)),
        ],
        "loss": [float(step.loss), whole.loss, cut.loss],
    }
    for name, values in found.items():
        for value in values:
            assert value is not None
            assert math.isclose(value, values[0], rel_tol=1e-5, abs_tol=1e-6), (name, values)


@given(batch=batches().filter(lambda batch: batch.num_views == 2))
def test_for_two_views_the_intra_cosine_is_the_pair_cosine(batch):
    trainer = trainer_for(batch, "plain")
    z_views = ViewEncoder(trainer.encoder)(batch).detach()
    cosines = torch.cosine_similarity(z_views[:, 0].double(), z_views[:, 1].double(), dim=-1)
    with torch.no_grad():
        step = trainer.training_step(batch)
    assert math.isclose(step.metrics["intra_cos"], float(cosines.mean()), abs_tol=1e-6)


def pieces(batch: KViewBatch, size: int) -> list[KViewBatch]:
    """A batch in sub-batches of at most `size` samples."""
    values = {name: value for name, value in dict(batch).items() if name != "logprobs"}
    cuts = [slice(first, first + size) for first in range(0, len(batch), size)]
    return [
        KViewBatch.from_dict(
            {n: v[cut] if isinstance(v, torch.Tensor | list) else v for n, v in values.items()}
        )
        for cut in cuts
    ]
