"""What a Fabric cannot do is a setting's error."""

import pytest

from kview.contracts import ConfigError
from kview.train import ContrastiveTrainerConfig
from kview.train.fabric import launch


@pytest.mark.filterwarnings("ignore:You passed")  # Fabric would take bf16 instead
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accelerator": "abacus"}, "accelerator='abacus', devices=1 .* do not work here"),
        ({"accelerator": "cpu", "precision": "16-mixed"}, "has no effect on a CPU; use 'bf16"),
        ({"accelerator": "cpu", "tensorboard": True}, "no effect without a run folder"),
    ],
)
def test_what_does_not_work_here_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        launch(ContrastiveTrainerConfig(**settings), None)
