"""`CaptureModel`: a Hugging Face model that is asked for what it makes of given tokens."""

import inspect
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..contracts import ConfigError, ResponseLogprobs, StoreError
from .capture_requests import Kind, Tokens

log = logging.getLogger("kview.data")


@dataclass(frozen=True, slots=True)
class Captured:
    """What a model makes of one response; on the CPU.

    Attributes:
        states: the hidden states of its tokens, (L, T', H).
        logprobs: how likely it finds its tokens, (T',); None of a model that says nothing of it.
    """

    states: Tensor
    logprobs: ResponseLogprobs | None


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
        top_k: the likeliest tokens to keep beside each; None of a network without a language
            model's head, and to keep no log-probabilities.
    """

    name: str
    network: Any
    tokenizer: Any
    kind: Kind
    layers: tuple[int, ...]
    hidden_size: int
    limit: int
    top_k: int | None

    @torch.inference_mode()
    def run(self, batch: Sequence[Tokens]) -> list[Captured]:
        """What the model makes of the response of each sequence, in one forward pass.

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
        more: dict[str, Tensor] = {"token_type_ids": types} if batch[0].types is not None else {}
        places = self._predicting(batch)
        if len(places) and _keeps_logits(self.network):
            more["logits_to_keep"] = places.to(ids.device)
        found = self.network(input_ids=ids, attention_mask=mask, output_hidden_states=True, **more)
        kept = [found.hidden_states[layer] for layer in self.layers]
        if self.top_k is not None:
            places = places if "logits_to_keep" in more else torch.arange(S)
            if found.logits.shape[1] != len(places):
                raise StoreError(
                    f"{self.name} gave logits at {found.logits.shape[1]} positions where "
                    f"{len(places)} were asked for; capture it with logprobs=False"
                )
        return [
            Captured(
                torch.stack([state[b, sequence.positions] for state in kept]).cpu(),  # (L, T', H)
                None
                if self.top_k is None
                else _logprobs(found.logits[b], places, sequence, self.top_k),
            )
            for b, sequence in enumerate(batch)
        ]

    def _predicting(self, batch: Sequence[Tokens]) -> Tensor:
        """The positions, ascending, whose next token is one of a response; none without a head."""
        if self.top_k is None:
            return torch.empty(0, dtype=torch.long)
        return torch.tensor(sorted({p - 1 for t in batch for p in t.positions if p > 0}))


def _keeps_logits(network: Any) -> bool:
    """Whether it can be told at which positions to give logits, which are large."""
    return "logits_to_keep" in inspect.signature(network.forward).parameters


def _logprobs(logits: Tensor, places: Tensor, tokens: Tokens, top_k: int) -> ResponseLogprobs:
    """The log-probabilities of a response's tokens, in float32.

    Args:
        logits: of one sequence, (P, vocabulary).
        places: their positions in it, (P,), ascending.
        tokens: the sequence.
        top_k: the likeliest tokens to keep beside each.
    """
    positions = torch.tensor(tokens.positions)
    real = positions > 0  # nothing comes before a sequence's first token
    ids = torch.tensor(tokens.ids)[positions]
    own = torch.full(ids.shape, torch.nan)
    likeliest = torch.full((len(ids), top_k), torch.nan)
    likeliest_ids = torch.full((len(ids), top_k), -1, dtype=torch.int32)
    at = torch.searchsorted(places, positions[real] - 1)
    found = logits[at.to(logits.device)].float().log_softmax(-1)  # (T', vocabulary)
    own[real] = found.gather(1, ids[real, None].to(found.device))[:, 0].cpu()
    top = found.topk(top_k)
    likeliest[real], likeliest_ids[real] = top.values.cpu(), top.indices.int().cpu()
    return ResponseLogprobs(
        token_ids=ids.int(),
        token_logprobs=own,
        mask=real,
        topk_token_ids=likeliest_ids if top_k else None,
        topk_logprobs=likeliest if top_k else None,
    )


def load_model(
    name: str,
    *,
    layers: Sequence[int] | None,
    kind: Kind | None,
    device: str | torch.device | None,
    top_k: int | None,
    required: bool,
) -> CaptureModel:
    """Loads a model and its tokenizer; arguments as in `capture`.

    Args:
        name: a hub id or a folder.
        layers: layer ids to keep, or None for all.
        kind: of the model, or None for what its configuration says.
        device: where to run, or None.
        top_k: the likeliest tokens to keep beside each, at most as many as there are; None to load
            no language model's head.
        required: a model without a head is refused, and not only warned of.

    Raises:
        ConfigError: transformers is missing, or the model, its head or a layer will not do.
    """
    transformers = _transformers()
    try:
        config = transformers.AutoConfig.from_pretrained(name)
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        kind = kind or _kind(transformers, config)
        head_wanted = top_k is not None and (required or kind == "causal")
        network = _with_head(transformers, config, name, required) if head_wanted else None
        has_head = network is not None
        if network is None:
            network = transformers.AutoModel.from_pretrained(name, dtype="auto")
    except (OSError, ValueError) as error:
        raise ConfigError(f"model {name!r} cannot be loaded: {error}") from error
    text = config.get_text_config()  # of a model for texts and pictures, the part for texts
    return CaptureModel(
        name=name,
        network=network.to(_device() if device is None else torch.device(device)).eval(),
        tokenizer=tokenizer,
        kind=kind,
        layers=_layers(text.num_hidden_layers + 1, layers),
        hidden_size=text.hidden_size,
        limit=getattr(text, "max_position_embeddings", None) or 2**31,
        top_k=min(top_k, text.vocab_size) if has_head and top_k is not None else None,
    )


def _with_head(transformers: Any, config: Any, name: str, required: bool) -> Any:
    """A causal model with its head; None where there is none and none is required.

    Raises:
        ConfigError: there is none, and one is required.
    """
    if _kind(transformers, config) == "encoder":
        why = "an encoder does not predict a next token"
    elif type(config) not in transformers.MODEL_FOR_CAUSAL_LM_MAPPING:
        why = f"transformers has no causal language model for {config.model_type}"
    else:
        network, loading = transformers.AutoModelForCausalLM.from_pretrained(
            name, dtype="auto", output_loading_info=True
        )
        missing = sorted(loading["missing_keys"])
        if not missing:
            return network
        why = f"its weights lack {', '.join(missing[:3])}"
    if required:
        raise ConfigError(f"model {name!r} gives no log-probabilities: {why}; leave logprobs out")
    log.warning("no log-probabilities are kept: %s", why)
    return None


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
