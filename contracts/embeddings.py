"""The contracts behind an encoder: embeddings of a batch, and of one sample."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from jaxtyping import Float
from torch import Tensor

from . import rules
from .checking.axes import AtLeast, Len
from .checking.rule import Rule
from .contract import Contract

ZViews = Annotated[Float[Tensor, "B K D"], AtLeast(B=1, K=2, D=1)]
"""The embeddings of B samples with K views each, as an argument of a boundary."""

_RULES = (rules.hashkeys(), rules.labels(), rules.finite("z_views"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class EmbeddingRecord(Contract):
    """The embeddings of one sample's K views.

    Attributes:
        z_views: the embeddings.
        hashkey: the sample's id, or None.
        halu: 1 hallucinated, 0 not, -1 unlabelled; or None.

    Examples:
        >>> import torch
        >>> from kview.contracts import EmbeddingRecord
        >>> EmbeddingRecord(z_views=torch.randn(4, 8), hashkey="q1")["z_views"].shape
        torch.Size([4, 8])
    """

    z_views: Annotated[Float[Tensor, "K D"], AtLeast(K=2, D=1)]
    hashkey: str | None = None
    halu: Float[Tensor, ""] | None = None

    rules: ClassVar[tuple[Rule, ...]] = _RULES


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class EmbeddingBatch(Contract):
    """The embeddings of B samples with K views each.

    Attributes:
        z_views: the embeddings.
        hashkey: the samples' ids, or None.
        halu: 1 hallucinated, 0 not, -1 unlabelled; or None.

    Examples:
        >>> import torch
        >>> from kview.contracts import EmbeddingBatch
        >>> halu = torch.tensor([1.0, 0.0, -1.0])
        >>> batch = EmbeddingBatch(z_views=torch.randn(3, 4, 8), halu=halu)
        >>> [record.halu.item() for record in batch.records()]
        [1.0, 0.0, -1.0]
    """

    z_views: ZViews
    hashkey: Annotated[list[str], Len("B")] | None = None
    halu: Float[Tensor, " B"] | None = None

    is_batch: ClassVar[bool] = True
    rules: ClassVar[tuple[Rule, ...]] = (*_RULES, rules.one_label_per_hashkey())

    def __len__(self) -> int:
        """The number of samples, B."""
        return self.z_views.shape[0]

    def records(self) -> Iterator[EmbeddingRecord]:
        """The samples one by one; tensors are views into the batch's."""
        for b in range(len(self)):
            yield EmbeddingRecord(
                z_views=self.z_views[b],
                hashkey=None if self.hashkey is None else self.hashkey[b],
                halu=None if self.halu is None else self.halu[b],
            )
