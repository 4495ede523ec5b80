"""A device by name, tried before any work is done."""

import torch

from ..contracts import ConfigError


def usable(device: str) -> str:
    """The name itself, where something can be put on such a device.

    Raises:
        ConfigError: nothing can.
    """
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).partition("\n")[0]
        raise ConfigError(f"device={device!r} does not work here: {why}; cpu does") from error
    return device
