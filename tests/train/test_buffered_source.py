"""Small batches joined to large ones are the large ones."""

import pytest
import torch

from helpers.sources import MemorySource
from kview.contracts import ConfigError, KViewBatch
from kview.train import ContrastiveTrainerConfig, ProgressiveCompressor, train_contrastive
from kview.train.buffered_source import BufferedSource, join_batches


def batches(source, **reading) -> list[KViewBatch]:
    return list(source.batches(epoch=1, batch_size=16, **reading))


@pytest.mark.parametrize("start_step", [0, 1, 2])
def test_joined_batches_are_the_sources_own(start_step):
    source = MemorySource(40)
    found = batches(BufferedSource(source, 4), start_step=start_step)
    expected = batches(source, start_step=start_step)
    assert [a.equals(b) for a, b in zip(found, expected, strict=True)] == [True] * len(expected)


def test_one_batch_is_joined_to_itself():
    (batch, *_) = batches(MemorySource())
    assert join_batches([batch]) is batch


@pytest.mark.parametrize("size", [0, -4])
def test_sub_batches_hold_a_sample_at_least(size):
    with pytest.raises(ConfigError, match=f"sub_batch_size={size} must be at least 1"):
        BufferedSource(MemorySource(), size)


def test_sub_batch_size_must_divide_the_batch_size():
    with pytest.raises(ConfigError, match="sub_batch_size=5 must divide batch_size=16"):
        batches(BufferedSource(MemorySource(), 5))


def test_a_run_in_sub_batches_ends_in_the_same_weights():
    ended = []
    for sub_batch_size in (None, 4):
        torch.manual_seed(0)
        encoder = ProgressiveCompressor(16, 8)
        config = ContrastiveTrainerConfig(batch_size=16, max_epochs=2, accelerator="cpu")
        train_contrastive(encoder, MemorySource(40), config=config, sub_batch_size=sub_batch_size)
        ended.append(encoder.state_dict())
    assert all(torch.equal(ended[0][name], ended[1][name]) for name in ended[0])
