"""A detector, fitted on the training rows and asked about the others."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...contracts import ConfigError, Detector, EmbeddingBatch, LabelError
from .reference import Reference, labelled_rows, reference_rows, select
from .scoring import NoMetrics
from .split_scores import SplitScores


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """All rows, embedded in one way.

    Attributes:
        train: the training rows.
        test: the test rows.
        val: the validation rows; None without.
    """

    train: EmbeddingBatch
    test: EmbeddingBatch
    val: EmbeddingBatch | None


def fitted_scores(
    detector: Detector, rows: Embedded, reference: Reference
) -> SplitScores | NoMetrics:
    """Fits a detector on what it takes of the training rows, and scores the others.

    Args:
        detector: with `two_class`, where it takes all labelled rows.
        rows: embedded.
        reference: which training rows a detector of one class takes.

    Returns:
        Its scores; or why one of two classes has none.

    Raises:
        LabelError: there is no reference row for a detector of one class.
        ConfigError: such a detector cannot be fitted on them.
    """
    two_class = getattr(detector, "two_class", False)
    try:
        chosen = labelled_rows(rows.train) if two_class else reference_rows(rows.train, reference)
        detector.fit(select(rows.train, chosen))
    except (LabelError, ConfigError) as error:
        if not two_class:
            raise
        return NoMetrics(reason=str(error))
    val = None if rows.val is None else _score(detector, rows.val)
    return SplitScores(_score(detector, rows.test), val)


def _score(detector: Detector, batch: EmbeddingBatch) -> NDArray[np.float64]:
    return detector.score(batch).cpu().numpy()
