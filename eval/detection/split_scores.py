"""Scores of the rows that are scored: the test rows, and the validation rows where there are."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SplitScores:
    """One scorer's scores.

    Attributes:
        test: of the test rows, (n,).
        val: of the validation rows, (v,); None without.
    """

    test: Array
    val: Array | None

    @classmethod
    def cut(cls, scores: Array, n_test: int, validated: bool) -> Self:
        """Scores of the test rows and, behind them, of the validation rows."""
        return cls(scores[:n_test], scores[n_test:] if validated else None)
