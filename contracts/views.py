"""The K-view contracts: one sample, a batch, and the batch's views flattened for an encoder."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from . import rules
from .boundaries import boundary
from .checking.axes import AtLeast, Len
from .checking.report import describe
from .checking.rule import Rule
from .contract import Contract, build_unchecked
from .errors import ContractError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ResponseLogprobs(Contract):
    """Log-probabilities of a response's tokens, with a mask of their own.

    For one sample the leading axes are absent, for a batch they are (B,).

    Attributes:
        token_ids: vocabulary ids of the response tokens, -1 where there is none.
        token_logprobs: natural logarithms of their probabilities, NaN where there is none.
        mask: where a log-probability was recorded.
        topk_token_ids: ids of the k likeliest tokens, -1 where there is none; or None.
        topk_logprobs: their log-probabilities, NaN where there is none; or None.

    Examples:
        >>> import torch
        >>> from kview.contracts import ResponseLogprobs
        >>> ResponseLogprobs(
        ...     token_ids=torch.tensor([[5, 9], [7, -1]]),  # (B, R)
        ...     token_logprobs=torch.tensor([[-0.1, -2.0], [-0.7, torch.nan]]),
        ...     mask=torch.tensor([[True, True], [True, False]]),
        ... )
        ResponseLogprobs(token_ids=int64 (2, 2), token_logprobs=float32 (2, 2), ...
    """

    token_ids: Int[Tensor, "... R"]
    token_logprobs: Float[Tensor, "... R"]
    mask: Bool[Tensor, "... R"]
    topk_token_ids: Int[Tensor, "... R k"] | None = None
    topk_logprobs: Float[Tensor, "... R k"] | None = None

    rules: ClassVar[tuple[Rule, ...]] = (rules.logprobs_alike(),)


_SAMPLE_RULES = (
    rules.hashkeys(),
    rules.labels(),
    rules.not_negative("input_length", "negative count", "numbers of tokens >= 0"),
    rules.not_negative("view_indices", "negative index", "positions >= 0"),
    rules.indices_distinct(),
    rules.mask_keeps_a_token(),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class KViewItem(Contract):
    """One response seen as K views.

    Attributes:
        hashkey: the sample's id.
        halu: 1 hallucinated, 0 not, -1 unlabelled.
        views_activations: the activations of K layers.
        view_indices: their positions in `relevant_layers`.
        input_length: number of prompt tokens.
        all_activations: every layer's activations where they were asked for, else empty.
        token_mask: where a response token is real; None where all are.
        logprobs: log-probabilities of the response tokens, or None.
        views_repeat: views were drawn with replacement, so indices may repeat.

    Examples:
        >>> import torch
        >>> from kview.contracts import KViewItem
        >>> item = KViewItem(
        ...     hashkey="q1",
        ...     halu=torch.tensor(1.0),
        ...     views_activations=torch.randn(4, 16, 32),  # (K, T, H)
        ...     view_indices=torch.tensor([0, 5, 2, 7]),  # (K,)
        ...     input_length=12,
        ... )
        >>> item.replace(input_length=-1)
        Traceback (most recent call last):
        kview.contracts.errors.ContractError: KViewItem breaks 1 rule of its contract:
          - input_length: negative count: expected numbers of tokens >= 0, got -1
        ...
    """

    hashkey: str
    halu: Float[Tensor, ""] | Bool[Tensor, ""] | Int[Tensor, ""]
    views_activations: Annotated[Float[Tensor, "K T H"], AtLeast(K=2, T=1, H=1)]
    view_indices: Int[Tensor, " K"]
    input_length: int
    all_activations: list[Float[Tensor, "T H"]] = field(default_factory=list[Tensor])
    token_mask: Bool[Tensor, " T"] | None = None
    logprobs: ResponseLogprobs | None = None
    views_repeat: bool = False

    rules: ClassVar[tuple[Rule, ...]] = (
        *_SAMPLE_RULES,
        rules.logprobs_rank(),
        rules.finite("views_activations"),
        rules.finite("all_activations"),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class FlatViews(Contract):
    """The M = B*K views of a batch as an encoder takes them, sample by sample.

    Attributes:
        x: the activations.
        layer_idx: position of each view's layer in `relevant_layers`, or None.
        token_mask: where a token is real, or None where all are.

    Examples:
        >>> import torch
        >>> from kview.contracts import FlatViews
        >>> FlatViews(x=torch.randn(12, 16, 32), layer_idx=torch.arange(12))
        FlatViews(x=float32 (12, 16, 32), layer_idx=int64 (12,), token_mask=None)
    """

    x: Annotated[Float[Tensor, "M T H"], AtLeast(M=1, T=1, H=1)]
    layer_idx: Int[Tensor, " M"] | None = None
    token_mask: Bool[Tensor, "M T"] | None = None

    is_batch: ClassVar[bool] = True
    rules: ClassVar[tuple[Rule, ...]] = (
        rules.not_negative("layer_idx", "negative index", "positions >= 0"),
        rules.mask_keeps_a_token(),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class KViewBatch(Contract):
    """B responses seen as K views each: the one batch that everything takes.

    Attributes:
        hashkey: the samples' ids; an id may repeat in a batch.
        halu: 1 hallucinated, 0 not, -1 unlabelled.
        views_activations: the activations; padding is zeros.
        view_indices: positions of the views' layers in `relevant_layers`, or None.
        input_length: number of prompt tokens.
        token_mask: where a response token is real; None where all are.
        logprobs: log-probabilities of the response tokens, or None.
        views_repeat: views were drawn with replacement, so a sample's indices may repeat.

    Examples:
        >>> import torch
        >>> from kview.contracts import KViewBatch
        >>> batch = KViewBatch(
        ...     hashkey=["q1", "q2", "q3"],
        ...     halu=torch.tensor([1.0, 0.0, -1.0]),  # (B,)
        ...     views_activations=torch.randn(3, 4, 16, 32),  # (B, K, T, H)
        ...     input_length=torch.tensor([12, 40, 7]),  # (B,)
        ... )
        >>> batch.flatten().x.shape
        torch.Size([12, 16, 32])
    """

    hashkey: Annotated[list[str], Len("B")]
    halu: Float[Tensor, " B"]
    views_activations: Annotated[Float[Tensor, "B K T H"], AtLeast(B=1, K=2, T=1, H=1)]
    view_indices: Int[Tensor, "B K"] | None = None
    input_length: Int[Tensor, " B"]
    token_mask: Bool[Tensor, "B T"] | None = None
    logprobs: ResponseLogprobs | None = None
    views_repeat: bool = False

    is_batch: ClassVar[bool] = True
    rules: ClassVar[tuple[Rule, ...]] = (
        *_SAMPLE_RULES,
        rules.logprobs_rank("B"),
        rules.logprobs_samples(),
        rules.finite("views_activations"),
        rules.one_label_per_hashkey(),
    )

    def __len__(self) -> int:
        """The number of samples, B."""
        return len(self.hashkey)

    @property
    def num_views(self) -> int:
        """K."""
        return self.views_activations.shape[1]

    def flatten(self) -> FlatViews:
        """The views as (M, T, H), M = B*K, sample by sample: a reshape, no copy of activations."""
        x = self.views_activations.flatten(0, 1)  # (B*K, T, H)
        layer_idx = None if self.view_indices is None else self.view_indices.flatten()
        mask = self.token_mask
        if mask is not None:
            mask = mask.repeat_interleave(self.num_views, dim=0)  # (B*K, T)
        return build_unchecked(FlatViews, {"x": x, "layer_idx": layer_idx, "token_mask": mask})

    def unbatch(self) -> list[KViewItem]:
        """The samples one by one; tensors are views into the batch's.

        Raises:
            ContractError: the batch has no `view_indices`, which an item must have.
        """
        return [self._sample(b) for b in range(len(self))]

    def __getitem__(self, name: str | int) -> Any:
        """A field by its name; or a sample by its place, as in a list of samples.

        Raises:
            KeyError: there is no such field.
            IndexError: there is no such sample.
            ContractError: the batch has no `view_indices`, which an item must have.
        """
        if not isinstance(name, int):
            return Contract.__getitem__(self, name)
        return self._sample(range(len(self))[name])

    def _sample(self, b: int) -> KViewItem:
        if self.view_indices is None:
            raise ContractError.of("KViewItem", "view_indices", "missing", "Int (B, K)", "None")
        return KViewItem(
            hashkey=self.hashkey[b],
            halu=self.halu[b],
            views_activations=self.views_activations[b],
            view_indices=self.view_indices[b],
            input_length=int(self.input_length[b]),
            token_mask=None if self.token_mask is None else self.token_mask[b],
            logprobs=None if self.logprobs is None else self.logprobs.map_tensors(lambda x: x[b]),
            views_repeat=self.views_repeat,
        )


@boundary
def restore_views(z: Float[Tensor, "M D"], num_views: int) -> Float[Tensor, "B K D"]:
    """Undoes `KViewBatch.flatten` for embeddings.

    Args:
        z: embeddings of flattened views, (M, D), M = B*K, sample by sample.
        num_views: K.

    Returns:
        (B, K, D), sharing memory with `z` where it is contiguous.

    Raises:
        ContractError: `z` has not two axes, or M is no multiple of K.

    Examples:
        >>> import torch
        >>> from kview.contracts import restore_views
        >>> restore_views(torch.randn(12, 8), num_views=4).shape
        torch.Size([3, 4, 8])
    """
    if not torch.compiler.is_compiling() and (num_views < 1 or z.shape[0] % num_views):
        expected = f"M a multiple of num_views={num_views}"
        raise ContractError.of("restore_views", "z", "size of M", expected, describe(z))
    return z.reshape(z.shape[0] // num_views, num_views, z.shape[1])  # (B, K, D)


def sample_ids(hashkeys: Sequence[str]) -> Int[Tensor, " B"]:
    """The hashkeys' 64-bit BLAKE2b digests, signed, as the loss takes them: (B,) int64.

    One number per hashkey, the same in every process and on every machine: Python's own `hash` is
    salted per process, so ranks would disagree about which rows are the same sample.

    Examples:
        >>> from kview.contracts import sample_ids
        >>> sample_ids(["a", "b", "a"]).unique(return_inverse=True)[1]
        tensor([0, 1, 0])
    """
    return torch.tensor([_digest(key) for key in hashkeys], dtype=torch.int64)


def samples_not_finite(values: Tensor, hashkeys: Sequence[str]) -> list[str]:
    """The hashkeys of the samples whose values (B, ...) hold NaN or infinity."""
    finite = values.isfinite().flatten(1).all(dim=1).cpu().numpy()
    return [key for key, ok in zip(hashkeys, finite, strict=True) if not ok]


def _digest(hashkey: str) -> int:
    digest = hashlib.blake2b(hashkey.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
