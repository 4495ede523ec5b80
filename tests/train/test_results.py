"""The sums behind an epoch's metrics."""

import torch

from kview.train import EpochMetrics, StepOutput
from kview.train.results import RunningSums


def test_an_epochs_metrics_are_means_weighted_by_samples():
    sums = RunningSums()
    sums.add(
        StepOutput(
            loss=torch.tensor(2.0),
            metrics={"intra_cos": 0.5, "intra_inter_margin": 0.25},
            num_samples=3,
        )
    )
    sums.add(StepOutput(loss=torch.tensor(6.0), metrics={"intra_cos": 1.0}, num_samples=1))
    assert sums.metrics(4, 0.1) == EpochMetrics(
        epoch=4, lr=0.1, train_loss=3.0, train_intra_cos=0.625, train_intra_inter_margin=0.25
    )


def test_an_epoch_of_single_samples_has_no_margin():
    sums = RunningSums()
    sums.add(StepOutput(loss=torch.tensor(1.0), metrics={"intra_cos": 0.5}, num_samples=1))
    assert sums.metrics(0, 0.1).train_intra_inter_margin is None
