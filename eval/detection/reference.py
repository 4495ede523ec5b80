"""The reference set: which training samples a detector is fitted on."""

from typing import Literal, TypeVar

from ...contracts import EmbeddingBatch, LabelError, NotFittedError, boundary

T = TypeVar("T")

Reference = Literal["not_hallucinated", "all"]
"""Which training samples a detector is fitted on."""


@boundary
def reference_set(train: EmbeddingBatch, reference: Reference) -> EmbeddingBatch:
    """The training samples that detectors are fitted on, as `reference_rows` chooses them."""
    return select(train, reference_rows(train, reference))


def reference_rows(train: EmbeddingBatch, reference: Reference) -> list[int]:
    """Which of the training samples detectors are fitted on.

    Args:
        train: all training samples.
        reference: `not_hallucinated` for those labelled 0, `all` for all, unlabelled ones too.

    Raises:
        LabelError: none is labelled 0.
    """
    if reference == "all":
        return list(range(len(train)))
    rows = [] if train.halu is None else (train.halu == 0).nonzero().flatten().tolist()
    if not rows:
        raise LabelError(
            f"none of the {len(train)} training samples is labelled 0 (not hallucinated), which "
            'reference="not_hallucinated" needs; label them, or pass reference="all"'
        )
    return rows


def labelled_rows(train: EmbeddingBatch) -> list[int]:
    """Which of the training samples detectors of two classes are fitted on: the labelled ones.

    Raises:
        LabelError: none is.
    """
    rows = [] if train.halu is None else (train.halu >= 0).nonzero().flatten().tolist()
    if not rows:
        raise LabelError(f"none of the {len(train)} training samples is labelled")
    return rows


def select(batch: EmbeddingBatch, rows: list[int]) -> EmbeddingBatch:
    """Some samples of a batch, in the order of `rows`."""
    return EmbeddingBatch(
        z_views=batch.z_views[rows],
        hashkey=None if batch.hashkey is None else [batch.hashkey[b] for b in rows],
        halu=None if batch.halu is None else batch.halu[rows],
    )


def fitted(taken: T | None, detector: object) -> T:
    """What a detector has taken of its reference samples.

    Raises:
        NotFittedError: nothing yet.
    """
    if taken is None:
        raise NotFittedError(
            f"{type(detector).__name__} has no reference set yet; call fit(...) before score(...)"
        )
    return taken
