"""The optimiser's steps: when they are taken, and the learning rate of each."""

import pytest

from kview.contracts import ConfigError
from kview.train import ContrastiveTrainerConfig
from kview.train.schedule import Schedule


def schedule(batches: int, **settings) -> Schedule:
    return Schedule(ContrastiveTrainerConfig(**{"lr": 1, "max_epochs": 1, **settings}), batches)


def rates(batches: int, **settings) -> list[float]:
    found = schedule(batches, **settings)
    return [found.learning_rate(step) for step in range(found.total)]


def test_warm_up_rises_to_the_peak():
    assert rates(6, warmup_steps=4, lr_schedule="constant") == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_cosine_falls_from_the_peak_towards_its_end():
    found = rates(100, min_lr=0.1)
    assert found[0] == 1.0
    assert found[50] == pytest.approx(0.55)
    assert found == sorted(found, reverse=True)
    assert found[-1] == pytest.approx(0.1, abs=1e-3)


def test_batches_are_grouped_and_the_rest_of_an_epoch_is_a_group_of_its_own():
    found = schedule(5, accumulate_steps=2, max_epochs=3)
    assert found.total == 9
    assert [found.group_size(batch) for batch in range(5)] == [2, 2, 2, 2, 1]
    assert [found.ends_group(batch) for batch in range(5)] == [False, True, False, True, True]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accumulate_steps": 9}, "accumulate_steps=9 exceeds the 3 batches of an epoch"),
        ({"warmup_steps": 6}, "warmup_steps=6 never ends in the run's 6 optimiser steps"),
        ({"checkpoint_every_steps": 7}, "checkpoint_every_steps=7 has no effect in the run's 6"),
        (
            {"checkpoint_every_steps": 5, "accumulate_steps": 2},
            "checkpoint_every_steps=5 has no effect in the run's 4",
        ),
    ],
)
def test_a_setting_that_cannot_take_effect_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        schedule(3, max_epochs=2, **settings)


def test_a_checkpoint_at_the_runs_last_step_is_within_it():
    assert schedule(3, max_epochs=2, checkpoint_every_steps=6, warmup_steps=5).total == 6
