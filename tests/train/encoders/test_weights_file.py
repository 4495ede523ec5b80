import os
from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kview.contracts import CheckpointError
from kview.train.encoders.layer_aware import (
    Conditioning,
    LayerAwareProgressiveCompressor,
)
from kview.train.encoders.progressive import ProgressiveCompressor
from kview.train.encoders.weights_file import load_encoder, save_encoder

LAYER_IDX = torch.tensor([0, 2, 1, 2])


class Custom(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.config = {"width": width}
        self.linear = nn.Linear(6, width)
        self.tied = self.linear

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean(1))


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)


def same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("folder", [False, True])
def test_plain_encoder_gives_the_same_bits(tmp_path: Path, dtype: torch.dtype, folder: bool):
    encoder = ProgressiveCompressor(6, 3, dropout=0.4).to(dtype)
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    loaded = load_encoder(tmp_path if folder else str(tmp_path / "encoder.safetensors"))
    assert isinstance(loaded, ProgressiveCompressor)
    assert not loaded.training
    assert encoder.training
    x = torch.randn(4, 5, 6).to(dtype)
    assert same(loaded(x), encoder.eval()(x))
    assert all(p.requires_grad for p in loaded.parameters())


@pytest.mark.parametrize("conditioning", [None, *get_args(Conditioning)])
def test_layer_aware_encoder_keeps_its_layers_and_statistics(
    tmp_path: Path, conditioning: Conditioning | None
):
    encoder = LayerAwareProgressiveCompressor(
        6, 3, layer_ids=(4, 8, 15), conditioning=conditioning
    ).eval()
    encoder.standardize.mean.normal_()
    encoder.standardize.std.uniform_(0.5, 2)
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    loaded = load_encoder(tmp_path)
    assert isinstance(loaded, LayerAwareProgressiveCompressor)
    assert loaded.layer_ids == (4, 8, 15)
    x = torch.randn(4, 5, 6)
    assert same(loaded(x, layer_idx=LAYER_IDX), encoder(x, layer_idx=LAYER_IDX))


def test_an_encoder_of_ones_own(tmp_path: Path):
    file = tmp_path / "mine.safetensors"
    encoder = Custom(5).eval()
    save_encoder(encoder, file)
    with pytest.raises(CheckpointError, match="encoder=Custom"):
        load_encoder(file)
    with pytest.raises(CheckpointError, match="makes a Bare"):
        load_encoder(file, encoder=lambda width: Bare())
    x = torch.randn(4, 5, 6)
    assert same(load_encoder(file, encoder=Custom)(x), encoder(x))
    save_encoder(Bare(), file)
    assert isinstance(load_encoder(file, encoder=Bare), Bare)


def test_saving_again_replaces_the_file_and_leaves_nothing_aside(tmp_path: Path):
    file = tmp_path / "encoder.safetensors"
    for width in (3, 4):
        save_encoder(ProgressiveCompressor(6, width), file)
    loaded = load_encoder(file)
    assert isinstance(loaded, ProgressiveCompressor)
    assert loaded.config["embedding_dim"] == 4
    assert os.listdir(tmp_path) == ["encoder.safetensors"]


def test_files_that_are_no_encoder_are_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="does not exist"):
        load_encoder(tmp_path)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"w": torch.ones(2)}, foreign)
    with pytest.raises(CheckpointError, match="format is None"):
        load_encoder(foreign)
    cut = tmp_path / "cut.safetensors"
    save_encoder(ProgressiveCompressor(6, 3), cut)
    cut.write_bytes(cut.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_encoder(cut)
    misfit = tmp_path / "misfit.safetensors"
    save_encoder(Custom(5), misfit)
    with pytest.raises(CheckpointError, match="does not fit"):
        load_encoder(misfit, encoder=lambda width: Custom(width + 1))
