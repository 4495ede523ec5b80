"""Every dimension of every layer on one scale, and back."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from helpers.sources import MemorySource
from kview.contracts import ConfigError, ContractError, FlatViews, ViewEncoder, checks
from kview.eval import embed
from kview.train import (
    ContrastiveTrainerConfig,
    LayerAwareContrastiveTrainerConfig,
    LayerAwareProgressiveCompressor,
    LayerStandardization,
    LayerStatistics,
    ProgressiveCompressor,
    load_encoder,
    make_trainer,
    save_encoder,
)

LAYERS = (3, 8, 21)


def statistics(mean: Tensor, std: Tensor) -> LayerStatistics:
    ones = torch.ones(len(mean), dtype=torch.float64)
    return LayerStatistics(layer_ids=LAYERS, count=ones.long(), mean=mean, std=std, norm=ones)


@given(
    seed=st.integers(0, 2**31),
    tokens=st.integers(1, 4),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32]),
)
@settings(max_examples=60, deadline=None)
def test_what_is_standardised_comes_back(seed: int, tokens: int, dtype: torch.dtype):
    generator = torch.Generator().manual_seed(seed)
    scale = 10 ** torch.empty(3, 5, dtype=torch.float64).uniform_(-4, 4, generator=generator)
    mean = scale * torch.randn(3, 5, generator=generator, dtype=torch.float64)
    standardize = LayerStandardization(5)
    standardize.set_statistics(statistics(mean, scale))
    layer = torch.randint(3, (6,), generator=generator)
    x = mean[layer, None] + scale[layer, None] * torch.randn(6, tokens, 5, generator=generator)
    x = x.clamp(-6e4, 6e4).to(dtype)
    y = standardize(x, layer)
    assert y.dtype == torch.float32
    expected = (x.double() - mean[layer, None]) / scale[layer, None]
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-4)
    back = standardize.inverse(y, layer).double()
    error = (back - x.double()).abs() / scale[layer, None]  # in deviations
    assert error.max() < 1e-4


def test_a_dimension_that_does_not_vary_is_shifted_only():
    mean = torch.tensor([[5.0, 2e4, 0.0]] * 3, dtype=torch.float64)
    std = torch.tensor([[0.0, 1e-4, 1e-9]] * 3, dtype=torch.float64)  # 1e-4 of 2e4 is rounding
    standardize = LayerStandardization(3)
    standardize.set_statistics(statistics(mean, std))
    y = standardize(torch.tensor([[[7.0, 2e4 + 1, 2e-9]]]), torch.tensor([1]))
    torch.testing.assert_close(y, torch.tensor([[[2.0, 1.0, 2.0]]]))


def test_statistics_of_other_layers_or_sizes_are_refused():
    aware = LayerAwareProgressiveCompressor(2, 2, layer_ids=[9, 8, 7])
    other = LayerAwareProgressiveCompressor(2, 2, layer_ids=[7, 8, 9])
    with pytest.raises(RuntimeError, match=r"layers \[7, 8, 9\], and the encoder was made for"):
        aware.load_state_dict(other.state_dict())
    zeros = torch.zeros(3, 4, dtype=torch.float64)
    with pytest.raises(ConfigError, match="H=4 do not fit layers of any kind and H=2"):
        LayerStandardization(2).set_statistics(statistics(zeros, zeros))
    with pytest.raises(ConfigError, match="must name no layer twice"):
        LayerStandardization(2, [1, 1])


def test_until_statistics_are_set_values_pass_as_they_are():
    x = torch.randn(2, 3, 4, dtype=torch.float16)
    assert torch.equal(LayerStandardization(4)(x), x)
    assert torch.equal(LayerStandardization(4).inverse(x), x)
    assert torch.equal(LayerStandardization(4, [1, 2])(x, torch.tensor([0, 1])), x.float())


def test_layers_that_are_missing_or_unknown_are_refused():
    mean, std = torch.zeros(3, 2, dtype=torch.float64), torch.ones(3, 2, dtype=torch.float64)
    std[1] = torch.nan  # no token of it was seen
    standardize = LayerStandardization(2)
    standardize.set_statistics(statistics(mean, std))
    x = torch.zeros(2, 1, 2)
    with pytest.raises(ContractError, match=r"layer_idx: missing: .* layers \[3, 8, 21\]"):
        standardize(x)
    with pytest.raises(ContractError, match=r"0 to 2, positions in .* got -1 to 0"):
        standardize(x, torch.tensor([-1, 0]))
    with pytest.raises(ContractError, match=r"has seen, \[3, 21\] .* got \[8\]"):
        standardize(x, torch.tensor([0, 1]))
    assert standardize(x, torch.tensor([0, 2])).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_an_encoder_in_half_precision_keeps_its_statistics_whole(dtype, tmp_path: Path):
    encoder = ProgressiveCompressor(16, 4)
    mean = torch.full((3, 16), 20_003.0, dtype=torch.float64)
    encoder.standardize.set_statistics(statistics(mean, torch.full_like(mean, 40.0)))
    x, layer = 20_000 + 16.0 * torch.arange(-8, 8).expand(2, 1, 16), torch.tensor([0, 2])
    expected = encoder.eval()(x, layer_idx=layer)
    half = encoder.to(dtype)
    save_encoder(half, tmp_path / "encoder.safetensors")
    for module in (half, load_encoder(tmp_path)):
        assert isinstance(module, ProgressiveCompressor)
        assert module.standardize.mean.dtype == torch.float32
        z = module(x, layer_idx=layer)
        assert z.dtype == dtype
        torch.testing.assert_close(z.float(), expected, rtol=0.05, atol=0.05)
        views = FlatViews(x=x.half(), layer_idx=layer)
        seen = ViewEncoder(module, layer_ids=LAYERS).flat(views)  # as trainers and evaluators do
        torch.testing.assert_close(seen.float(), expected, rtol=0.05, atol=0.05)
    assert encoder.double().standardize.mean.dtype == torch.float64


class HugeSource(MemorySource):
    """As a causal model's residual stream: dimensions of 2e4 and of 1e-4 beside ordinary ones."""

    def __init__(self, dtype: torch.dtype, **how) -> None:
        super().__init__(**how)
        scale = torch.ones(self.x.shape[-1])
        scale[:3], scale[3:6] = 2e3, 1e-5
        offset = torch.zeros(self.x.shape[-1])
        offset[:3], offset[3:6] = 2e4, 1e-4
        self.x = (self.x * scale + offset).to(dtype)


@pytest.mark.parametrize("aware", [False, True])
@pytest.mark.parametrize(("num_views", "tokens"), [(2, 64), (4, 1), (8, 3)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_saved_encoder_takes_the_raw_activations_that_it_was_trained_on(
    aware, num_views, tokens, dtype, tmp_path: Path
):
    source = HugeSource(dtype, num_rows=24, num_views=num_views, max_tokens=tokens)
    encoder = (
        LayerAwareProgressiveCompressor(16, 4, num_layers=8)
        if aware
        else ProgressiveCompressor(16, 4)
    )
    kind = LayerAwareContrastiveTrainerConfig if aware else ContrastiveTrainerConfig
    config = kind(
        num_views=num_views,
        batch_size=8,
        max_epochs=2,
        accelerator="cpu",
        precision="bf16-mixed",
    )
    result = make_trainer(encoder, config, run_dir=tmp_path).fit(source)
    assert all(torch.tensor(epoch.train_loss).isfinite() for epoch in result.history)
    with checks("full"):
        before, after = embed(encoder, source), embed(load_encoder(tmp_path), source)
    assert before.z_views.isfinite().all()
    assert torch.equal(before.z_views, after.z_views)
    tokens_seen = encoder.standardize(
        source.x[:, 2].float(), torch.full((24,), 2)
    )  # of one layer, as the encoder's first linear map gets them
    assert tokens_seen.abs().max() < 10
    assert 0.5 < tokens_seen.std() < 1.5


def test_a_source_without_layers_is_standardised_as_one(caplog):
    source = MemorySource()
    batches = source.batches

    def without_layers(**how):
        for batch in batches(**how):
            yield batch.replace(view_indices=None)

    source.batches = without_layers
    encoder = ProgressiveCompressor(16, 4)
    trainer = make_trainer(encoder, ContrastiveTrainerConfig(max_epochs=1, accelerator="cpu"))
    trainer.fit(source)
    assert encoder.layer_ids is None
    assert encoder.standardize.mean.shape == (1, 16)
    assert "one mean and one deviation" in caplog.text


@pytest.mark.parametrize("calibrate", [False, True])
def test_an_encoder_that_cannot_be_calibrated_is_said_to_see_raw_values(calibrate, caplog):
    class Mean(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x).mean(1)

    config = ContrastiveTrainerConfig(max_epochs=1, accelerator="cpu", calibrate=calibrate)
    make_trainer(Mean(), config).fit(MemorySource())
    assert ("sees activations as they are stored" in caplog.text) == calibrate


def test_a_calibrate_that_gives_nothing_is_one_sentence():
    class Silent(torch.nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input).mean(1)

        def calibrate(self, batches, **_) -> None:
            list(batches)

    config = ContrastiveTrainerConfig(max_epochs=1, accelerator="cpu")
    with pytest.raises(ConfigError, match=r"Silent\.calibrate gave NoneType; it must give"):
        make_trainer(Silent(16, 4), config).fit(MemorySource())
