"""`CaptureModel`: a Hugging Face model that is asked for the hidden states of given tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..contracts import ConfigError
from .capture_requests import Kind, Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureModel:
    """A model, ready to run.

    Attributes:
        name: a hub id or a folder.
        network: of transformers, in eval mode.
        tokenizer: of transformers.
        kind: what it is.
        layers: the layer ids to keep.
        hidden_size: H.
        limit: tokens that a sequence may have.
    """

    name: str
    network: Any
    tokenizer: Any
    kind: Kind
    layers: tuple[int, ...]
    hidden_size: int
    limit: int

    @torch.inference_mode()
    def hidden_states(self, batch: Sequence[Tokens]) -> list[Tensor]:
        """The hidden states of the response tokens of each sequence, (L, T', H), on the CPU.

        Args:
            batch: the sequences; padded on the right, and masked.
        """
        B, S = len(batch), max(len(t.ids) for t in batch)
        pad = self.tokenizer.pad_token_id or 0  # what it is does not matter, for it is masked
        ids = torch.full((B, S), pad, device=self.network.device)
        mask = torch.zeros((B, S), dtype=torch.long, device=self.network.device)
        types = torch.zeros((B, S), dtype=torch.long, device=self.network.device)
        for b, sequence in enumerate(batch):
            ids[b, : len(sequence.ids)] = torch.tensor(sequence.ids)
            mask[b, : len(sequence.ids)] = 1
            if sequence.types is not None:
                types[b, : len(sequence.ids)] = torch.tensor(sequence.types)
        typed = {"token_type_ids": types} if batch[0].types is not None else {}
        states = self.network(
            input_ids=ids, attention_mask=mask, output_hidden_states=True, **typed
        ).hidden_states
        kept = [states[layer] for layer in self.layers]
        return [
            torch.stack([state[b, sequence.positions] for state in kept]).cpu()  # (L, T', H)
            for b, sequence in enumerate(batch)
        ]


def load_model(
    name: str,
    *,
    layers: Sequence[int] | None,
    kind: Kind | None,
    device: str | torch.device | None,
) -> CaptureModel:
    """Loads a model and its tokenizer; arguments as in `capture`.

    Raises:
        ConfigError: transformers is missing, or the model or a layer will not do.
    """
    transformers = _transformers()
    try:
        config = transformers.AutoConfig.from_pretrained(name)
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        network = transformers.AutoModel.from_pretrained(name, dtype="auto")
    except (OSError, ValueError) as error:
        raise ConfigError(f"model {name!r} cannot be loaded: {error}") from error
    kind = kind or _kind(transformers, config)
    text = config.get_text_config()  # of a model for texts and pictures, the part for texts
    return CaptureModel(
        name=name,
        network=network.to(_device() if device is None else torch.device(device)).eval(),
        tokenizer=tokenizer,
        kind=kind,
        layers=_layers(text.num_hidden_layers + 1, layers),
        hidden_size=text.hidden_size,
        limit=getattr(text, "max_position_embeddings", None) or 2**31,
    )


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ConfigError(
            "capture needs transformers, which is not installed: pip install 'kview[capture]'"
        ) from error
    return transformers


def _kind(transformers: Any, config: Any) -> Kind:
    """Masked language models read a pair; everything else that is no encoder-decoder is causal."""
    if getattr(config, "is_encoder_decoder", False):
        raise ConfigError(
            f"{config.model_type} is an encoder-decoder: capture takes causal models and encoders"
        )
    masked = transformers.models.auto.modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    is_encoder = config.model_type in masked and not getattr(config, "is_decoder", False)
    return "encoder" if is_encoder else "causal"


def _layers(count: int, layers: Sequence[int] | None) -> tuple[int, ...]:
    chosen = tuple(range(count)) if layers is None else tuple(layers)
    if not chosen or not all(0 <= layer < count for layer in chosen):
        raise ConfigError(
            f"layers={list(chosen)}: the model has layers 0 (embeddings) to {count - 1}"
        )
    return chosen


def _device() -> torch.device:
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")
