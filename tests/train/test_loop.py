"""The loop: schedules, monitoring, early stopping, accumulation, chunks, agreement with sources."""

import json

import pytest
import torch

from helpers.sources import MemorySource
from kview.contracts import CheckpointError, ConfigError, checks
from kview.train import (
    ContrastiveTrainer,
    ContrastiveTrainerConfig,
    ProgressiveCompressor,
    train_contrastive,
)


def fit(source, val=None, *, run_dir=None, resume_from=None, dropout=0.0, sub=None, **settings):
    torch.manual_seed(0)
    encoder = ProgressiveCompressor(16, 8, dropout=dropout)
    settings = {"num_views": source.num_views, "batch_size": 16, "max_epochs": 2, **settings}
    result = train_contrastive(
        encoder,
        source,
        val,
        config=ContrastiveTrainerConfig(accelerator="cpu", **settings),
        sub_batch_size=sub,
        run_dir=run_dir,
        resume_from=resume_from,
    )
    return result, list(encoder.state_dict().values())


def assert_equal_weights(a, b):
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_fit_leaves_the_random_state_as_it_was():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    trainer = ContrastiveTrainer(
        ProgressiveCompressor(16, 8),
        ContrastiveTrainerConfig(max_epochs=1, accelerator="cpu"),
    )
    torch.manual_seed(3)
    trainer.fit(MemorySource())
    assert torch.equal(torch.rand(1), expected)


def test_dropout_is_a_function_of_the_seed():
    source = MemorySource()
    one, same, other = (fit(source, dropout=0.5, seed=seed)[1] for seed in (1, 1, 2))
    assert_equal_weights(one, same)
    assert any(not torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_steps_in_chunks_train_to_the_same_weights_with_one_chunk_order(dropout):
    source = MemorySource(num_views=4)
    _, plain = fit(source, dropout=0.0)
    _, chunked = fit(source, dropout=0.0, train_forward_chunk_views=3)
    for a, b in zip(plain, chunked, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    once, again = (fit(source, dropout=dropout, train_forward_chunk_views=2)[1] for _ in range(2))
    assert_equal_weights(once, again)


def test_sub_batches_are_joined_to_the_same_run():
    source = MemorySource(40)
    assert_equal_weights(fit(source)[1], fit(source, sub=4)[1])


def test_sub_batch_size_must_divide_the_batch_size():
    with pytest.raises(ConfigError, match="sub_batch_size=5 must divide batch_size=16"):
        fit(MemorySource(), sub=5)


def test_accumulation_takes_one_optimiser_step_a_group(tmp_path):
    fit(MemorySource(40), run_dir=tmp_path, accumulate_steps=2)  # 3 batches: groups of 2 and 1
    state = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert (state["epoch"], state["global_step"]) == (2, 4)


def test_accumulated_gradient_is_the_mean_over_its_batches():
    source = MemorySource(32)
    config = ContrastiveTrainerConfig(batch_size=16, accumulate_steps=2, accelerator="cpu")
    trainer = ContrastiveTrainer(ProgressiveCompressor(16, 8, dropout=0.0), config)
    batches = list(source.batches(epoch=0, batch_size=16))
    loss = torch.stack([trainer.training_step(batch).loss for batch in batches]).mean()
    expected = torch.autograd.grad(loss, list(trainer.encoder.parameters()))
    seen = []

    class Probe(torch.optim.AdamW):
        def step(self, closure=None):
            seen.append([p.grad.clone() for g in self.param_groups for p in g["params"]])
            return super().step(closure)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "AdamW", Probe)
        trainer.fit(source)
    for got, want in zip(seen[0], expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-7)


def test_early_stopping_and_the_best_epoch(tmp_path):
    source = MemorySource()
    result, _ = fit(
        source,
        source,
        run_dir=tmp_path,
        max_epochs=9,
        monitor="val_intra_cos",
        early_stopping_patience=2,
        lr=1e-8,  # moves nothing: the first epoch stays the best one, within rounding
        weight_decay=0.0,
    )
    figures = [epoch.val_intra_cos or 0.0 for epoch in result.history]
    assert result.best_epoch == max(range(len(figures)), key=figures.__getitem__)
    assert result.stopped_early == (len(figures) < 9)
    best = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["best_epoch"] == result.best_epoch
    assert best["best_loss"] == -figures[result.best_epoch]


def test_snapshots_keep_the_newest(tmp_path):
    fit(MemorySource(), run_dir=tmp_path, max_epochs=5, snapshot_every_epochs=1, keep_snapshots=2)
    names = sorted(p.name for p in (tmp_path / "checkpoints").glob("epoch-*"))
    assert names == ["epoch-00004.ckpt", "epoch-00005.ckpt"]


def test_a_changed_setting_is_named_on_resume(tmp_path):
    fit(MemorySource(), run_dir=tmp_path)
    with pytest.raises(CheckpointError, match=r"lr: here 0.5, in the checkpoint 0.001"):
        fit(MemorySource(), run_dir=tmp_path, resume_from=tmp_path, lr=0.5)


def test_other_data_is_named_on_resume(tmp_path):
    fit(MemorySource(), run_dir=tmp_path)
    with pytest.raises(CheckpointError, match=r"train: here 'memory .* in the checkpoint 'memory"):
        fit(MemorySource(seed=9), run_dir=tmp_path, resume_from=tmp_path)


def test_a_run_with_a_constant_rate_can_be_made_longer(tmp_path):
    source = MemorySource()
    fit(source, run_dir=tmp_path, lr_schedule="constant")
    longer, weights = fit(
        source, run_dir=tmp_path, resume_from=tmp_path, lr_schedule="constant", max_epochs=4
    )
    at_once, expected = fit(source, lr_schedule="constant", max_epochs=4)
    assert longer.history == at_once.history
    assert_equal_weights(weights, expected)


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    fit(MemorySource(), run_dir=tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="holds a run already"):
        fit(MemorySource(), run_dir=tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_metrics_that_were_lost_are_noticed_on_resume(tmp_path):
    fit(MemorySource(), run_dir=tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(CheckpointError, match="lines were lost"):
        fit(MemorySource(), run_dir=tmp_path, resume_from=tmp_path)


def test_a_source_that_disagrees_with_the_config_is_refused():
    with pytest.raises(ConfigError, match=r"num_views=4.* the source gives num_views=2"):
        fit(MemorySource(num_views=2), num_views=4)


def test_a_source_that_gives_too_few_batches_is_refused():
    source = MemorySource(40)
    whole = source.batches
    source.batches = lambda **reading: list(whole(**reading))[:-1].__iter__()
    with pytest.raises(ConfigError, match="gave 2 batches of 3"):
        fit(source)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"monitor": "val_loss"}, "needs a val_source"),
        ({"early_stopping_patience": 2}, "no effect without a val_source"),
    ],
)
def test_settings_that_need_a_val_source_say_so(settings, message):
    with pytest.raises(ConfigError, match=message):
        fit(MemorySource(), **settings)


def test_bf16_and_compile_train():
    result, weights = fit(MemorySource(), precision="bf16-mixed")
    assert all(torch.isfinite(w).all() for w in weights)
    assert result.history[-1].train_loss > 0


def test_checks_change_nothing_in_what_is_learnt():
    source = MemorySource()
    found = []
    for level in ("off", "shape", "full"):
        with checks(level):
            found.append(fit(source)[1])
    assert_equal_weights(found[0], found[1])
    assert_equal_weights(found[0], found[2])


def test_timings_are_kept_apart_from_metrics(tmp_path):
    fit(MemorySource(), run_dir=tmp_path)
    timing = json.loads((tmp_path / "timings.jsonl").read_text().splitlines()[0])
    assert timing["seconds"] >= timing["seconds_waiting_for_data"] >= 0


def test_tensorboard_gets_every_epochs_figures(tmp_path):
    fit(MemorySource(), run_dir=tmp_path, tensorboard=True)
    files = [p for p in (tmp_path / "tensorboard").iterdir() if p.name.startswith("events")]
    assert files
    assert b"train_intra_inter_margin" in files[0].read_bytes()


def test_tensorboard_without_a_folder_is_refused():
    with pytest.raises(ConfigError, match="no effect without a run folder"):
        fit(MemorySource(), tensorboard=True)


def test_resume_in_double_precision_is_bit_exact(tmp_path):
    def double(epochs: int, **folder):
        return fit(
            MemorySource(),
            max_epochs=epochs,
            precision="64-true",
            lr_schedule="constant",
            **folder,
        )[1]

    double(1, run_dir=tmp_path)
    assert_equal_weights(double(3, run_dir=tmp_path, resume_from=tmp_path), double(3))


def test_a_run_goes_on_in_its_own_folder_only(tmp_path):
    for name in ("one", "two"):
        fit(MemorySource(), run_dir=tmp_path / name)
    before = (tmp_path / "two" / "metrics.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="is no checkpoint of run_dir="):
        fit(MemorySource(), run_dir=tmp_path / "two", resume_from=tmp_path / "one")
    assert (tmp_path / "two" / "metrics.jsonl").read_bytes() == before


def test_a_run_from_python_keeps_its_config(tmp_path):
    fit(MemorySource(), run_dir=tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert ContrastiveTrainerConfig.from_dict(config["trainer"]).batch_size == 16
    assert config["fingerprint"]["train"] == MemorySource().fingerprint


def test_accumulation_beyond_an_epoch_is_refused():
    with pytest.raises(ConfigError, match="accumulate_steps=9 exceeds the 3 batches"):
        fit(MemorySource(40), accumulate_steps=9)


def test_a_warm_up_longer_than_the_run_is_refused():
    with pytest.raises(ConfigError, match="warmup_steps=6 never ends in the run's 6 optimiser"):
        fit(MemorySource(40), warmup_steps=6)
