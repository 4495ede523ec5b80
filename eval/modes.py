"""Evaluation mode for the length of a `with` block."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def eval_mode(model: object) -> Iterator[None]:
    """Puts a module and all inside it into eval mode without gradients, and back as they were.

    An encoder that is no `nn.Module` has no mode; only gradients are off.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    training = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        with torch.no_grad():
            yield
    finally:
        for module, was in zip(modules, training, strict=True):
            module.training = was


def device_of(model: object) -> torch.device:
    """Where a module's first parameter or buffer is; the CPU where it has none."""
    if isinstance(model, nn.Module):
        for tensor in (*model.parameters(), *model.buffers()):
            return tensor.device
    return torch.device("cpu")
