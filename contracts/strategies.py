"""hypothesis strategies for contracts: valid items and batches of any size, and named faults.

One seed is drawn and tensors are filled from it, so that examples are quick to make and to shrink.
Import it on purpose: it needs hypothesis, which `kview.contracts` does not.
"""

from collections.abc import Sequence
from typing import TypedDict, Unpack

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from torch import Tensor

from .embeddings import EmbeddingBatch
from .faults import FAULTS, Fault, InvalidBatch
from .levels import checks
from .rules import IGNORE_LABEL
from .views import KViewBatch, KViewItem, ResponseLogprobs

Size = int | SearchStrategy[int]

STORED_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
"""The dtypes that activations are stored in."""

_LABELS = (0, 1, IGNORE_LABEL)
_SMALL = st.integers(1, 5)
_VIEWS = st.integers(2, 4)


@st.composite
def kview_batches(
    draw: DrawFn,
    *,
    B: Size = _SMALL,
    K: Size = _VIEWS,
    T: Size = _SMALL,
    H: Size = _SMALL,
    layers: int | None = None,
    dtypes: Sequence[torch.dtype] = STORED_DTYPES,
    labels: Sequence[int] = _LABELS,
    view_indices: bool | None = None,
    token_mask: bool | None = None,
    logprobs: bool | None = None,
    views_repeat: bool | None = None,
    repeat_hashkeys: bool | None = None,
    elements: SearchStrategy[float] | None = None,
) -> KViewBatch:
    """Valid K-view batches.

    Of an optional part `True` means always, `False` never and `None` sometimes.

    Args:
        B: samples.
        K: views per sample.
        T: tokens.
        H: hidden size.
        layers: how many layers the views are drawn from; by default a few more than K.
        dtypes: of the activations.
        labels: what `halu` is drawn from.
        view_indices: whether the batch knows its layers.
        token_mask: whether tokens are padded; padding is zeros.
        logprobs: whether log-probabilities come along.
        views_repeat: whether views were drawn with replacement; needs `view_indices`.
        repeat_hashkeys: whether samples may share a hashkey, and with it the label.
        elements: draws the activations one by one, for special values; slow to make and to shrink.

    Examples:
        >>> from hypothesis import given
        >>> from kview.contracts.strategies import kview_batches
        >>> @given(kview_batches(K=3, T=1))
        ... def test_flattening_keeps_every_view(batch):
        ...     assert len(batch.flatten().x) == 3 * len(batch)
        >>> test_flattening_keeps_every_view()
    """
    b, k, t, h = (draw(_sizes(size)) for size in (B, K, T, H))
    indexed, masked, logged, repeat, repeat_keys = _chosen(
        draw, view_indices, token_mask, logprobs, views_repeat, repeat_hashkeys
    )
    repeat = repeat and indexed
    L = k + draw(st.integers(0, 3)) if layers is None else layers
    seed = _seed(draw)
    hashkey, halu = _samples(b, labels, repeat_keys, seed)
    x = _activations((b, k, t, h), dtypes, seed, draw, elements)
    mask = torch.arange(t) <= _below(t, b, seed)[:, None] if masked else None  # (B, T)
    if mask is not None:
        x = x * mask[:, None, :, None]
    return KViewBatch(
        hashkey=hashkey,
        halu=halu,
        views_activations=x,
        view_indices=_indices(b, k, L, repeat, seed) if indexed else None,
        input_length=_below(100, b, seed),
        token_mask=mask,
        logprobs=_logprobs(b, draw(st.integers(1, 4)), draw(st.integers(0, 2)), seed)
        if logged
        else None,
        views_repeat=repeat,
    )


class ItemParts(TypedDict, total=False):
    """The arguments that `kview_items` shares with `kview_batches`, which explains them."""

    K: Size
    T: Size
    H: Size
    layers: int | None
    dtypes: Sequence[torch.dtype]
    labels: Sequence[int]
    token_mask: bool | None
    logprobs: bool | None
    views_repeat: bool | None
    elements: SearchStrategy[float] | None


def kview_items(
    *, all_activations: bool | None = None, **parts: Unpack[ItemParts]
) -> SearchStrategy[KViewItem]:
    """Valid K-view samples; the other arguments are those of `kview_batches`.

    Args:
        all_activations: whether the activations of every layer come along.

    Examples:
        >>> from hypothesis import given
        >>> from kview.contracts.strategies import kview_items
        >>> @given(kview_items(K=3, token_mask=False))
        ... def test_an_item_has_three_views(item):
        ...     assert item.views_activations.shape[0] == 3
        >>> test_an_item_has_three_views()
    """
    batches = kview_batches(B=1, view_indices=True, **parts)
    return _items(batches, parts.get("layers"), all_activations)


@st.composite
def _items(
    draw: DrawFn,
    batches: SearchStrategy[KViewBatch],
    layers: int | None,
    all_activations: bool | None,
) -> KViewItem:
    batch = draw(batches)
    item = batch.unbatch()[0].replace(hashkey=f"sample-{draw(st.integers(0, 999))}")
    (every,) = _chosen(draw, all_activations)
    if not every:
        return item
    L = int(item.view_indices.max()) + 1 if layers is None else layers
    shown = {int(at): x for at, x in zip(item.view_indices, item.views_activations, strict=True)}
    others = torch.zeros_like(item.views_activations[0])
    return item.replace(all_activations=[shown.get(layer, others) for layer in range(L)])


@st.composite
def embedding_batches(
    draw: DrawFn,
    *,
    B: Size = _SMALL,
    K: Size = _VIEWS,
    D: Size = _SMALL,
    dtypes: Sequence[torch.dtype] = (torch.float32, torch.float64),
    labels: Sequence[int] = _LABELS,
    hashkey: bool | None = None,
    halu: bool | None = None,
    repeat_hashkeys: bool | None = None,
    elements: SearchStrategy[float] | None = None,
) -> EmbeddingBatch:
    """Valid batches of embeddings; no vector is zero, save where `elements` draws one.

    Args:
        B: samples.
        K: views per sample.
        D: embedding size.
        dtypes: of the embeddings.
        labels: what `halu` is drawn from.
        hashkey: whether the samples have ids: always, never, or (`None`) sometimes.
        halu: the same for labels.
        repeat_hashkeys: whether samples may share a hashkey, and with it the label.
        elements: draws the embeddings one by one, for special values; slow to make and to shrink.

    Examples:
        >>> from hypothesis import given
        >>> from kview.contracts.strategies import embedding_batches
        >>> @given(embedding_batches(K=2, halu=True))
        ... def test_every_sample_has_a_label(batch):
        ...     assert batch.halu.shape == (len(batch),)
        >>> test_every_sample_has_a_label()
    """
    b, k, d = (draw(_sizes(size)) for size in (B, K, D))
    keyed, labelled, repeat_keys = _chosen(draw, hashkey, halu, repeat_hashkeys)
    seed = _seed(draw)
    keys, truth = _samples(b, labels, repeat_keys, seed)
    return EmbeddingBatch(
        z_views=_activations((b, k, d), dtypes, seed, draw, elements),
        hashkey=keys if keyed else None,
        halu=truth if labelled else None,
    )


@st.composite
def invalid_kview_batches(
    draw: DrawFn, *, faults: Sequence[Fault] = FAULTS, max_size: int = 4
) -> InvalidBatch:
    """Batches with one named fault each, built with the checks off.

    The result says which fault it is, the field that an error has to name and the level at which
    it is refused: `dict(invalid.batch)` are the arguments that must not make a `KViewBatch`.

    Args:
        faults: which faults to choose from.
        max_size: the largest size of the valid batch that is then spoilt.

    Examples:
        >>> from hypothesis import given
        >>> from kview.contracts import ContractError, KViewBatch, checks
        >>> from kview.contracts.strategies import invalid_kview_batches
        >>> @given(invalid_kview_batches())
        ... def test_the_fields_name_is_in_the_report(invalid):
        ...     try:
        ...         with checks(invalid.level):
        ...             KViewBatch(**dict(invalid.batch))
        ...     except ContractError as error:
        ...         assert invalid.field in str(error)
        >>> test_the_fields_name_is_in_the_report()
    """
    fault = draw(st.sampled_from(list(faults)))
    size = st.integers(2, max(2, max_size))
    valid = draw(
        kview_batches(
            B=size,
            K=size,
            T=size,
            H=size,
            view_indices=True,
            token_mask=True,
            logprobs=True,
            views_repeat=False,
            repeat_hashkeys=False,
        )
    )
    with checks("off"):
        spoilt = KViewBatch(**{**dict(valid), **fault.spoil(valid)})
    return InvalidBatch(fault.name, fault.field, fault.level, spoilt)


def _sizes(size: Size) -> SearchStrategy[int]:
    return st.just(size) if isinstance(size, int) else size


def _chosen(draw: DrawFn, *wanted: bool | None) -> list[bool]:
    """Each wish, drawn where it is None."""
    return [draw(st.booleans()) if wish is None else wish for wish in wanted]


def _seed(draw: DrawFn) -> torch.Generator:
    return torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))


def _samples(
    b: int, labels: Sequence[int], repeat_keys: bool, seed: torch.Generator
) -> tuple[list[str], Tensor]:
    """Hashkeys and labels (B,): one label for one hashkey."""
    numbers = torch.randint(b, (b,), generator=seed) if repeat_keys else torch.arange(b)
    halu = torch.tensor(labels, dtype=torch.float32)[_below(len(labels), b, seed)][numbers]
    return [f"sample-{int(number)}" for number in numbers], halu


def _below(high: int, count: int, seed: torch.Generator) -> Tensor:
    return torch.randint(high, (count,), generator=seed)


def _activations(
    shape: tuple[int, ...],
    dtypes: Sequence[torch.dtype],
    seed: torch.Generator,
    draw: DrawFn,
    elements: SearchStrategy[float] | None,
) -> Tensor:
    dtype = draw(st.sampled_from(list(dtypes)))
    if elements is None:
        return torch.randn(shape, generator=seed).to(dtype)
    count = torch.Size(shape).numel()
    values = draw(st.lists(elements, min_size=count, max_size=count))
    return torch.tensor(values, dtype=torch.float64).reshape(shape).to(dtype)


def _indices(b: int, k: int, layers: int, repeat: bool, seed: torch.Generator) -> Tensor:
    if repeat:
        return torch.randint(layers, (b, k), generator=seed)
    return torch.rand(b, layers, generator=seed).argsort(1)[:, :k]


def _logprobs(b: int, r: int, k: int, seed: torch.Generator) -> ResponseLogprobs:
    mask = torch.rand(b, r, generator=seed) < 0.8
    ids = torch.randint(1000, (b, r), generator=seed)
    top = (b, r, k)
    return ResponseLogprobs(
        token_ids=ids.masked_fill(~mask, -1),
        token_logprobs=(-torch.rand(b, r, generator=seed)).masked_fill(~mask, torch.nan),
        mask=mask,
        topk_token_ids=torch.randint(1000, top, generator=seed) if k else None,
        topk_logprobs=-torch.rand(top, generator=seed) if k else None,
    )
