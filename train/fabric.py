"""Fabric, made from the config: device, precision, processes and loggers."""

import os

from lightning_fabric import Fabric
from lightning_fabric.loggers.tensorboard import TensorBoardLogger

from ..contracts import ConfigError
from .config import ContrastiveTrainerConfig
from .run.folder import RunFolder


def launch(config: ContrastiveTrainerConfig, folder: RunFolder | None) -> Fabric:
    """A launched Fabric; torchrun says how many processes there are, without it the config does.

    Raises:
        ConfigError: there is no such device, or a setting cannot take effect on it.
    """
    loggers = _tensorboard(folder) if config.tensorboard else None
    try:
        fabric = Fabric(
            accelerator=config.accelerator,
            devices=int(os.environ.get("LOCAL_WORLD_SIZE", config.devices)),
            num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", 1)),
            precision=config.precision,
            loggers=loggers,
        )
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"accelerator={config.accelerator!r}, devices={config.devices} and "
            f"precision={config.precision!r} do not work here: {error}"
        ) from error
    if config.precision == "16-mixed" and fabric.device.type == "cpu":
        raise ConfigError("precision='16-mixed' has no effect on a CPU; use 'bf16-mixed'")
    fabric.launch()
    return fabric


def _tensorboard(folder: RunFolder | None) -> TensorBoardLogger:
    if folder is None:
        raise ConfigError("tensorboard=True has no effect without a run folder; pass run_dir")
    try:
        return TensorBoardLogger(folder.path, name=None, version="tensorboard")
    except ModuleNotFoundError as error:
        raise ConfigError(
            "tensorboard=True needs the package tensorboardX: pip install 'kview[tensorboard]'"
        ) from error
