"""A detector, fitted on the training rows and asked about the others."""

from dataclasses import dataclass

from ...contracts import ConfigError, Detector, EmbeddingBatch, LabelError
from .foreign import scores_of
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
    val = None if rows.val is None else scores_of(detector, rows.val)
    return SplitScores(scores_of(detector, rows.test), val)
