"""`capture`: a Hugging Face model's hidden states of given responses, into a native store."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..contracts import ConfigError, StoreError
from .capture_requests import Kind, Request, Tokens, read_requests, tokenize
from .labels import FilePath
from .native.writer import ActivationWriter

log = logging.getLogger("kview.data")

_WINDOW = 1024
"""Requests that are sorted by length together."""


@dataclass(frozen=True, slots=True)
class CaptureProgress:
    """How far a capture is.

    Attributes:
        done: requests done, those of an earlier run included.
        total: requests in all.
        tokens_per_second: tokens that went through the model, prompts included.
    """

    done: int
    total: int
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class OutOfRange:
    """A row that was left out because the store's dtype cannot hold it.

    Attributes:
        hashkey: of the request.
        layer: the model's layer id.
        value: the largest magnitude there; NaN or infinity where the model itself gave one.
    """

    hashkey: str
    layer: int
    value: float


@dataclass(frozen=True, slots=True)
class CaptureSummary:
    """What a capture did.

    Attributes:
        rows: rows in the store.
        resumed: how many were there already.
        empty: requests whose response has no token; they have no row.
        out_of_range: rows that were left out.
        tokens_per_second: tokens that went through the model, prompts included.
    """

    rows: int
    resumed: int
    empty: int
    out_of_range: tuple[OutOfRange, ...]
    tokens_per_second: float


def capture(
    model: str | os.PathLike[str],
    input_path: FilePath,
    out: str | os.PathLike[str],
    *,
    layers: Sequence[int] | None = None,
    max_tokens: int = 64,
    batch_tokens: int = 8192,
    kind: Kind | None = None,
    device: str | torch.device | None = None,
    dtype: str = "float16",
    progress: Callable[[CaptureProgress], None] | None = None,
) -> CaptureSummary:
    """Puts prompts and responses through a model, and keeps the responses' hidden states.

    The response is given to the model, not generated (teacher forcing). Row t of a response is the
    hidden state *at the position of* response token t, so a causal model has seen tokens 0 to t
    there. Layer l is `hidden_states[l]` of transformers: 0 is the embeddings' output. Run again on
    the same store, it goes on where it was stopped.

    Args:
        model: a hub id or a folder; causal or encoder, not both in one.
        input_path: a JSONL of `prompt, response, halu?, hashkey?, group?`.
        out: where the store goes, or was left unfinished.
        layers: layer ids to keep; all by default.
        max_tokens: T, the response tokens kept at most.
        batch_tokens: tokens in a batch, padding included; one sequence may have more.
        kind: of the model; by default what its configuration says.
        device: where to run; an accelerator where there is one by default.
        dtype: of the store, float16 or float32.
        progress: told after every batch.

    Raises:
        ConfigError: transformers is missing, or the model, a layer or a setting will not do.
        LabelError: a line of the input is malformed.
        StoreError: the store cannot be written, or holds something else.
    """
    transformers = _transformers()
    requests = read_requests(input_path)
    name = os.fspath(model)
    try:
        config = transformers.AutoConfig.from_pretrained(name)
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        network = transformers.AutoModel.from_pretrained(name, dtype="auto")
    except (OSError, ValueError) as error:
        raise ConfigError(f"model {name!r} cannot be loaded: {error}") from error
    kind = kind or _kind(transformers, config)
    chosen = _layers(config, layers)
    limit = getattr(config, "max_position_embeddings", None) or 2**31
    tokens = tokenize(tokenizer, requests, kind=kind, max_tokens=max_tokens, limit=limit)
    spot = torch.device(device) if device is not None else _device()
    network = network.to(spot).eval()
    wanted = [i for i, t in enumerate(tokens) if t.positions]
    left_out: list[OutOfRange] = []
    seen, started = 0, time.perf_counter()
    with _writer(out, chosen, config, max_tokens, name, dtype) as writer:
        resumed = len(writer)
        batches = plan_batches([len(t.ids) for t in tokens], wanted, batch_tokens)
        for batch in batches:
            todo = [i for i in batch if requests[i].hashkey not in writer]
            if not todo:
                continue
            states = hidden_states(
                network, [tokens[i] for i in todo], chosen, tokenizer.pad_token_id
            )
            for i, block in zip(todo, states, strict=True):
                problem = _out_of_range(block, chosen, dtype, requests[i].hashkey)
                if problem is None:
                    _append(writer, requests[i], tokens[i], block)
                else:
                    log.warning("left out: %s", problem)
                    left_out.append(problem)
            seen += sum(len(tokens[i].ids) for i in todo)
            if progress is not None:
                rate = seen / (time.perf_counter() - started)
                progress(CaptureProgress(len(writer) + len(left_out), len(wanted), rate))
        rows = len(writer)
    empty = len(requests) - len(wanted)
    if empty:
        log.warning("%d requests have no response token and no row", empty)
    rate = seen / (time.perf_counter() - started)
    return CaptureSummary(rows, resumed, empty, tuple(left_out), rate)


def plan_batches(
    lengths: Sequence[int], wanted: Sequence[int], batch_tokens: int
) -> Iterator[list[int]]:
    """Batches of sequences of like length; a pure function, so that a resumed run plans the same.

    Args:
        lengths: tokens of every sequence.
        wanted: which sequences.
        batch_tokens: the most tokens in a batch, padding included.
    """
    for start in range(0, len(wanted), _WINDOW):
        window = sorted(wanted[start : start + _WINDOW], key=lambda i: (-lengths[i], i))
        batch: list[int] = []
        for i in window:
            if batch and (len(batch) + 1) * lengths[batch[0]] > batch_tokens:
                yield batch
                batch = []
            batch.append(i)
        yield batch


@torch.inference_mode()
def hidden_states(
    network: Any, batch: Sequence[Tokens], layers: Sequence[int], pad: int | None
) -> list[Tensor]:
    """The hidden states of the response tokens of each sequence, (L, T', H), on the CPU.

    Args:
        network: a transformers model, in eval mode.
        batch: the sequences; padded on the right, and masked.
        layers: which of its `hidden_states`.
        pad: the id to pad with; what it is does not matter, for it is masked.
    """
    B, S = len(batch), max(len(t.ids) for t in batch)
    ids = torch.full((B, S), pad or 0, device=network.device)
    mask = torch.zeros((B, S), dtype=torch.long, device=network.device)
    types = torch.zeros((B, S), dtype=torch.long, device=network.device)
    for b, sequence in enumerate(batch):
        ids[b, : len(sequence.ids)] = torch.tensor(sequence.ids)
        mask[b, : len(sequence.ids)] = 1
        if sequence.types is not None:
            types[b, : len(sequence.ids)] = torch.tensor(sequence.types)
    typed = {"token_type_ids": types} if batch[0].types is not None else {}
    states = network(
        input_ids=ids, attention_mask=mask, output_hidden_states=True, **typed
    ).hidden_states
    return [
        torch.stack([states[layer][b, sequence.positions] for layer in layers]).cpu()  # (L, T', H)
        for b, sequence in enumerate(batch)
    ]


def _append(writer: ActivationWriter, request: Request, tokens: Tokens, block: Tensor) -> None:
    writer.append(
        block,
        token_count=len(tokens.positions),
        response_length=tokens.response_length,
        input_length=tokens.input_length,
        hashkey=request.hashkey,
        halu=request.halu,
        group=request.group,
        prompt=request.prompt,
        response=request.response,
    )


def _out_of_range(
    block: Tensor, layers: Sequence[int], dtype: str, hashkey: str
) -> OutOfRange | None:
    """The first layer that the dtype cannot hold, or None."""
    tops = block.abs().amax((1, 2)).tolist()  # NaN stays NaN
    for layer, top in zip(layers, tops, strict=True):
        if not top <= float(np.finfo(dtype).max):
            return OutOfRange(hashkey, layer, top)
    return None


def _writer(
    out: str | os.PathLike[str],
    layers: Sequence[int],
    config: Any,
    max_tokens: int,
    model: str,
    dtype: str,
) -> ActivationWriter:
    if not (Path(out) / "zarr.json").exists():
        return ActivationWriter.create(
            out,
            layers=layers,
            hidden_size=config.hidden_size,
            max_tokens=max_tokens,
            model=model,
            dtype=dtype,
        )
    writer = ActivationWriter.resume(out)
    schema = writer.schema
    for name, there, here in (
        ("model", schema.model, model),
        ("layers", schema.layers, tuple(layers)),
        ("max_tokens", schema.max_tokens, max_tokens),
        ("dtype", schema.dtype, dtype),
    ):
        if there != here:
            writer.close()
            raise StoreError(f"{os.fspath(out)} was begun with {name}={there!r}, not {here!r}")
    return writer


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


def _layers(config: Any, layers: Sequence[int] | None) -> tuple[int, ...]:
    count = config.num_hidden_layers + 1
    chosen = tuple(range(count)) if layers is None else tuple(layers)
    if not chosen or not all(0 <= layer < count for layer in chosen):
        raise ConfigError(
            f"layers={list(chosen)}: the model has layers 0 (embeddings) to {count - 1}"
        )
    return chosen


def _device() -> torch.device:
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")
