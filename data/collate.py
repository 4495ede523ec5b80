"""`collate_kview`: items to a batch."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data._utils.collate import default_collate_fn_map

from ..contracts import KViewBatch, KViewItem, ResponseLogprobs, boundary
from ..contracts.checking.report import Report


def collate_kview(items: Sequence[KViewItem] | KViewBatch) -> KViewBatch:
    """Stacks items to a batch; a batch that has been read whole passes through.

    It is what a DataLoader that is given no `collate_fn` does with items and batches, too. Labels
    become float32. Where some items have a token mask, all tokens of the others are real.

    Args:
        items: at least one, all with the same K, T, H and dtype; or a batch.

    Raises:
        ContractError: with everything that is wrong with the items, or between them.

    Examples:
        >>> import torch
        >>> from kview.contracts import KViewItem
        >>> from kview.data import collate_kview
        >>> items = [
        ...     KViewItem(
        ...         hashkey=key,
        ...         halu=torch.tensor(1.0),
        ...         views_activations=torch.randn(2, 4, 8),
        ...         view_indices=torch.tensor([0, 3]),
        ...         input_length=5,
        ...     )
        ...     for key in ("a", "b", "c")
        ... ]
        >>> collate_kview(items).views_activations.shape
        torch.Size([3, 2, 4, 8])
    """
    return checked_batch(items) if isinstance(items, KViewBatch) else stack_items(items)


def _by_default(items: Sequence[KViewItem] | KViewBatch, *, collate_fn_map: Any) -> KViewBatch:
    return collate_kview(items)


default_collate_fn_map[KViewItem] = _by_default  # a batch's own first element is an item, too


@boundary
def checked_batch(batch: KViewBatch) -> KViewBatch:
    """The batch itself, its contract checked."""
    return batch


@boundary
def stack_items(items: Sequence[KViewItem]) -> KViewBatch:
    """A batch of at least one item; see `collate_kview`."""
    _require_alike(items)
    masks = [i.token_mask for i in items]
    return KViewBatch(
        hashkey=[i.hashkey for i in items],
        halu=torch.stack([i.halu.float() for i in items]),  # (B,)
        views_activations=torch.stack([i.views_activations for i in items]),  # (B, K, T, H)
        view_indices=torch.stack([i.view_indices for i in items]),  # (B, K)
        input_length=torch.tensor(
            [i.input_length for i in items], device=items[0].views_activations.device
        ),
        token_mask=None if all(m is None for m in masks) else _stack_masks(items),
        logprobs=_stack_logprobs([i.logprobs for i in items if i.logprobs is not None]),
        views_repeat=any(i.views_repeat for i in items),
    )


def _stack_masks(items: Sequence[KViewItem]) -> torch.Tensor:
    return torch.stack(
        [
            i.views_activations.new_ones(i.views_activations.shape[1], dtype=torch.bool)
            if i.token_mask is None
            else i.token_mask
            for i in items
        ]
    )  # (B, T)


def _stack_logprobs(found: list[ResponseLogprobs]) -> ResponseLogprobs | None:
    if not found:
        return None
    ids = [x.topk_token_ids for x in found if x.topk_token_ids is not None]
    logprobs = [x.topk_logprobs for x in found if x.topk_logprobs is not None]
    return ResponseLogprobs(
        token_ids=torch.stack([x.token_ids for x in found]),  # (B, R)
        token_logprobs=torch.stack([x.token_logprobs for x in found]),  # (B, R)
        mask=torch.stack([x.mask for x in found]),  # (B, R)
        topk_token_ids=torch.stack(ids) if ids else None,  # (B, R, k)
        topk_logprobs=torch.stack(logprobs) if logprobs else None,  # (B, R, k)
    )


_ALIKE: tuple[tuple[str, str, Callable[[KViewItem], Any]], ...] = (
    ("views_activations", "dtype", lambda i: i.views_activations.dtype),
    ("views_activations", "device", lambda i: i.views_activations.device),
    ("view_indices", "dtype", lambda i: i.view_indices.dtype),
    ("logprobs", "presence", lambda i: i.logprobs is not None),
    ("logprobs", "top-k", lambda i: i.logprobs and i.logprobs.topk_token_ids is not None),
    (
        "logprobs",
        "top-k log-probabilities",
        lambda i: i.logprobs and i.logprobs.topk_logprobs is not None,
    ),
)


def _require_alike(items: Sequence[KViewItem]) -> None:
    report = Report("collate_kview(items)")
    if not items:
        report.add(("items",), "size of B", "B >= 1", "no item")
    for field, rule, of in _ALIKE:
        found = list(dict.fromkeys(str(of(item)) for item in items))
        if len(found) > 1:
            report.add((f"items.{field}",), rule, "one for all items", ", ".join(found))
    report.raise_if_any()
