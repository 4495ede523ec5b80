"""Which batches an encoder is calibrated on."""

import pytest
import torch

from helpers.sources import MemorySource
from kview.train import (
    ContrastiveTrainer,
    ContrastiveTrainerConfig,
    ProgressiveCompressor,
    measure_layers,
)
from kview.train.calibration import calibration_epochs


@pytest.mark.parametrize(
    ("rows", "views", "layers", "epochs"),
    [
        (640, 4, 31, 8),  # until every row has had time to show all layers
        (10_000, 4, 32, 1),  # 1,250 views of a layer are enough
        (2_000, 4, 32, 4),
        (5, 4, 31, 31),  # few rows: 20 views of a layer
        (100, 8, 8, 1),
    ],
)
def test_passes_over_the_rows(rows, views, layers, epochs):
    assert calibration_epochs(rows, views, layers) == epochs


@pytest.mark.parametrize("batch_size", [5, 16, 40])
def test_the_statistics_are_those_of_the_training_batches_however_they_are_cut(batch_size):
    source = MemorySource(num_views=4)
    trainer = ContrastiveTrainer(
        ProgressiveCompressor(16, 4),
        ContrastiveTrainerConfig(max_epochs=1, accelerator="cpu", batch_size=batch_size),
    )
    trainer.fit(source)
    expected = measure_layers(
        (
            batch
            for epoch in range(2)  # 8 layers, 4 at a time
            for batch in source.batches(epoch=epoch, batch_size=40)
        ),
        source.layer_ids,
    )
    found = trainer.layer_statistics
    assert found is not None
    assert torch.equal(found.count, expected.count)
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.std, expected.std, rtol=1e-12, atol=1e-12)


def test_batches_to_calibrate_on_can_be_limited():
    trainer = ContrastiveTrainer(
        ProgressiveCompressor(16, 4),
        ContrastiveTrainerConfig(
            num_views=8, max_epochs=1, accelerator="cpu", batch_size=10, calibration_batches=2
        ),
    )
    trainer.fit(MemorySource(num_views=8))
    assert trainer.layer_statistics is not None
    assert trainer.layer_statistics.count.tolist() == [2 * 10 * 3] * 8
