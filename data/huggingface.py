"""`capture`: what a Hugging Face model makes of given responses, into a native store."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..contracts.settings import NotNegativeInt, checked
from .capture_model import Captured, load_model
from .capture_requests import Kind, Request, Tokens, read_requests, tokenize
from .labels import FilePath
from .native.begin import create_or_resume
from .native.schema import new_schema
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
        too_long: hashkeys of requests with more tokens than the model takes; they have no row.
        out_of_range: rows that were left out.
        tokens_per_second: tokens that went through the model, prompts included.
    """

    rows: int
    resumed: int
    empty: int
    too_long: tuple[str, ...]
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
    logprobs: bool | None = None,
    logprobs_top_k: int = 20,
    progress: Callable[[CaptureProgress], None] | None = None,
) -> CaptureSummary:
    """Puts prompts and responses through a model, and keeps what it makes of the responses.

    The response is given to the model, not generated (teacher forcing). Row t of a response is the
    hidden state *at the position of* response token t, so a causal model has seen tokens 0 to t
    there. Layer l is `hidden_states[l]` of transformers: 0 is the embeddings' output. Run again on
    the same store, it goes on where it was stopped. What has to be left out is logged and counted.

    Args:
        model: a hub id or a folder; causal or encoder, not both in one.
        input_path: a JSONL of `prompt, response, halu?, hashkey?, group?`.
        out: where the store goes, or was left unfinished.
        layers: layer ids to keep; all by default.
        max_tokens: T, the response tokens kept at most.
        batch_tokens: tokens in a batch, padding included; one sequence may have more. With
            log-probabilities there is a logit for each of them and each word of the vocabulary.
        kind: of the model; by default what its configuration says.
        device: where to run; an accelerator where there is one by default.
        dtype: of the store, float16 or float32.
        logprobs: also keep how likely the model finds each response token, from the same forward
            pass, in float32; by default where it is a causal model with its head.
        logprobs_top_k: the likeliest tokens to keep beside each; the vocabulary at most.
        progress: told after every batch.

    Raises:
        ConfigError: transformers is missing, or the model, a layer or a setting will not do.
        LabelError: a line of the input is malformed.
        StoreError: the store cannot be written, or holds something else.
    """
    requests = read_requests(input_path)
    network = load_model(
        os.fspath(model),
        layers=layers,
        kind=kind,
        device=device,
        top_k=None if logprobs is False else checked(NotNegativeInt, logprobs_top_k=logprobs_top_k),
        required=logprobs is True,
    )
    tokens = tokenize(network.tokenizer, requests, kind=network.kind, max_tokens=max_tokens)
    too_long = [i for i, t in enumerate(tokens) if t.positions and len(t.ids) > network.limit]
    for i in too_long:
        log.warning(
            "left out: %r has %d tokens and the model takes %d",
            requests[i].hashkey,
            len(tokens[i].ids),
            network.limit,
        )
    empty = sum(not t.positions for t in tokens)
    if empty:
        log.warning("%d requests have no response token and no row", empty)
    left_out = set(too_long)
    wanted = [i for i, t in enumerate(tokens) if t.positions and i not in left_out]
    out_of_range: list[OutOfRange] = []
    seen, started = 0, time.perf_counter()
    wanted_store = new_schema(
        layers=network.layers,
        hidden_size=network.hidden_size,
        max_tokens=max_tokens,
        model=network.name,
        dtype=dtype,
        logprob_tokens=0 if network.top_k is None else max_tokens,
        logprobs_top_k=network.top_k or 0,
    )
    with create_or_resume(out, wanted_store) as writer:
        resumed = len(writer)
        for batch in plan_batches([len(t.ids) for t in tokens], wanted, batch_tokens):
            todo = [i for i in batch if requests[i].hashkey not in writer]
            if not todo:
                continue
            found = network.run([tokens[i] for i in todo])
            for i, each in zip(todo, found, strict=True):
                problem = _out_of_range(each.states, network.layers, dtype, requests[i].hashkey)
                if problem is None:
                    _append(writer, requests[i], tokens[i], _finite(each, requests[i].hashkey))
                else:
                    log.warning("left out: %s", problem)
                    out_of_range.append(problem)
            seen += sum(len(tokens[i].ids) for i in todo)
            if progress is not None:
                rate = seen / (time.perf_counter() - started)
                progress(CaptureProgress(len(writer) + len(out_of_range), len(wanted), rate))
        rows = len(writer)
    return CaptureSummary(
        rows=rows,
        resumed=resumed,
        empty=empty,
        too_long=tuple(requests[i].hashkey for i in too_long),
        out_of_range=tuple(out_of_range),
        tokens_per_second=seen / (time.perf_counter() - started),
    )


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


def _append(writer: ActivationWriter, request: Request, tokens: Tokens, found: Captured) -> None:
    writer.append(
        found.states,
        token_count=len(tokens.positions),
        response_length=tokens.response_length,
        input_length=tokens.input_length,
        hashkey=request.hashkey,
        halu=request.halu,
        group=request.group,
        prompt=request.prompt,
        response=request.response,
        logprobs=found.logprobs,
    )


def _finite(found: Captured, hashkey: str) -> Captured:
    """The same, without log-probabilities that are none; the log says so."""
    given = found.logprobs
    if given is None or not given.token_logprobs[given.mask].isnan().any():
        return found
    log.warning("%r has no log-probabilities: the model gave NaN", hashkey)
    return replace(found, logprobs=None)


def _out_of_range(
    block: Tensor, layers: Sequence[int], dtype: str, hashkey: str
) -> OutOfRange | None:
    """The first layer that the dtype cannot hold, or None."""
    tops = block.abs().amax((1, 2)).tolist()  # NaN stays NaN
    for layer, top in zip(layers, tops, strict=True):
        if not top <= float(np.finfo(dtype).max):
            return OutOfRange(hashkey, layer, top)
    return None
