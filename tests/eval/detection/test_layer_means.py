"""Mean activations in a file: rows in, layers out."""

import numpy as np
import pytest

from kview.eval.detection.layer_means import LayerMeans


@pytest.mark.parametrize("cuts", [[], [1], [3, 4, 8]])
def test_layers_hold_the_rows_in_order(cuts):
    x = np.random.default_rng(0).normal(size=(10, 3, 5)).astype(np.float32)
    with LayerMeans(10, 3) as means:
        for rows in np.split(x, cuts):
            means.append(rows)
        for layer in (2, 0, 1):
            np.testing.assert_array_equal(means.of_layer(layer), x[:, layer])


def test_the_file_is_gone_when_closed():
    with LayerMeans(2, 1) as means:
        means.append(np.zeros((2, 1, 3), np.float32))
    with pytest.raises(ValueError, match="closed"):
        means.of_layer(0)
