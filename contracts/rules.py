"""The rules that annotations cannot say, shared by the contracts."""

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor

from .checking.check import tensors_in
from .checking.report import grouped
from .checking.rule import Rule
from .errors import listed

IGNORE_LABEL = -1
"""The label of a sample whose truth is unknown."""

_LABELS = frozenset((0, 1, IGNORE_LABEL))


def all_finite(x: Tensor) -> bool:
    """Whether no value is NaN or infinite; both survive a minimum and a maximum."""
    return bool(torch.stack(torch.aminmax(_computable(x))).isfinite().all())


def hashkeys(field: str = "hashkey") -> Rule:
    """Hashkeys are strings and not empty."""

    def keys(contract: Any) -> list[str]:
        value = getattr(contract, field)
        return [] if value is None else [value] if isinstance(value, str) else value

    def got(contract: Any) -> str:
        return _at((i, repr(key)) for i, key in enumerate(keys(contract)) if not key)

    expected = "non-empty strings"
    return Rule(
        (field,), "empty hashkey", expected, lambda c: all(keys(c)), got, reads_values=False
    )


def labels(field: str = "halu") -> Rule:
    """Labels are 1, 0 or -1."""

    def holds(contract: Any) -> bool:
        return _LABELS.issuperset(_values(getattr(contract, field)))

    def got(contract: Any) -> str:
        values = _values(getattr(contract, field))
        return _at((i, value) for i, value in enumerate(values) if value not in _LABELS)

    return Rule((field,), "label", "1, 0 or -1", holds, got)


def not_negative(field: str, name: str, expected: str) -> Rule:
    """Counts and positions are not negative."""

    def holds(contract: Any) -> bool:
        return min(_values(getattr(contract, field)), default=0) >= 0

    def got(contract: Any) -> str:
        value = getattr(contract, field)
        if not isinstance(value, Tensor):
            return str(value)
        places = (value < 0).nonzero().unbind(0)
        return listed([f"{int(value[tuple(at)])} at {_place(at)}" for at in places])

    return Rule((field,), name, expected, holds, got)


def indices_distinct() -> Rule:
    """A sample's views are distinct layers, unless views were drawn with replacement."""

    def rows(contract: Any) -> list[list[int]]:
        indices = contract.view_indices
        if indices is None:
            return []
        return indices.tolist() if indices.ndim == 2 else [indices.tolist()]

    def holds(contract: Any) -> bool:
        return contract.views_repeat is True or all(
            len(set(row)) == len(row) for row in rows(contract)
        )

    def got(contract: Any) -> str:
        return _at((b, row) for b, row in enumerate(rows(contract)) if len(set(row)) < len(row))

    expected = "distinct layers within a sample, or views_repeat=True"
    return Rule(("view_indices",), "repeated view", expected, holds, got)


def mask_keeps_a_token(field: str = "token_mask") -> Rule:
    """A mask keeps at least one token of every sample."""

    def kept(contract: Any) -> list[bool]:
        mask = getattr(contract, field)
        return [] if mask is None else _values(mask.any(-1))

    def got(contract: Any) -> str:
        return _at((b, "no token") for b, any_token in enumerate(kept(contract)) if not any_token)

    expected = "at least one real token per sample"
    return Rule((field,), "empty mask", expected, lambda c: all(kept(c)), got)


def logprobs_alike() -> Rule:
    """All log-probabilities have the same leading axes: none for a sample, (B,) for a batch."""
    one, two = ("token_ids", "token_logprobs", "mask"), ("topk_token_ids", "topk_logprobs")
    own_axes = {**dict.fromkeys(one, 1), **dict.fromkeys(two, 2)}

    def leading(contract: Any) -> dict[str, tuple[int, ...]]:
        return {
            field: tuple(x.shape[:-own])
            for field, own in own_axes.items()
            if (x := getattr(contract, field)) is not None
        }

    return Rule(
        tuple(own_axes),
        "leading axes",
        "the same, () or (B,)",
        lambda c: len(set(leading(c).values())) == 1,
        lambda c: grouped(leading(c)),
        reads_values=False,
    )


def logprobs_rank(*lead: str) -> Rule:
    """The leading axes of the log-probabilities are a sample's (none) or a batch's (B)."""

    def holds(contract: Any) -> bool:
        return contract.logprobs is None or contract.logprobs.token_ids.ndim == len(lead) + 1

    def got(contract: Any) -> str:
        return f"token_ids {tuple(contract.logprobs.token_ids.shape)}"

    expected = f"({', '.join((*lead, 'R'))}{',' * (not lead)})"
    return Rule(("logprobs",), "axes", expected, holds, got, reads_values=False)


def logprobs_samples() -> Rule:
    """There are as many log-probabilities as samples."""

    def sizes(contract: Any) -> dict[str, int]:
        if contract.logprobs is None or contract.logprobs.token_ids.ndim != 2:
            return {}  # said by their rank
        ids, views = contract.logprobs.token_ids, contract.views_activations
        return {"logprobs.token_ids": ids.shape[0], "views_activations": views.shape[0]}

    return Rule(
        ("logprobs", "views_activations"),
        "axis B",
        "one size",
        lambda c: len(set(sizes(c).values())) <= 1,
        lambda c: grouped(sizes(c)),
        reads_values=False,
    )


def finite(field: str) -> Rule:
    """At level `full`: no NaN, no infinity."""

    def holds(contract: Any) -> bool:
        return all(all_finite(x) for x in tensors_in(getattr(contract, field)))

    def got(contract: Any) -> str:
        tensors = map(_computable, tensors_in(getattr(contract, field)))
        bad = [(~x.isfinite()).nonzero() for x in tensors]
        first = next(places[0] for places in bad if len(places))
        return f"{sum(map(len, bad))} NaN or infinite, the first at {_place(first)}"

    return Rule((field,), "not finite", "finite values", holds, got, full=True)


def one_label_per_hashkey() -> Rule:
    """At level `full`: samples with one hashkey have one label."""

    def labels_of(contract: Any) -> dict[str, set[float]]:
        found: dict[str, set[float]] = {}
        if contract.hashkey is not None and contract.halu is not None:
            # where the lengths differ, the table of axes says so
            for key, label in zip(contract.hashkey, contract.halu.tolist(), strict=False):
                found.setdefault(key, set()).add(label)
        return found

    def got(contract: Any) -> str:
        several = [f"{k!r} has {sorted(v)}" for k, v in labels_of(contract).items() if len(v) > 1]
        return listed(several)

    return Rule(
        ("hashkey", "halu"),
        "labels of one hashkey",
        "one label (halu) for one hashkey",
        lambda c: all(len(found) == 1 for found in labels_of(c).values()),
        got,
        full=True,
    )


def _computable(x: Tensor) -> Tensor:
    """Float32 in place of float8, which torch stores and does not compute with."""
    return x.float() if x.itemsize == 1 else x


def _values(value: Any) -> list[Any]:
    if isinstance(value, Tensor):
        return cast(list[Any], value.reshape(-1).tolist())  # pyright: ignore[reportUnknownMemberType]
    return [] if value is None else [value]


def _place(index: Tensor) -> str:
    """`3`, or `(1, 2)` where there are several axes."""
    numbers = _values(index)
    return str(numbers[0]) if len(numbers) == 1 else str(tuple(numbers))


def _at(found: Iterable[tuple[int, object]]) -> str:
    """`2.0 at 3, nan at 5`."""
    return listed([f"{value} at {i}" for i, value in found])
