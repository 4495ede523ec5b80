"""Weights that travel: an encoder and its config in one safetensors file."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from ...contracts import CheckpointError
from ..atomic_file import write_atomically
from .layer_aware import LayerAwareProgressiveCompressor
from .progressive import ProgressiveCompressor

ENCODER_FILE = "encoder.safetensors"
"""The encoder's name in a run's folder."""

_FORMAT = "kview-encoder/2"
_KEY = "kview"  # one key: safetensors writes several in no fixed order
_ENCODERS: Mapping[str, Callable[..., nn.Module]] = {
    cls.__name__: cls for cls in (ProgressiveCompressor, LayerAwareProgressiveCompressor)
}


def save_encoder(encoder: nn.Module, path: str | os.PathLike[str]) -> None:
    """Writes an encoder's weights, class name and config to a file, whole or not at all.

    Args:
        encoder: where it has a `config`, a dict of JSON values, that is kept with it.
        path: the file, by custom `encoder.safetensors`.
    """
    described = {
        "format": _FORMAT,
        "encoder": type(encoder).__name__,
        "config": getattr(encoder, "config", {}),
    }
    # clones: safetensors refuses tensors that share memory
    tensors = {n: t.detach().cpu().clone() for n, t in encoder.state_dict().items()}
    content = save(tensors, {_KEY: json.dumps(described)})
    write_atomically(Path(path), lambda file: file.write(content))


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

    Examples:
        >>> import torch, tempfile
        >>> from kview.train import ProgressiveCompressor, load_encoder, save_encoder
        >>> encoder = ProgressiveCompressor(16, 4).eval()
        >>> x = torch.randn(3, 5, 16)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_encoder(encoder, f"{folder}/encoder.safetensors")
        ...     torch.equal(load_encoder(folder)(x), encoder(x))
        True
    """
    path = Path(path)
    if path.is_dir():
        path = path / ENCODER_FILE
    described, tensors = _read(path)
    name = described["encoder"]
    make = encoder or _ENCODERS.get(name)
    if make is None:
        raise CheckpointError(
            f"{path} holds a {name}, which is none of kview's encoders ({', '.join(_ENCODERS)}); "
            f"pass load_encoder(path, encoder={name})"
        )
    try:
        module = make(**described["config"])
    except TypeError as error:
        raise CheckpointError(
            f"{path}: {name} cannot be made from its config {described['config']}: {error}; an "
            "encoder of your own keeps its arguments in a property `config`"
        ) from error
    if type(module).__name__ != name:
        raise CheckpointError(
            f"{path} holds a {name}, and encoder= makes a {type(module).__name__}"
        )
    try:
        module.load_state_dict(tensors, assign=True)  # assign keeps the stored dtype
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit its {name}: {error}") from error
    return module.eval()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        described = json.loads(metadata.get(_KEY, "{}"))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path} does not exist; a run writes it when its training ends"
        ) from error
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {error}") from error
    found = described.get("format") if isinstance(described, dict) else None
    if found != _FORMAT:
        raise CheckpointError(
            f"{path} is no encoder of this kview's: its format is {found!r}, not {_FORMAT!r}; "
            "train it again if an older kview wrote it"
        )
    if not isinstance(described.get("config"), dict) or "encoder" not in described:
        raise CheckpointError(f"{path} does not say which encoder it holds, and its config")
    return described, tensors
