"""An encoder as it was before training: what remains of a detector is not the training's."""

import copy
from collections.abc import Callable

import torch
from torch import nn

from ...contracts import Encoder, ViewEncoder
from .scoring import NoMetrics


def untrained(encoder: Encoder | ViewEncoder, seed: int) -> Encoder | ViewEncoder | NoMetrics:
    """A copy with fresh weights, and buffers (the standardisation of layers) as they are.

    Args:
        encoder: a module whose parameters lie in modules that have `reset_parameters`, as torch's.
        seed: of the weights.

    Returns:
        The copy; or why there is none.
    """
    if isinstance(encoder, ViewEncoder):
        fresh = untrained(encoder.encoder, seed)
        return fresh if isinstance(fresh, NoMetrics) else encoder.around(fresh)
    if not isinstance(encoder, nn.Module) or not any(True for _ in encoder.parameters()):
        return NoMetrics(reason="the encoder has no parameters: training adds nothing to it")
    kept = [
        type(module).__name__
        for module in encoder.modules()
        if any(True for _ in module.parameters(recurse=False)) and _reset(module) is None
    ]
    if kept:
        return NoMetrics(
            reason=f"fresh weights need reset_parameters, which {', '.join(sorted(set(kept)))} "
            "has not"
        )
    fresh = copy.deepcopy(encoder)
    devices = [p.device for p in fresh.parameters() if p.device.type == "cuda"]
    with torch.random.fork_rng(devices=sorted({d.index or 0 for d in devices})):
        torch.manual_seed(seed)
        fresh.apply(lambda module: (_reset(module) or (lambda: None))())
    return fresh


def _reset(module: nn.Module) -> Callable[[], None] | None:
    return getattr(module, "reset_parameters", None)
