"""One row on its way into a store: the rules it keeps, and the bytes it becomes."""

import json
import operator
from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Any, Self

import google_crc32c
import numpy as np
import torch

from ...contracts import IGNORE_LABEL, ContractError, ResponseLogprobs, boundary
from ..layout.metadata import CRC_BYTES
from .arrays import LOGPROB_TYPES, fill_of
from .schema import NativeSchema

_MOST = np.iinfo(np.int32).max
_FLOATS = (torch.float16, torch.float32, torch.float64)
"""What numpy has, too; other floats become float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowValues:
    """What a row holds besides its activations; the names are those of the store's arrays.

    Attributes:
        token_count: response tokens kept.
        response_length: response tokens before truncation.
        input_length: prompt tokens.
        halu: the label.
        hashkey: the id.
        group: the group, or None.
        text: the row's line of texts.jsonl, or nothing.
        response_token_ids: (R,), -1 where there is none; None in a row without log-probabilities.
        response_token_logprobs: (R,), NaN where there is none; or None.
        response_topk_token_ids: (R, k), -1 where there is none; or None.
        response_topk_logprobs: (R, k), NaN where there is none; or None.
    """

    token_count: int
    response_length: int
    input_length: int
    halu: int
    hashkey: str
    group: str | None
    text: bytes = b""
    response_token_ids: np.ndarray | None = None
    response_token_logprobs: np.ndarray | None = None
    response_topk_token_ids: np.ndarray | None = None
    response_topk_logprobs: np.ndarray | None = None

    def without_logprobs(self) -> Self:
        """The same row without what takes most memory."""
        return replace(self, **dict.fromkeys(LOGPROB_TYPES))


def row_values(
    schema: NativeSchema,
    *,
    token_count: Any,
    response_length: Any,
    input_length: Any,
    halu: Any,
    hashkey: Any,
    group: Any,
    prompt: Any,
    response: Any,
    logprobs: Any,
) -> RowValues:
    """What `ActivationWriter.append` was given, if it can be stored.

    Raises:
        ContractError: a value breaks a rule.
    """
    tokens = _count("token_count", token_count)
    kept = min(tokens, schema.max_tokens)
    length = tokens if response_length is None else _count("response_length", response_length)
    if length < kept:
        raise refused("response_length", "length", f"at least token_count={kept}", f"{length}")
    label = _integer("halu", int(halu) if isinstance(halu, bool | np.bool_) else halu)
    if label not in (0, 1, IGNORE_LABEL):
        raise refused("halu", "label", "1, 0 or -1", f"{label}")
    key = _text("hashkey", hashkey)
    if not key:
        raise refused("hashkey", "hashkey", "a non-empty string", "''")
    if (prompt is None) != (response is None):
        raise refused(("prompt", "response"), "text", "both or neither", "one of them")
    entry = {"hashkey": key}
    if prompt is not None:
        entry |= {"prompt": _text("prompt", prompt), "response": _text("response", response)}
    return RowValues(
        token_count=kept,
        response_length=length,
        input_length=_count("input_length", input_length),
        halu=label,
        hashkey=key,
        group=None if group is None else _text("group", group),
        text=b"" if prompt is None else json.dumps(entry, ensure_ascii=False).encode() + b"\n",
        **({} if logprobs is None else logprob_tables(schema, logprobs)),
    )


@boundary
def logprob_tables(schema: NativeSchema, given: ResponseLogprobs) -> dict[str, np.ndarray]:
    """A response's log-probabilities by the names of their arrays, padded to R tokens.

    Raises:
        ContractError: they break their contract, or are not what the store has room for.
    """
    R, k = schema.logprob_tokens, schema.logprobs_top_k
    shape = tuple(given.token_ids.shape)
    if not R:
        rule = "None, for the store was made with logprob_tokens=0"
        raise refused("logprobs", "presence", rule, f"those of {shape} tokens")
    if len(shape) != 1 or shape[0] > R:
        rule = f"(R,) with at most logprob_tokens={R}"
        raise refused("logprobs", "size of R", rule, f"{shape}")
    topk, topk_ids = given.topk_logprobs, given.topk_token_ids
    sizes = [None if x is None else x.shape[1] for x in (topk_ids, topk)]
    if sizes not in ([k, k], [None, None]):
        rule = f"logprobs_top_k={k} alternatives a token, ids and values, or none of both"
        raise refused("logprobs", "size of k", rule, f"{sizes[0]} ids and {sizes[1]} values")
    own = given.token_logprobs.detach().masked_fill(~given.mask, torch.nan)
    lacking = own.isnan().logical_and(given.mask).nonzero()
    if len(lacking):
        rule = "a number wherever the mask says that there is one"
        raise refused("logprobs", "missing value", rule, f"NaN of token {lacking[0].item()}")
    for ids in (given.token_ids, topk_ids):
        if ids is not None and ids.numel() and not -1 <= int(ids.min()) <= int(ids.max()) <= _MOST:
            got = f"{int(ids.min())} to {int(ids.max())}"
            raise refused("logprobs", "range", f"token ids of -1 to {_MOST}", got)
    found = {
        "response_token_ids": given.token_ids,
        "response_token_logprobs": own.float(),
        "response_topk_token_ids": topk_ids,
        "response_topk_logprobs": None if topk is None else topk.float(),
    }
    rows = {}
    for name, values in found.items():
        if values is not None:
            row = rows[name] = np.full(schema.row_shape(name), fill_of(name), LOGPROB_TYPES[name])
            row[: len(values)] = values.detach().cpu().numpy()
    return rows


def require_place(values: RowValues, keys: Container[str], grouped: bool | None) -> None:
    """The rules between rows: ids are unique, and all rows have a group or none has.

    Args:
        values: of the row to append.
        keys: the ids of the rows before it.
        grouped: whether these have groups; None where there are none of them.

    Raises:
        ContractError: the row breaks one.
    """
    if values.hashkey in keys:
        raise refused("hashkey", "repeated hashkey", "one per store", repr(values.hashkey))
    if grouped is not None and (values.group is not None) != grouped:
        expected = "one for every row" if grouped else "none, as before"
        raise refused("group", "group", expected, repr(values.group))


def as_block(activations: Any, schema: NativeSchema, token_count: int) -> np.ndarray:
    """The activations of a row as an array.

    Raises:
        ContractError: they are not floats (L, T', H) with at least `token_count` tokens.
    """
    layers, hidden = len(schema.layers), schema.hidden_size
    expected = f"floats ({layers}, T, {hidden})"
    if isinstance(activations, torch.Tensor):
        if activations.layout != torch.strided or activations.is_meta:
            got = f"a {activations.device.type} tensor of layout {activations.layout}"
            raise refused("activations", "type", "values in memory", got)
        try:
            activations = activations.detach().cpu().resolve_neg()
            if activations.is_floating_point() and activations.dtype not in _FLOATS:
                activations = activations.float()
            activations = activations.numpy()
        except (RuntimeError, TypeError) as error:  # nested, fake, quantised, under vmap
            raise refused("activations", "type", "values in memory", f"{error!s:.80}") from error
    if not isinstance(activations, np.ndarray) or isinstance(activations, np.ma.MaskedArray):
        raise refused("activations", "type", expected, type(activations).__name__)
    shape = activations.shape
    fits = len(shape) == 3 and (shape[0], shape[2]) == (layers, hidden)
    if not fits or activations.dtype.kind != "f":
        raise refused("activations", "shape", expected, f"{activations.dtype} {shape}")
    if token_count > shape[1]:
        expected = f"at most the {shape[1]} tokens of activations"
        raise refused(("token_count", "activations"), "size of T", expected, f"{token_count}")
    return activations


def fill_row(
    stored: np.ndarray, block: np.ndarray, values: RowValues, schema: NativeSchema
) -> None:
    """Writes a row as its shard holds it: a chunk per layer, zeros behind the tokens, checksums.

    Args:
        stored: (L, bytes of a chunk and its checksum) uint8, to be filled.
        block: (L, T', H) activations.
        values: the row's other values.
        schema: the store's.

    Raises:
        ContractError: a value overflows the store's dtype.
    """
    size, tokens = schema.block_bytes, values.token_count
    for place, chunk in enumerate(stored):
        view = chunk[:size].view(schema.dtype).reshape(schema.max_tokens, schema.hidden_size)
        try:
            with np.errstate(over="raise", under="ignore", invalid="ignore"):
                view[:tokens] = block[place, :tokens]
        except FloatingPointError as error:
            top = np.abs(block[place, :tokens], dtype=np.float64).max()
            raise refused(
                "activations",
                "overflow",
                f"magnitudes that {schema.dtype} can hold (a float32 store holds more)",
                f"{top:.6g} in layer {schema.layers[place]} of {values.hashkey!r}",
            ) from error
        view[tokens:] = 0
        chunk[size:] = np.frombuffer(checksum(chunk[:size]), np.uint8)


def checksum(data: bytes | np.ndarray) -> bytes:
    """The crc32c of bytes, as Zarr's codec appends it."""
    return google_crc32c.value(data).to_bytes(CRC_BYTES, "little")


def refused(field: str | tuple[str, ...], rule: str, expected: str, got: str) -> ContractError:
    """The error of a row that cannot be appended."""
    return ContractError.of("ActivationWriter.append", field, rule, expected, got)


def _integer(field: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        got = f"{type(value).__name__} {value!r:.60}"
        raise refused(field, "type", "an integer", got) from None


def _count(field: str, value: Any) -> int:
    if isinstance(value, bool | np.bool_):
        raise refused(field, "type", "an integer", f"{type(value).__name__} {value}")
    count = _integer(field, value)
    if not 0 <= count <= _MOST:
        raise refused(field, "length", f"at least 0 and at most {_MOST}", f"{count}")
    return count


def _text(field: str, value: Any) -> str:
    if not isinstance(value, str):
        raise refused(field, "type", "a string", f"{type(value).__name__} {value!r:.60}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        got = f"{value[error.start]!r} at {error.start} of {value!r:.60}"
        raise refused(field, "text", "characters that UTF-8 has", got) from error
    return value
