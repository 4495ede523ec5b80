"""The response's length as a baseline."""

import numpy as np
import pytest

from kview.contracts import LabelError
from kview.eval.detection.baselines.length import length_direction


def test_length_points_where_the_training_rows_say():
    lengths = np.array([1, 2, 8, 9, 100])
    assert length_direction(lengths, np.array([0, 0, 1, 1, -1])) == 1
    assert length_direction(lengths, np.array([1, 1, 0, 0, -1])) == -1
    with pytest.raises(LabelError, match="1 labelled hallucinated and 2 labelled not"):
        length_direction(lengths[:3], np.array([0, 0, 1]))
