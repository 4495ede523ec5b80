"""The rules that annotations cannot say, shared by the contracts."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from .contract import Rule, tensors_in

IGNORE_LABEL = -1
"""The label of a sample whose truth is unknown."""

_LABELS = frozenset((0, 1, IGNORE_LABEL))


def all_finite(x: Tensor) -> bool:
    """Whether no value is NaN or infinite; both survive a minimum and a maximum."""
    return bool(torch.stack(torch.aminmax(x)).isfinite().all())


def hashkeys(field: str = "hashkey") -> Rule:
    """Hashkeys are strings and not empty."""

    def keys(contract: Any) -> Iterable[str]:
        value = getattr(contract, field)
        return () if value is None else (value,) if isinstance(value, str) else value

    return Rule(
        (field,),
        "empty hashkey",
        "non-empty strings",
        lambda c: all(keys(c)),
        lambda c: f"an empty one at {[i for i, k in enumerate(keys(c)) if not k][:5]}",
        reads_values=False,
    )


def labels(field: str = "halu") -> Rule:
    """Labels are 1, 0 or -1."""

    def values(contract: Any) -> list[float]:
        value = getattr(contract, field)
        return [] if value is None else value.reshape(-1).tolist()

    def got(contract: Any) -> str:
        return str(sorted(set(values(contract)) - _LABELS, key=str)[:5])

    return Rule((field,), "label", "1, 0 or -1", lambda c: _LABELS.issuperset(values(c)), got)


def indices_not_negative() -> Rule:
    """View indices are positions, so none is negative."""
    return Rule(
        ("view_indices",),
        "negative index",
        "positions >= 0",
        lambda c: c.view_indices is None or min(c.view_indices.reshape(-1).tolist()) >= 0,
        lambda c: f"{int(c.view_indices.min())}",
    )


def indices_distinct() -> Rule:
    """A sample's views are distinct layers, unless views were drawn with replacement."""

    def rows(contract: Any) -> list[list[int]]:
        indices = contract.view_indices
        return indices.reshape(-1, indices.shape[-1]).tolist()

    def holds(contract: Any) -> bool:
        if contract.views_repeat or contract.view_indices is None:
            return True
        return all(len(set(row)) == len(row) for row in rows(contract))

    def got(contract: Any) -> str:
        sample, row = next((b, r) for b, r in enumerate(rows(contract)) if len(set(r)) < len(r))
        return f"{row} in sample {sample}"

    expected = "distinct within a sample (or views_repeat=True)"
    return Rule(("view_indices",), "repeated view", expected, holds, got)


def mask_keeps_a_token(field: str = "token_mask") -> Rule:
    """A mask keeps at least one token of every sample."""

    def empty(contract: Any) -> list[int]:
        mask = getattr(contract, field)
        return (~mask.any(-1)).reshape(-1).nonzero().flatten().tolist()

    return Rule(
        (field,),
        "empty mask",
        "at least one real token a sample",
        lambda c: getattr(c, field) is None or bool(getattr(c, field).any(-1).all()),
        lambda c: f"none in samples {empty(c)[:5]}",
    )


def not_negative(field: str) -> Rule:
    """A count is not negative."""

    def smallest(contract: Any) -> int:
        value = getattr(contract, field)
        return min(value.tolist()) if isinstance(value, Tensor) else value

    return Rule(
        (field,), "negative count", ">= 0", lambda c: smallest(c) >= 0, lambda c: f"{smallest(c)}"
    )


def one_device(*fields: str) -> Rule:
    """All tensors of a contract are on one device."""

    def devices(contract: Any) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for field in fields:
            for x in tensors_in(getattr(contract, field)):
                found.setdefault(str(x.device), []).append(field)
        return found

    def same(contract: Any) -> bool:
        return len({x.device for f in fields for x in tensors_in(getattr(contract, f))}) <= 1

    def got(contract: Any) -> str:
        return "; ".join(
            f"{d}: {', '.join(dict.fromkeys(f))}" for d, f in devices(contract).items()
        )

    return Rule(fields, "device", "one device for all tensors", same, got, reads_values=False)


def logprobs_lead(*lead: str) -> Rule:
    """The leading axes of the log-probabilities are the sample's (none) or the batch's (B)."""

    def expected_shape(contract: Any) -> tuple[int, ...]:
        return (contract.views_activations.shape[0],) if lead else ()

    def shape(contract: Any) -> tuple[int, ...]:
        return tuple(contract.logprobs.token_ids.shape)

    return Rule(
        ("logprobs", "views_activations"),
        "log-probabilities' axes",
        f"({', '.join((*lead, 'R'))})",
        lambda c: c.logprobs is None or shape(c)[:-1] == expected_shape(c),
        lambda c: f"{shape(c)}",
        reads_values=False,
    )


def finite(field: str) -> Rule:
    """At level `full`: no NaN, no infinity."""

    def got(contract: Any) -> str:
        bad = (~getattr(contract, field).isfinite()).nonzero()
        return f"{len(bad)} that are not, the first at {tuple(bad[0].tolist())}"

    return Rule(
        (field,),
        "not finite",
        "finite values",
        lambda c: all_finite(getattr(c, field)),
        got,
        full=True,
    )


def one_label_a_hashkey() -> Rule:
    """At level `full`: samples with one hashkey have one label."""

    def pairs(contract: Any) -> set[tuple[str, float]]:
        if contract.hashkey is None or contract.halu is None:
            return set()
        if len(contract.hashkey) != len(contract.halu):
            return set()  # said already, on the axis table
        return set(zip(contract.hashkey, contract.halu.tolist(), strict=True))

    def got(contract: Any) -> str:
        counts = Counter(key for key, _ in pairs(contract))
        return f"several for {[k for k, n in counts.items() if n > 1][:5]}"

    return Rule(
        ("hashkey", "halu"),
        "labels of one hashkey",
        "one label for one hashkey",
        lambda c: len(p := pairs(c)) == len({key for key, _ in p}),
        got,
        full=True,
    )
