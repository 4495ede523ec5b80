"""An encoder with fresh weights."""

import pytest
import torch
from torch import nn

from kview.contracts import ViewEncoder
from kview.eval import NoMetrics
from kview.eval.detection.untrained import untrained
from kview.train import LayerAwareProgressiveCompressor, LayerStatistics, ProgressiveCompressor


def trained(encoder: nn.Module) -> nn.Module:
    """The encoder with every weight moved."""
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(1.0)
    return encoder


@pytest.mark.parametrize(
    "make",
    [
        lambda: ProgressiveCompressor(8, 4),
        lambda: LayerAwareProgressiveCompressor(8, 4, layer_ids=[0, 3]),
    ],
)
def test_weights_are_drawn_as_a_new_encoder_draws_them(make):
    torch.manual_seed(7)
    new = make()
    encoder = trained(make())
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    state = torch.get_rng_state()
    found = untrained(encoder, 7)
    assert isinstance(found, nn.Module)
    drawn = dict(found.named_parameters())
    for name, value in new.named_parameters():
        assert value.shape == drawn[name].shape
        spread = (value.min().item(), value.max().item())
        assert (drawn[name].min().item(), drawn[name].max().item()) == pytest.approx(
            spread, rel=0.3, abs=0.1
        )
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(value, before[name])
    assert torch.equal(torch.get_rng_state(), state)
    again = untrained(encoder, 7)
    assert isinstance(again, nn.Module)
    for one, other in zip(found.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    other = untrained(encoder, 8)
    assert isinstance(other, nn.Module)
    assert any(
        not torch.equal(one, two)
        for one, two in zip(found.parameters(), other.parameters(), strict=True)
    )


def test_standardisation_is_kept():
    encoder = ProgressiveCompressor(3, 2)
    encoder.standardize.set_statistics(
        LayerStatistics(
            layer_ids=(5,),
            count=torch.tensor([9]),
            norm=torch.tensor([2e4]),
            mean=torch.full((1, 3), 7.0),
            std=torch.full((1, 3), 2.0),
        )
    )
    found = untrained(ViewEncoder(trained(encoder), layer_ids=[5]), 0)
    assert isinstance(found, ViewEncoder)
    assert isinstance(found.encoder, ProgressiveCompressor)
    assert found.encoder.standardize.mean.tolist() == [[7.0] * 3]
    flat = torch.randn(2, 1, 3)
    torch.testing.assert_close(
        found.encoder(flat, layer_idx=torch.zeros(2, dtype=torch.long)),
        found._call(flat, layer_idx=torch.zeros(2, dtype=torch.long)),
    )


def test_layers_start_unmodulated():
    found = untrained(trained(LayerAwareProgressiveCompressor(8, 4, layer_ids=[0, 3])), 0)
    assert isinstance(found, LayerAwareProgressiveCompressor)
    assert found.film_in is not None
    assert not found.film_in.linear.weight.any()


class OwnWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))


@pytest.mark.parametrize(
    ("encoder", "reason"),
    [
        (lambda x: x.mean(dim=1), "no parameters"),
        (nn.Identity(), "no parameters"),
        (nn.Sequential(nn.Linear(2, 2), OwnWeights()), "reset_parameters, which OwnWeights has"),
    ],
)
def test_an_encoder_that_cannot_be_started_anew_says_why(encoder, reason):
    found = untrained(encoder, 0)
    assert isinstance(found, NoMetrics)
    assert reason in found.reason
