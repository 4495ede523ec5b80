"""The settings: every bad one is refused, with the value and the rule."""

import dataclasses

import pytest

from kview.contracts import ConfigError
from kview.train import ContrastiveTrainerConfig, LayerAwareContrastiveTrainerConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_views": 1}, "num_views=1 must be at least 2"),
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"max_epochs": 0}, "max_epochs=0 must be at least 1"),
        ({"lr": 0.0}, "lr=0.0 must be greater than 0"),
        ({"temperature": -1.0}, "temperature=-1.0 must be greater than 0"),
        ({"clip_norm": 0.0}, "clip_norm=0.0 must be greater than 0"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1 must not be negative"),
        ({"num_views": 4, "train_forward_chunk_views": 4}, "has no effect unless it is below"),
        ({"lr_schedule": "constant", "min_lr": 1e-5}, "no effect with lr_schedule='constant'"),
        ({"min_lr": 1.0}, "min_lr=1.0 exceeds lr=0.001"),
        ({"keep_snapshots": 2}, "no effect without snapshot_every_epochs"),
        ({"same_sample_weight": 0.0, "same_class_weight": 0.0}, "both 0"),
        ({"batch_size": 2.5}, "batch_size=2.5 is not what it takes: int"),
        ({"lr_schedule": "linear"}, "lr_schedule='linear' is not what it takes"),
        ({"monitor": "train_los"}, "monitor='train_los' is not what it takes"),
        ({"snapshot_every_epochs": 99}, "no effect in max_epochs=20"),
        ({"use_labels": False, "same_class_weight": 2.0}, "no effect with use_labels=False"),
    ],
)
def test_a_bad_setting_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ContrastiveTrainerConfig(**settings)


def test_layer_aware_settings_are_refused_alike():
    with pytest.raises(ConfigError, match="num_views=1"):
        LayerAwareContrastiveTrainerConfig(num_views=1)
    with pytest.raises(ConfigError, match="no effect with calibrate=False"):
        LayerAwareContrastiveTrainerConfig(calibrate=False, calibration_batches=3)


@pytest.mark.parametrize("kind", [ContrastiveTrainerConfig, LayerAwareContrastiveTrainerConfig])
def test_a_config_comes_back_from_its_dict(kind):
    config = kind(num_views=6, temperature=0.1)
    assert kind.from_dict(config.to_dict()) == config


def test_unknown_keys_are_refused():
    with pytest.raises(ConfigError, match="unknown settings learning_rate"):
        ContrastiveTrainerConfig.from_dict({"learning_rate": 1e-3})


def test_a_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ContrastiveTrainerConfig().lr = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("kind", [ContrastiveTrainerConfig, LayerAwareContrastiveTrainerConfig])
def test_every_field_is_documented(kind):
    import ast
    import inspect
    import textwrap

    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(tree, ast.ClassDef)
    for field, after in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign):
            assert isinstance(after, ast.Expr), ast.unparse(field)
            assert isinstance(after.value, ast.Constant), ast.unparse(field)
