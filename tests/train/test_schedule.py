"""The learning rate by the step."""

import pytest

from kview.train import ContrastiveTrainerConfig
from kview.train.schedule import learning_rate


def rates(total: int, **settings) -> list[float]:
    config = ContrastiveTrainerConfig(lr=1.0, **settings)
    return [learning_rate(step, total, config) for step in range(total)]


def test_warm_up_rises_to_the_peak():
    assert rates(6, warmup_steps=4, lr_schedule="constant") == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_cosine_falls_from_the_peak_towards_its_end():
    found = rates(100, min_lr=0.1)
    assert found[0] == 1.0
    assert found[50] == pytest.approx(0.55)
    assert found == sorted(found, reverse=True)
    assert found[-1] == pytest.approx(0.1, abs=1e-3)
