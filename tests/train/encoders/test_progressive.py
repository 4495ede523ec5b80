import json
from typing import Any

import pytest
import torch
from torch import nn

from kview.contracts import ConfigError, ContractError
from kview.train.encoders.progressive import (
    ProgressiveCompressor,
    halving_widths,
    pool_tokens,
)


def test_widths_halve_down_to_the_embedding():
    assert halving_widths(4096, 512) == [4096, 2048, 1024, 512]
    assert halving_widths(384, 128) == [384, 192]
    assert halving_widths(64, 64) == [64, 64]
    assert halving_widths(16, 128) == [16, 128]


@pytest.mark.parametrize(("H", "D"), [(24, 4), (8, 8), (4, 16)])
def test_shapes_dtypes_and_gradients(H: int, D: int):
    encoder = ProgressiveCompressor(H, D)
    z = encoder(torch.randn(5, 7, H), token_mask=torch.rand(5, 7) < 2)
    assert z.shape == (5, D)
    z.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
    assert encoder.to(torch.bfloat16)(torch.randn(5, 7, H).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("padding", [0.0, 1e4])
def test_padding_does_not_matter_under_a_mask(padding: float):
    encoder = ProgressiveCompressor(12, 3).eval()
    x = torch.randn(2, 6, 12)
    mask = torch.tensor([[True] * 4 + [False] * 2, [True, False, True, False, False, False]])
    padded = torch.where(mask[:, :, None], x, padding)
    z = encoder(padded, token_mask=mask)
    for m in range(2):
        torch.testing.assert_close(z[m : m + 1], encoder(x[m : m + 1, mask[m]]))


def test_pools_mean_and_maximum_of_the_real_tokens():
    x = torch.tensor([[[1.0, 4.0], [3.0, -2.0], [9.0, 9.0]]])
    mask = torch.tensor([[True, True, False]])
    assert pool_tokens(x, mask).tolist() == [[2, 1, 3, 4]]
    assert pool_tokens(x[:, :2], None).tolist() == [[2, 1, 3, 4]]


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    encoder = ProgressiveCompressor(16, 4, dropout=0.5)
    x = torch.randn(3, 5, 16)
    assert not torch.equal(encoder(x), encoder(x))
    encoder.eval()
    assert torch.equal(encoder(x), encoder(x))


def test_config_makes_another_of_its_kind():
    encoder = ProgressiveCompressor(16, 4, dropout=0.3)
    config = json.loads(json.dumps(encoder.config))
    again = ProgressiveCompressor(**config)
    again.load_state_dict(encoder.state_dict())
    assert again.config == encoder.config
    assert next(m.p for m in again.modules() if isinstance(m, nn.Dropout)) == 0.3


@pytest.mark.parametrize(
    "setting", [{"input_dim": 0}, {"embedding_dim": 0}, {"dropout": 1.0}, {"dropout": -0.1}]
)
def test_settings_out_of_range_are_refused(setting: dict[str, Any]):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        ProgressiveCompressor(**{"input_dim": 8, **setting})


def test_another_hidden_size_is_refused_with_the_way_out():
    with pytest.raises(ContractError, match="make the encoder with input_dim=9"):
        ProgressiveCompressor(8, 2)(torch.randn(1, 2, 9))
    with pytest.raises(ContractError, match="axis T"):
        ProgressiveCompressor(8, 2)(torch.randn(1, 2, 8), token_mask=torch.ones(1, 3).bool())
