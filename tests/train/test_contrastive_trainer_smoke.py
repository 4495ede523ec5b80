"""Both trainers, for several K: they train, validate, checkpoint and resume."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from helpers.sources import MemorySource
from helpers.trainers import KINDS, make_trainer
from kview.contracts import ConfigError, ContractError, KViewBatch
from kview.train import ContrastiveTrainer, ContrastiveTrainerConfig, load_encoder


def make(kind: str, num_views: int, run_dir: Path | None = None, **settings) -> ContrastiveTrainer:
    return make_trainer(kind, num_views, run_dir=run_dir, **{"max_epochs": 2, **settings})


def weights(trainer) -> list[torch.Tensor]:
    return list(trainer.encoder.state_dict().values())


@pytest.mark.parametrize("num_views", [2, 4, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_trains_validates_and_keeps_a_run(kind, num_views, tmp_path):
    trainer = make(kind, num_views, tmp_path)
    before = [w.clone() for w in weights(trainer)]
    source = MemorySource(num_views=num_views)
    result = trainer.fit(source, MemorySource(num_views=num_views, seed=1))
    assert len(result.history) == 2
    assert any(not torch.equal(a, b) for a, b in zip(before, weights(trainer), strict=True))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1]
    for name in ("loss", "intra_cos", "intra_inter_margin"):
        assert all(
            isinstance(line[f"{side}_{name}"], float) for line in lines for side in ("train", "val")
        )
    assert (tmp_path / "checkpoints" / "last.ckpt").is_file()
    assert (tmp_path / "checkpoints" / "best.ckpt").is_file()


@pytest.mark.parametrize("num_views", [2, 4, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_resume_of_an_interrupted_fit_has_the_same_bits(kind, num_views, tmp_path):
    source = MemorySource(num_views=num_views)
    whole = make(kind, num_views, tmp_path / "whole", checkpoint_every_steps=1)
    expected = whole.fit(source, source)
    broken = make(kind, num_views, tmp_path / "broken", checkpoint_every_steps=1)
    stop_before(broken, step=5)
    with pytest.raises(InterruptedFitError):
        broken.fit(source, source)
    resumed = make(kind, num_views, tmp_path / "broken", checkpoint_every_steps=1)
    assert resumed.fit(source, source, resume_from=tmp_path / "broken") == expected
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))
    lines = [(tmp_path / run / "metrics.jsonl").read_bytes() for run in ("whole", "broken")]
    assert lines[0] == lines[1]


@pytest.mark.parametrize("kind", KINDS)
def test_training_learns_to_tell_the_classes_apart(kind):
    trainer = make(kind, 4, max_epochs=8, lr=3e-3)
    result = trainer.fit(MemorySource(128, shift=2.0))
    assert result.history[-1].train_loss < result.history[0].train_loss - 0.2


def test_step_output_has_loss_and_metrics_by_name():
    trainer = make("plain", 4)
    source = MemorySource()
    output = trainer.training_step(next(source.batches(epoch=0, batch_size=16)))
    output.loss.backward()
    assert output.num_samples == 16
    assert set(output.metrics) == {"intra_cos", "intra_inter_margin"}
    assert output["loss"] is output.loss


def test_a_step_of_one_sample_leaves_the_margin_out():
    trainer = make("plain", 4)
    output = trainer.training_step(next(MemorySource().batches(epoch=0, batch_size=1)))
    assert set(output.metrics) == {"intra_cos"}


def test_a_batch_of_another_k_is_refused():
    trainer = make("plain", 4)
    batch = next(MemorySource(num_views=2).batches(epoch=0, batch_size=4))
    with pytest.raises(ContractError, match="K = num_views = 4 of the config, got K = 2"):
        trainer.training_step(batch)


def test_non_finite_embeddings_name_the_samples_and_the_step():
    trainer = make("plain", 4, max_epochs=1, calibrate=False)
    source = MemorySource()
    source.x[7] = float("nan")
    batches = list(source.batches(epoch=0, batch_size=16))
    (step,) = [n for n, batch in enumerate(batches) if "key-0-7" in batch.hashkey]
    words = rf"z_views: not finite: .* 1 of {len(batches[step])} samples, the first \['key-0-7'\]"
    with pytest.raises(ContractError, match=words) as refused:
        trainer.fit(source)
    assert refused.value.__notes__ == [f"in epoch 0, step {step}"]


@pytest.mark.parametrize("kind", KINDS)
def test_calibration_names_the_samples_that_are_not_finite(kind):
    trainer, source = make(kind, 4), MemorySource()
    source.x[7, :, 1] = float("inf")
    words = r"views_activations: not finite: .* 1 of \d+ samples, the first \['key-0-7'\]"
    with pytest.raises(ContractError, match=words):
        trainer.fit(source)


def test_a_fit_leaves_the_trainers_own_step_as_it_was():
    trainer = make("plain", 4, max_epochs=1)
    before = dict(vars(trainer))
    trainer.fit(MemorySource())
    assert {**vars(trainer), "layer_statistics": None} == before


def test_layer_aware_step_needs_view_indices():
    trainer = make("layer_aware", 4)
    batch = next(MemorySource().batches(epoch=0, batch_size=4)).replace(view_indices=None)
    with pytest.raises(ContractError, match="view_indices"):
        trainer.training_step(batch)


def test_trainers_refuse_each_others_encoders():
    plain, aware = (make(kind, 4) for kind in KINDS)
    with pytest.raises(ConfigError, match="LayerAwareContrastiveTrainer"):
        type(plain)(aware.encoder, plain.config)
    with pytest.raises(ConfigError, match="takes no layer_idx"):
        type(aware)(plain.encoder, aware.config)


def test_an_encoder_of_ones_own_trains_and_travels(tmp_path):
    trainer = ContrastiveTrainer(
        OwnEncoder(), ContrastiveTrainerConfig(max_epochs=1, accelerator="cpu"), run_dir=tmp_path
    )
    trainer.fit(MemorySource())
    again = load_encoder(tmp_path, OwnEncoder)
    x = torch.randn(3, 3, 16)
    assert torch.equal(again(x), trainer.encoder.eval()(x))


class OwnEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x).mean(1)


class InterruptedFitError(Exception):
    """Stands for whatever stops a run."""


def stop_before(trainer: ContrastiveTrainer, step: int) -> None:
    """Makes the trainer fail when it is asked for its `step`-th step, counted from 0."""
    inner, done = trainer.training_step, 0

    def training_step(batch: KViewBatch):
        nonlocal done
        if done == step:
            raise InterruptedFitError
        done += 1
        return inner(batch)

    trainer.training_step = training_step


def test_a_layer_aware_trainer_wants_its_own_config():
    aware = make("layer_aware", 4)
    with pytest.raises(ConfigError, match="takes a LayerAwareContrastiveTrainerConfig, not a Con"):
        type(aware)(aware.encoder, ContrastiveTrainerConfig())
