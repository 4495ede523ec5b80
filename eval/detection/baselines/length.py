"""The response's length as a score."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..folds import require_classes


def length_direction(lengths: NDArray, labels: NDArray[np.integer]) -> Literal[1, -1]:
    """Whether the longer (1) or the shorter (-1) training responses are hallucinated.

    Args:
        lengths: tokens of the training responses, (N,).
        labels: 1, 0 or -1, (N,).

    Raises:
        LabelError: the training rows lack a class.
    """
    from sklearn.metrics import roc_auc_score

    known = require_classes(labels)
    return 1 if roc_auc_score(labels[known] == 1, lengths[known]) >= 0.5 else -1
