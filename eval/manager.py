"""Keeps the embeddings of an evaluation, and runs evaluators over them by name."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..contracts import (
    IGNORE_LABEL,
    ConfigError,
    ContractError,
    EmbeddingBatch,
    EmbeddingRecord,
    KViewError,
    ZViews,
    boundary,
)
from ..contracts.checking.axes import Len
from .metrics import KViewMetrics, KViewMetricValues


class Evaluator(Protocol):
    """Computes something of the embeddings of a whole evaluation.

    Attributes:
        name: under which its result is found; no two evaluators of a manager share one.
    """

    @property
    def name(self) -> str: ...

    def evaluate(self, embeddings: EmbeddingBatch) -> Any:
        """All samples at once, on the CPU; gives a typed result of its own."""
        ...


class EvaluatorError(KViewError, RuntimeError):
    """An evaluator failed; its own error is the cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerStats:
    """What a manager holds.

    Attributes:
        n_samples: samples.
        n_batches: the batches they came in.
        n_labelled: samples with a label that is not `IGNORE_LABEL`.
        metrics: the K-view metrics of all samples; None without any.
    """

    n_samples: int
    n_batches: int
    n_labelled: int
    metrics: KViewMetricValues | None


class EvaluatorManager:
    """Accumulates embeddings batch by batch on the CPU.

    Args:
        evaluators: what `run` runs.

    Attributes:
        accumulated_z_views: the embeddings, (B, K, D) per batch.
        accumulated_hashkeys: the samples' ids, or None where they were not given.
        accumulated_labels: the samples' labels, (B,) per batch, or None where they were not given.

    Raises:
        ConfigError: two evaluators have one name.

    Examples:
        >>> import torch
        >>> from kview.eval import CosineEvaluator, EvaluatorManager
        >>> manager = EvaluatorManager([CosineEvaluator()])
        >>> manager.accumulate_batch(torch.ones(5, 3, 4), labels=torch.tensor([0, 1, 1, 0, 1]))
        >>> manager.run()["cosine"].by_class[1].n_pairs
        9
    """

    def __init__(self, evaluators: Sequence[Evaluator] = ()) -> None:
        names = [evaluator.name for evaluator in evaluators]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ConfigError(
                f"evaluators share the names {sorted(repeated)}; results are found by name, so "
                "give each its own"
            )
        self.evaluators = tuple(evaluators)
        self.clear()

    def clear(self) -> None:
        """Forgets all embeddings."""
        self.accumulated_z_views: list[Tensor] = []
        self.accumulated_hashkeys: list[str] | None = None
        self.accumulated_labels: list[Tensor] | None = None

    @boundary
    def accumulate_batch(
        self,
        z_views: ZViews,
        hashkeys: Annotated[list[str], Len("B")] | None = None,
        labels: Float[Tensor, " B"] | Int[Tensor, " B"] | Bool[Tensor, " B"] | None = None,
    ) -> None:
        """Adds one batch, detached.

        Args:
            z_views: embeddings (B, K, D).
            hashkeys: the samples' ids.
            labels: 1 hallucinated, 0 not, -1 unlabelled.

        Raises:
            ContractError: lengths disagree, K or D differ from those before, or hashkeys or labels
                are given for some batches only.
        """
        batch = EmbeddingBatch(
            z_views=z_views.detach().cpu(),
            hashkey=hashkeys,
            halu=None if labels is None else labels.detach().cpu().float(),
        )
        if self.accumulated_z_views:
            self._refuse_mixture(batch)
        self.accumulated_z_views.append(batch.z_views)
        if batch.hashkey is not None:
            self.accumulated_hashkeys = [*(self.accumulated_hashkeys or []), *batch.hashkey]
        if batch.halu is not None:
            self.accumulated_labels = [*(self.accumulated_labels or []), batch.halu]

    def embeddings(self) -> EmbeddingBatch:
        """All samples as one batch.

        Raises:
            ContractError: there are none.
        """
        if not self.accumulated_z_views:
            raise ContractError.of(
                "EvaluatorManager", "z_views", "size of B", "at least one batch", "none"
            )
        labels = self.accumulated_labels
        return EmbeddingBatch(
            z_views=torch.cat(self.accumulated_z_views),
            hashkey=self.accumulated_hashkeys,
            halu=None if labels is None else torch.cat(labels),
        )

    def records(self) -> Iterator[EmbeddingRecord]:
        """The samples one by one: z_views (K, D), hashkey, halu."""
        return self.embeddings().records()

    def get_stats(self) -> ManagerStats:
        """What has been accumulated."""
        metrics = KViewMetrics()
        for z_views in self.accumulated_z_views:
            metrics.update(z_views)
        labels = self.accumulated_labels or []
        return ManagerStats(
            n_samples=sum(len(z_views) for z_views in self.accumulated_z_views),
            n_batches=len(self.accumulated_z_views),
            n_labelled=sum(int((x != IGNORE_LABEL).sum()) for x in labels),
            metrics=metrics.compute() if self.accumulated_z_views else None,
        )

    def run(self) -> dict[str, Any]:
        """Every evaluator's result, by its name.

        Raises:
            EvaluatorError: one of them failed; the message names it.
            ContractError: nothing has been accumulated.
        """
        embeddings = self.embeddings()
        return {evaluator.name: _run(evaluator, embeddings) for evaluator in self.evaluators}

    def _refuse_mixture(self, batch: EmbeddingBatch) -> None:
        kept = self.accumulated_z_views[0]
        for field, rule, before, now in (
            ("z_views", "axes K, D", tuple(kept.shape[1:]), tuple(batch.z_views.shape[1:])),
            ("hashkeys", "presence", _some(self.accumulated_hashkeys), _some(batch.hashkey)),
            ("labels", "presence", _some(self.accumulated_labels), _some(batch.halu)),
        ):
            if before != now:
                expected = f"{before}, as in the batches before"
                raise ContractError.of("EvaluatorManager", field, rule, expected, str(now))


def _some(values: object) -> str:
    return "none" if values is None else "some"


def _run(evaluator: Evaluator, embeddings: EmbeddingBatch) -> Any:
    try:
        return evaluator.evaluate(embeddings)
    except Exception as error:
        raise EvaluatorError(
            f"evaluator {evaluator.name!r} failed: {type(error).__name__}: {error}"
        ) from error
