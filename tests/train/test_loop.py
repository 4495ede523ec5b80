"""The loop: best epochs, early stopping, accumulation, resume, agreement with sources."""

import functools
import json
import time
from collections.abc import Iterable

import pytest
import torch

from helpers.sources import MemorySource
from kview.contracts import CheckpointError, ConfigError, ViewEncoder, checks
from kview.train import (
    ContrastiveTrainer,
    ContrastiveTrainerConfig,
    EpochMetrics,
    FitResult,
    ProgressiveCompressor,
    RunFolder,
    StepOutput,
    load_encoder,
    train_contrastive,
)
from kview.train.loop import Loop


def fit(source, val=None, *, run_dir=None, resume_from=None, dropout=0.0, **settings):
    torch.manual_seed(0)
    encoder = ProgressiveCompressor(16, 8, dropout=dropout)
    settings = {"num_views": source.num_views, "batch_size": 16, "max_epochs": 2, **settings}
    result = train_contrastive(
        encoder,
        source,
        val,
        config=ContrastiveTrainerConfig(accelerator="cpu", **settings),
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


def test_accumulation_takes_one_optimiser_step_a_group(tmp_path):
    fit(MemorySource(40), run_dir=tmp_path, accumulate_steps=2)  # 3 batches: groups of 2 and 1
    state = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert (state["epoch"], state["global_step"]) == (2, 4)


def test_accumulated_gradient_is_the_mean_over_its_batches():
    source = MemorySource(32)
    config = ContrastiveTrainerConfig(
        batch_size=16, accumulate_steps=2, accelerator="cpu", calibrate=False
    )
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


def test_checks_change_nothing_in_what_is_learnt():
    source = MemorySource()
    found = []
    for level in ("off", "shape", "full"):
        with checks(level):
            found.append(fit(source)[1])
    assert_equal_weights(found[0], found[1])
    assert_equal_weights(found[0], found[2])


def test_tensorboard_gets_every_epochs_figures(tmp_path):
    fit(MemorySource(), run_dir=tmp_path, tensorboard=True)
    files = [p for p in (tmp_path / "tensorboard").iterdir() if p.name.startswith("events")]
    assert files
    assert b"train_intra_inter_margin" in files[0].read_bytes()


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


class ScriptedStep:
    """A step whose validation losses are known beforehand; keeps the weights of every epoch."""

    def __init__(self, val_losses: Iterable[float] = ()) -> None:
        torch.manual_seed(0)
        self.encoder = ProgressiveCompressor(16, 4)
        self.val_losses = iter(val_losses)
        self.weights: list[dict[str, torch.Tensor]] = []
        self.prepared = 0

    def val_loss_fn(self, z_views, labels=None, *, sample_ids=None):
        self.weights.append({n: w.clone() for n, w in self.encoder.state_dict().items()})
        return torch.tensor(next(self.val_losses), dtype=torch.float64)

    def prepare(self, train_source):
        self.prepared += 1

    def through(self, module, layer_ids):
        views = ViewEncoder(self.encoder, layer_ids=layer_ids, module=module)

        def step(batch):
            return StepOutput(
                loss=views(batch).square().mean(),
                metrics={"intra_cos": 0.5},
                num_samples=len(batch),
            )

        return step


def run_scripted(step: ScriptedStep, folder=None, *, resume=None, **settings) -> FitResult:
    config = ContrastiveTrainerConfig(**{"batch_size": 20, "accelerator": "cpu", **settings})
    loop = Loop(
        step,
        config,
        MemorySource(),
        MemorySource(16),
        folder=None if folder is None else RunFolder(folder),
        settings={},
        progress=False,
    )
    return loop.run(resume)


@pytest.mark.parametrize(
    ("patience", "val_losses", "epochs", "best"),
    [
        (1, [3.0, 2.0, 2.5], 3, 1),
        (2, [3.0, 2.0, 2.5, 2.1], 4, 1),
        (2, [3.0, 2.0, 2.5, 1.9, 2.0, 2.1], 6, 3),
        (3, [1.0, 1.0, 1.0, 1.0], 4, 0),  # as good as before is no better
    ],
)
def test_a_run_stops_after_the_epoch_that_ends_its_patience(patience, val_losses, epochs, best):
    step = ScriptedStep(val_losses)
    result = run_scripted(step, max_epochs=9, early_stopping_patience=patience)
    assert [epoch.val_loss for epoch in result.history] == val_losses
    assert (len(result.history), result.best_epoch, result.stopped_early) == (epochs, best, True)


def test_a_run_that_keeps_improving_goes_to_its_end():
    step = ScriptedStep([3.0, 2.0, 2.5, 1.0])
    result = run_scripted(step, max_epochs=4, early_stopping_patience=2)
    assert (len(result.history), result.best_epoch, result.stopped_early) == (4, 3, False)


def test_patience_goes_on_where_a_resumed_run_stopped(tmp_path):
    settings = {"early_stopping_patience": 2, "lr_schedule": "constant"}
    run_scripted(ScriptedStep([3.0, 2.0, 2.5]), tmp_path, max_epochs=3, **settings)
    step = ScriptedStep([2.6])
    result = run_scripted(step, tmp_path, resume=tmp_path, max_epochs=9, **settings)
    assert [epoch.val_loss for epoch in result.history] == [3.0, 2.0, 2.5, 2.6]
    assert (result.best_epoch, result.stopped_early, step.prepared) == (1, True, 0)


@pytest.mark.parametrize("best", [0, 2, 4])
def test_the_exported_weights_are_the_best_epochs(best, tmp_path):
    val_losses = [2.0] * 5
    val_losses[best] = 1.0
    step = ScriptedStep(val_losses)
    result = run_scripted(step, tmp_path, max_epochs=5, monitor="val_loss")
    assert result.best_epoch == best
    assert_equal_weights(load_encoder(tmp_path).state_dict().values(), step.weights[best].values())
    kept = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)
    assert (kept["best_epoch"], kept["best_loss"], kept["epoch"]) == (best, 1.0, best + 1)
    assert_equal_weights(kept["model_state_dict"].values(), step.weights[best].values())
    assert not torch.equal(step.weights[0]["project.weight"], step.weights[2]["project.weight"])


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("best", [0, 2, 4])
def test_after_a_run_its_encoder_holds_the_weights_that_are_exported(best, in_memory, tmp_path):
    val_losses = [2.0] * 5
    val_losses[best] = 1.0
    step = ScriptedStep(val_losses)
    folder = None if in_memory else tmp_path
    run_scripted(step, folder, max_epochs=5, monitor="val_loss")
    assert_equal_weights(step.encoder.state_dict().values(), step.weights[best].values())


def test_a_run_that_goes_on_without_a_folder_remembers_its_best_epoch(tmp_path):
    settings = {"monitor": "val_loss", "lr_schedule": "constant"}
    before = ScriptedStep([1.0, 2.0])
    run_scripted(before, tmp_path, max_epochs=2, **settings)
    after = ScriptedStep([3.0, 4.0])
    run_scripted(after, resume=tmp_path, max_epochs=4, **settings)
    assert_equal_weights(after.encoder.state_dict().values(), before.weights[0].values())


def test_with_a_val_source_alone_the_last_weights_are_exported_and_the_best_kept(tmp_path):
    step = ScriptedStep([2.0, 1.0, 2.0])
    assert run_scripted(step, tmp_path, max_epochs=3).best_epoch == 1
    assert_equal_weights(load_encoder(tmp_path).state_dict().values(), step.weights[2].values())
    kept = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)
    assert_equal_weights(kept["model_state_dict"].values(), step.weights[1].values())


def test_without_a_metric_to_monitor_the_last_weights_are_exported(tmp_path):
    result, weights = fit(MemorySource(), run_dir=tmp_path)
    assert result.best_epoch == 1
    assert_equal_weights(load_encoder(tmp_path).state_dict().values(), weights)
    assert not (tmp_path / "checkpoints" / "best.ckpt").exists()


def test_a_fresh_run_prepares_its_step_once():
    step = ScriptedStep([1.0, 1.0])
    run_scripted(step, max_epochs=2)
    assert step.prepared == 1


def test_an_error_says_where_it_happened():
    class Fails(ScriptedStep):
        def through(self, module, layer_ids):
            inner, done = super().through(module, layer_ids), 0

            def step(batch):
                nonlocal done
                done += 1
                if done == 4:  # two steps an epoch
                    raise ZeroDivisionError("by the step")
                return inner(batch)

            return step

    with pytest.raises(ZeroDivisionError, match="by the step") as failed:
        run_scripted(Fails([1.0]), max_epochs=2)
    assert failed.value.__notes__ == ["in epoch 1, step 1"]


def test_a_compiled_fit_compiles_and_learns_what_an_eager_one_does():
    compiled = []

    def counting(graph, inputs):
        compiled.append(graph)
        return graph.forward

    source = MemorySource(32)
    eager = fit(source)
    torch.compiler.reset()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", functools.partial(torch.compile, backend=counting))
        result, weights = fit(source, compile=True)
    assert len(compiled) == 1  # one graph, for all batches are of one shape
    assert any(node.op == "call_function" for node in compiled[0].graph.nodes)
    assert result == eager[0]
    assert_equal_weights(weights, eager[1])


def test_bfloat16_trains_to_nearly_the_same_loss():
    full, half = (fit(MemorySource(), precision=p)[0] for p in ("32-true", "bf16-mixed"))
    assert half.history[-1].train_loss == pytest.approx(full.history[-1].train_loss, rel=0.02)
    assert half != full


def test_ints_in_an_older_checkpoint_are_the_same_settings(tmp_path):
    settings = {"temperature": 1, "same_class_weight": 2, "run_dir": tmp_path}
    fit(MemorySource(), **settings)
    last = tmp_path / "checkpoints" / "last.ckpt"
    state = torch.load(last, weights_only=True)
    state["config"] |= {"temperature": 1, "same_class_weight": 2}
    torch.save(state, last)
    result, _ = fit(MemorySource(), resume_from=tmp_path, **settings)
    assert len(result.history) == 2


def test_timings_are_kept_apart_from_metrics(tmp_path):
    class Slow(MemorySource):
        def batches(self, **reading):
            for batch in super().batches(**reading):
                time.sleep(0.005)
                yield batch

    fit(Slow(40), run_dir=tmp_path)
    timings = [json.loads(line) for line in (tmp_path / "timings.jsonl").read_text().splitlines()]
    assert [timing["epoch"] for timing in timings] == [0, 1]
    for timing in timings:  # three batches
        assert timing["seconds"] > timing["seconds_waiting_for_data"] >= 0.015
        assert timing["samples_per_second"] == pytest.approx(40 / timing["seconds"])
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0]).keys() == set(EpochMetrics.__slots__)


def test_a_checkpoint_that_is_never_due_is_refused():
    with pytest.raises(ConfigError, match="checkpoint_every_steps=7 has no effect in the run's 6"):
        fit(MemorySource(40), checkpoint_every_steps=7)
