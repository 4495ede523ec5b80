"""Scores of the rows that are scored: the test rows, and the validation rows where there are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .fitted import Scores
from .scoring import NoMetrics


@dataclass(frozen=True, slots=True)
class SplitScores:
    """One scorer's scores.

    Attributes:
        test: of the test rows, (n,).
        val: of the validation rows, (v,); None without.
    """

    test: NDArray[np.float64]
    val: NDArray[np.float64] | None


def joined(test: Scores, val: Scores | None) -> dict[str, SplitScores | NoMetrics]:
    """Every scorer's scores of both; or why it has none of one of them.

    Args:
        test: of the test rows, by scorer.
        val: of the validation rows, by the same scorers; None without.
    """
    found: dict[str, SplitScores | NoMetrics] = {}
    for name, scores in test.items():
        on_val = None if val is None else val[name]
        if isinstance(on_val, NoMetrics):
            found[name] = on_val
        elif isinstance(scores, NoMetrics):
            found[name] = scores
        else:
            found[name] = SplitScores(scores, on_val)
    return found
