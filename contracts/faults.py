"""Every way we know to break a K-view batch, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from .contract import build_unchecked
from .views import KViewBatch, ResponseLogprobs


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break a valid batch.

    Attributes:
        name: what is wrong.
        field: the field that an error has to name.
        spoil: the changed fields, made from a batch that has all optional fields and sizes >= 2.
        level: the lowest level at which it is refused.
    """

    name: str
    field: str
    spoil: Callable[[KViewBatch], Mapping[str, Any]]
    level: Literal["shape", "full"] = "shape"


@dataclass(frozen=True, slots=True)
class InvalidBatch:
    """A batch with one fault, built with the checks off.

    Attributes:
        fault: what is wrong.
        field: the field that an error has to name.
        level: the lowest level at which it is refused.
        batch: the batch itself.
    """

    fault: str
    field: str
    level: Literal["shape", "full"]
    batch: KViewBatch


def _fault(
    name: str, field: str, change: Callable[[Any], Any], level: Literal["shape", "full"] = "shape"
) -> Fault:
    return Fault(f"{field}: {name}", field, lambda c: {field: change(c[field])}, level)


def _logprobs_fault(name: str, field: str, change: Callable[[Any], Any]) -> Fault:
    def spoil(batch: KViewBatch) -> Mapping[str, Any]:
        logprobs = batch.logprobs
        assert logprobs is not None
        values = {**dict(logprobs), field: change(logprobs[field])}
        return {"logprobs": build_unchecked(ResponseLogprobs, values)}

    return Fault(f"logprobs.{field}: {name}", f"logprobs.{field}", spoil)


def _put(value: float) -> Callable[[Tensor], Tensor]:
    """Writes a value over the last element of a copy."""

    def change(x: Tensor) -> Tensor:
        x = x.clone()
        x.view(-1)[-1] = value
        return x

    return change


def _longer(axis: int) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.cat([x, x.narrow(axis, 0, 1)], axis)


def _shorter(axis: int) -> Callable[[Tensor], Tensor]:
    return lambda x: x.narrow(axis, 0, x.shape[axis] - 1)


def _only(axis: int, size: int) -> Callable[[Tensor], Tensor]:
    return lambda x: x.narrow(axis, 0, size)


def _first(x: Tensor) -> Tensor:
    return x[0]


def _repeat_first(x: Tensor) -> Tensor:
    x = x.clone()
    x[-1] = x[-1, 0]
    return x


def _mask_out_last(x: Tensor) -> Tensor:
    x = x.clone()
    x[-1] = False
    return x


def _one_key_two_labels(batch: KViewBatch) -> Mapping[str, Any]:
    halu = batch.halu.clone()
    halu[:2] = torch.tensor([0.0, 1.0])
    return {"hashkey": [batch.hashkey[0]] * 2 + batch.hashkey[2:], "halu": halu}


def _meta(x: Tensor) -> Tensor:
    return x.to("meta")


def _as_array(x: Tensor) -> Any:
    return x.float().numpy()


FAULTS: tuple[Fault, ...] = (
    _fault("not a list", "hashkey", tuple),
    _fault("one string", "hashkey", "".join),
    _fault("None", "hashkey", lambda _: None),
    _fault("a number among them", "hashkey", lambda keys: [*keys[:-1], 7]),
    _fault("None among them", "hashkey", lambda keys: [None, *keys[1:]]),
    _fault("bytes", "hashkey", lambda keys: [key.encode() for key in keys]),
    _fault("an empty one", "hashkey", lambda keys: [*keys[:-1], ""]),
    _fault("too short", "hashkey", lambda keys: keys[:-1]),
    _fault("too long", "hashkey", lambda keys: [*keys, "one-more"]),
    _fault("no sample", "hashkey", lambda _: []),
    _fault("int64", "halu", lambda x: x.long()),
    _fault("bool", "halu", lambda x: x > 0),
    _fault("complex", "halu", lambda x: x.to(torch.complex64)),
    _fault("a list", "halu", lambda x: x.tolist()),
    _fault("None", "halu", lambda _: None),
    _fault("scalar", "halu", lambda x: x[0]),
    _fault("a column", "halu", lambda x: x[:, None]),
    _fault("too short", "halu", _shorter(0)),
    _fault("too long", "halu", _longer(0)),
    _fault("label 2", "halu", _put(2.0)),
    _fault("label 0.5", "halu", _put(0.5)),
    _fault("label -2", "halu", _put(-2.0)),
    _fault("label NaN", "halu", _put(torch.nan)),
    _fault("label infinite", "halu", _put(torch.inf)),
    _fault("on another device", "halu", _meta),
    _fault("None", "views_activations", lambda _: None),
    _fault("numpy array", "views_activations", _as_array),
    _fault("a list of tensors", "views_activations", lambda x: list(x)),
    _fault("int32", "views_activations", lambda x: x.int()),
    _fault("complex", "views_activations", lambda x: x.to(torch.complex64)),
    _fault("no view axis", "views_activations", lambda x: x[:, 0]),
    _fault("no batch axis", "views_activations", lambda x: x[0]),
    _fault("an axis too many", "views_activations", lambda x: x[None]),
    _fault("one view", "views_activations", _only(1, 1)),
    _fault("no view", "views_activations", _only(1, 0)),
    _fault("no sample", "views_activations", _only(0, 0)),
    _fault("no token", "views_activations", _only(2, 0)),
    _fault("no hidden size", "views_activations", _only(3, 0)),
    _fault("a sample too many", "views_activations", _longer(0)),
    _fault("a view too many", "views_activations", _longer(1)),
    _fault("a token too few", "views_activations", _shorter(2)),
    _fault("a sample too few", "views_activations", _shorter(0)),
    _fault("on another device", "views_activations", _meta),
    _fault("NaN", "views_activations", _put(torch.nan), "full"),
    _fault("infinite", "views_activations", _put(torch.inf), "full"),
    _fault("minus infinite", "views_activations", _put(-torch.inf), "full"),
    _fault("float", "view_indices", lambda x: x.float()),
    _fault("bool", "view_indices", lambda x: x > 0),
    _fault("uint8", "view_indices", lambda x: x.to(torch.uint8)),
    _fault("a list of lists", "view_indices", lambda x: x.tolist()),
    _fault("flat", "view_indices", lambda x: x.flatten()),
    _fault("an axis too many", "view_indices", lambda x: x[..., None]),
    _fault("a view too few", "view_indices", _shorter(1)),
    _fault("a sample too many", "view_indices", _longer(0)),
    _fault("no view", "view_indices", _only(1, 0)),
    _fault("negative", "view_indices", _put(-1)),
    _fault("a layer twice", "view_indices", _repeat_first),
    _fault("on another device", "view_indices", _meta),
    _fault("float", "input_length", lambda x: x.float()),
    _fault("a list", "input_length", lambda x: x.tolist()),
    _fault("one number", "input_length", lambda _: 3),
    _fault("None", "input_length", lambda _: None),
    _fault("a column", "input_length", lambda x: x[:, None]),
    _fault("too short", "input_length", _shorter(0)),
    _fault("negative", "input_length", _put(-1)),
    _fault("on another device", "input_length", _meta),
    _fault("float", "token_mask", lambda x: x.float()),
    _fault("int64", "token_mask", lambda x: x.long()),
    _fault("one per view", "token_mask", lambda x: x[:, None].expand(-1, 2, -1)),
    _fault("one for all", "token_mask", lambda x: x[0]),
    _fault("a token too many", "token_mask", _longer(1)),
    _fault("a sample too few", "token_mask", _shorter(0)),
    _fault("no token of a sample", "token_mask", _mask_out_last),
    _fault("on another device", "token_mask", _meta),
    _fault("a dict", "logprobs", dict),
    _fault("a tensor", "logprobs", lambda x: x.token_logprobs),
    _fault("one sample's", "logprobs", lambda x: x.map_tensors(_first)),
    _fault("a sample too few", "logprobs", lambda x: x.map_tensors(_shorter(0))),
    _fault("on another device", "logprobs", lambda x: x.to("meta")),
    _logprobs_fault("float", "token_ids", lambda x: x.float()),
    _logprobs_fault("a token too many", "token_ids", _longer(1)),
    _logprobs_fault("int64", "token_logprobs", lambda x: x.nan_to_num().long()),
    _logprobs_fault("a sample too few", "token_logprobs", _shorter(0)),
    _logprobs_fault("float", "mask", lambda x: x.float()),
    _logprobs_fault("None", "mask", lambda _: None),
    _logprobs_fault("two axes", "topk_token_ids", lambda _: torch.zeros(1, dtype=torch.long)),
    _fault("None", "views_repeat", lambda _: None),
    _fault("a number", "views_repeat", lambda _: 1),
    _fault("a tensor", "views_repeat", lambda _: torch.tensor(False)),
    Fault("hashkey: one with two labels", "hashkey", _one_key_two_labels, "full"),
)
"""At least one fault of each kind for each field: type, rank, dtype, size, device, value."""
