"""The metric that says how good an epoch is."""

import pytest

from helpers.sources import MemorySource
from kview.contracts import ConfigError
from kview.train import ContrastiveTrainerConfig, EpochMetrics
from kview.train.monitor import badness, monitored, out_of_patience

METRICS = EpochMetrics(
    epoch=3,
    lr=0.1,
    train_loss=2.0,
    train_intra_cos=0.5,
    train_intra_inter_margin=0.25,
    val_loss=3.0,
    val_intra_cos=0.75,
)


def test_a_val_source_is_monitored_by_its_loss_unless_told_otherwise():
    assert monitored(ContrastiveTrainerConfig(), None) is None
    assert monitored(ContrastiveTrainerConfig(), MemorySource()) == "val_loss"
    config = ContrastiveTrainerConfig(monitor="train_loss")
    assert monitored(config, None) == monitored(config, MemorySource()) == "train_loss"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"monitor": "val_loss"}, "needs a val_source"),
        ({"early_stopping_patience": 2}, "no effect without a val_source"),
    ],
)
def test_settings_that_need_a_val_source_say_so(settings, message):
    with pytest.raises(ConfigError, match=message):
        monitored(ContrastiveTrainerConfig(**settings), None)


def test_less_is_better_for_a_loss_and_more_for_the_rest():
    assert badness(METRICS, "val_loss") == 3.0
    assert badness(METRICS, "val_intra_cos") == -0.75


def test_a_metric_without_a_value_is_refused():
    with pytest.raises(ConfigError, match="val_intra_inter_margin has no value in epoch 3"):
        badness(METRICS, "val_intra_inter_margin")


def test_patience_is_counted_from_the_best_epoch():
    patient = ContrastiveTrainerConfig(early_stopping_patience=2)
    assert [out_of_patience(patient, done, best_epoch=1) for done in (2, 3, 4, 5)] == [
        *(False, False),
        *(True, True),
    ]
    assert not out_of_patience(ContrastiveTrainerConfig(), epochs_done=99, best_epoch=0)
