"""The settings: every bad one is refused, with the value and the rule."""

import dataclasses

import pytest

from kview.contracts import ConfigError
from kview.train import ContrastiveTrainerConfig, LayerAwareContrastiveTrainerConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_views": 1}, "num_views=1 should be greater than or equal to 2"),
        ({"batch_size": 0}, "batch_size=0 should be greater than or equal to 1"),
        ({"max_epochs": 0}, "max_epochs=0 should be greater than or equal to 1"),
        ({"lr": 0.0}, "lr=0.0 should be greater than 0"),
        ({"temperature": -1.0}, "temperature=-1.0 should be greater than 0"),
        ({"clip_norm": 0.0}, "clip_norm=0.0 should be greater than 0"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1 should be greater than or equal to 0"),
        ({"num_views": 4, "train_forward_chunk_views": 4}, "has no effect unless it is below"),
        ({"lr_schedule": "constant", "min_lr": 1e-5}, "no effect with lr_schedule='constant'"),
        ({"min_lr": 1.0}, "min_lr=1.0 exceeds lr=0.001"),
        ({"keep_snapshots": 2}, "no effect without snapshot_every_epochs"),
        ({"same_sample_weight": 0.0, "same_class_weight": 0.0}, "both 0"),
        ({"batch_size": 2.5}, "batch_size=2.5 should be a valid integer"),
        ({"lr_schedule": "linear"}, "lr_schedule='linear' should be 'constant' or 'cosine'"),
        ({"monitor": "train_los"}, "monitor='train_los' should be 'val_loss', "),
        ({"use_labels": 1}, "use_labels=1 should be a valid boolean"),
        ({"temperature": float("inf")}, "temperature=inf should be a finite number"),
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
    with pytest.raises(ConfigError, match="learning_rate is no setting; known are num_views, "):
        ContrastiveTrainerConfig.from_dict({"learning_rate": 1e-3})


def test_an_int_will_do_as_a_float():
    config = ContrastiveTrainerConfig(temperature=1, same_class_weight=2, lr=1)
    assert config.to_dict()["temperature"] == 1.0
    assert all(type(v) is float for v in (config.temperature, config.same_class_weight, config.lr))
    assert ContrastiveTrainerConfig.from_dict({"temperature": 1, "lr": 1}).temperature == 1.0


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
