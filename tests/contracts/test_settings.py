"""Settings hold what their annotations say, or one error says what is wrong with all of them."""

import dataclasses
import pickle
from typing import Annotated, Literal

import numpy as np
import pytest
from pydantic import Field

from kview.contracts import ConfigError
from kview.contracts.settings import Count, Positive, Share, settings, settings_from


@settings
class Inner:
    num_views: Annotated[int, Field(ge=2)] = 4
    temperature: Positive = 0.2
    dropout: Share = 0.1
    layers: tuple[int, ...] | None = None
    mode: Literal["mean", "maximum"] = "mean"

    def __post_init__(self) -> None:
        if self.layers is not None and self.num_views > len(self.layers):
            raise ConfigError(f"num_views={self.num_views} exceeds the {len(self.layers)} layers")


@settings
class Outer:
    inner: Inner = dataclasses.field(default_factory=Inner)
    workers: Count | None = None


def test_an_int_will_do_as_a_float_and_numpys_numbers_as_pythons():
    made = Inner(temperature=1, num_views=np.int64(3), dropout=np.float32(0.5))  # type: ignore[arg-type]
    assert made == Inner(temperature=1.0, num_views=3, dropout=0.5)
    assert [type(value) for value in dataclasses.astuple(made)[:3]] == [int, float, float]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_views": 1}, "num_views=1 should be greater than or equal to 2"),
        ({"num_views": 2.0}, "num_views=2.0 should be a valid integer"),
        ({"num_views": "2"}, "num_views='2' should be a valid integer"),
        ({"num_views": True}, "num_views=True should be a valid integer"),
        ({"temperature": True}, "temperature=True should be a valid number"),
        ({"temperature": float("inf")}, "temperature=inf should be a finite number"),
        ({"dropout": 1}, "dropout=1 should be less than 1"),
        ({"mode": "max"}, "mode='max' should be 'mean' or 'maximum'"),
        ({"temprature": 1}, "temprature is no setting; did you mean temperature?"),
        ({"layers": (0, 1)}, "num_views=4 exceeds the 2 layers"),
    ],
)
def test_a_wrong_value_is_named_with_its_rule(values, message):
    with pytest.raises(ConfigError) as error:
        Inner(**values)
    assert str(error.value).removeprefix("Inner: ") == message


def test_one_error_has_everything_that_is_wrong():
    with pytest.raises(ConfigError, match=r"num_views=1 .*; temperature=0 .*; speed is no setting"):
        Inner(num_views=1, temperature=0, speed=3)  # type: ignore[call-arg]


def test_settings_are_frozen_replaced_with_checks_and_pickled():
    made = Outer(workers=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.workers = 3  # type: ignore[misc]
    with pytest.raises(ConfigError, match="workers=0"):
        dataclasses.replace(made, workers=0)
    assert pickle.loads(pickle.dumps(made)) == made


def test_json_values_make_the_settings_they_came_from():
    made = Outer(inner=Inner(num_views=2, layers=(3, 5)), workers=1)
    assert settings_from(Outer, dataclasses.asdict(made)) == made


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inner": {"num_views": 1}}, "inner.num_views=1 should be greater"),
        ({"inner": {"spede": 1}}, "inner.spede is no setting; known are num_views"),
        ({"inner": {"layers": [1]}}, "num_views=4 exceeds the 1 layers"),
        ([1], r"\[1\] should be an object"),
    ],
)
def test_wrong_json_values_are_named_by_their_path(values, message):
    with pytest.raises(ConfigError, match=message):
        settings_from(Outer, values)
