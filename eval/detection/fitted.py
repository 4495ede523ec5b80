"""A detector, fitted on the training rows and asked about others."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...contracts import ConfigError, Detector, EmbeddingBatch, LabelError
from .foreign import scores_of
from .reference import Reference, labelled_rows, reference_rows, select
from .scoring import NoMetrics

Scores = Mapping[str, NDArray[np.float64] | NoMetrics]
"""Of some rows by several scorers, (n,) each; or why one has none."""


def fit_on(
    train: EmbeddingBatch | NoMetrics, detector: Detector, reference: Reference
) -> Detector | NoMetrics:
    """Fits a detector on what it takes of the training rows.

    Args:
        train: embedded; or why they are not.
        detector: with `two_class`, where it takes all labelled rows.
        reference: which training rows a detector of one class takes.

    Returns:
        The detector; or why it is not fitted: without rows, or one of two classes without both.

    Raises:
        LabelError: there is no reference row for a detector of one class.
        ConfigError: such a detector cannot be fitted on them.
    """
    if isinstance(train, NoMetrics):
        return train
    two_class = getattr(detector, "two_class", False)
    try:
        chosen = labelled_rows(train) if two_class else reference_rows(train, reference)
        detector.fit(select(train, chosen))
    except (LabelError, ConfigError) as error:
        if not two_class:
            raise
        return NoMetrics(reason=str(error))
    return detector


def ask(
    detector: Detector | NoMetrics, rows: EmbeddingBatch | NoMetrics
) -> NDArray[np.float64] | NoMetrics:
    """A fitted detector's scores of some rows, (n,); or why it has none.

    Args:
        detector: as `fit_on` gives it.
        rows: embedded as its training rows are; or why they are not.

    Raises:
        ConfigError: its scores are not one finite number per row.
    """
    if isinstance(detector, NoMetrics):
        return detector
    if isinstance(rows, NoMetrics):
        return rows
    return scores_of(detector, rows)
