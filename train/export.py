"""Weights that travel: an encoder and its config in one safetensors file."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from ..contracts import CheckpointError
from .encoders import ProgressiveCompressor
from .layer_aware import LayerAwareProgressiveCompressor

ENCODER_FILE = "encoder.safetensors"
"""The encoder's name in a run's folder."""

_FORMAT = "kview-encoder/1"
_ENCODERS: Mapping[str, Callable[..., nn.Module]] = {
    cls.__name__: cls for cls in (ProgressiveCompressor, LayerAwareProgressiveCompressor)
}


def save_encoder(encoder: nn.Module, path: str | os.PathLike[str]) -> None:
    """Writes an encoder's weights, class name and config to a file, whole or not at all.

    Args:
        encoder: where it has a `config`, a dict of JSON values, that is kept with it.
        path: the file, by custom named `encoder.safetensors`.
    """
    metadata = {
        "format": _FORMAT,
        "encoder": type(encoder).__name__,
        "config": json.dumps(getattr(encoder, "config", {})),
    }
    # clones: safetensors refuses tensors that share memory
    tensors = {n: t.detach().cpu().clone() for n, t in encoder.state_dict().items()}
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(aside, "wb") as file:
        file.write(save(tensors, metadata))
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


def load_encoder(
    path: str | os.PathLike[str], encoder: Callable[..., nn.Module] | None = None
) -> nn.Module:
    """The encoder from a file, in eval mode on the CPU, with the same embeddings bit for bit.

    Args:
        path: the file, or a run's folder.
        encoder: makes an encoder of your own kind when called with the saved config's entries as
            keywords, as its class does; kview's own encoders need none.

    Raises:
        CheckpointError: the file is missing, damaged, not an encoder's, or of another class.
    """
    path = Path(path)
    if path.is_dir():
        path = path / ENCODER_FILE
    metadata, tensors = _read(path)
    name = metadata["encoder"]
    make = encoder or _ENCODERS.get(name)
    if make is None:
        raise CheckpointError(
            f"{path} holds a {name}, which is none of kview's encoders ({', '.join(_ENCODERS)}); "
            f"pass load_encoder(path, encoder={name})"
        )
    module = make(**json.loads(metadata["config"]))
    if type(module).__name__ != name:
        raise CheckpointError(
            f"{path} holds a {name}, and encoder= makes a {type(module).__name__}"
        )
    try:
        module.load_state_dict(tensors, assign=True)  # assign keeps the stored dtype
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit its {name}: {error}") from error
    return module.eval()


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path} does not exist; a run writes it when its training ends"
        ) from error
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {error}") from error
    if metadata.get("format") != _FORMAT:
        raise CheckpointError(
            f"{path} is no encoder of kview's: its format is {metadata.get('format')!r}, "
            f"not {_FORMAT!r}"
        )
    return metadata, tensors
