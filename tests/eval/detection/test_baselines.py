"""The baselines: response length, and a linear probe per layer."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from kview.contracts import LabelError
from kview.eval.detection.baselines import best_layer, length_direction, probe_layers


def means(source) -> np.ndarray:
    """The mean activation of each row and layer, (N, L, H)."""
    return source.x.mean(dim=2).numpy()


def test_length_points_where_the_training_rows_say():
    lengths = np.array([1, 2, 8, 9, 100])
    assert length_direction(lengths, np.array([0, 0, 1, 1, -1])) == 1
    assert length_direction(lengths, np.array([1, 1, 0, 0, -1])) == -1
    with pytest.raises(LabelError, match="1 labelled hallucinated and 2 labelled not"):
        length_direction(lengths[:3], np.array([0, 0, 1]))


def test_the_probe_finds_the_layers_that_hold_the_signal(source_of):
    train, test = source_of(60, seed=1), source_of(40, seed=2)
    probes = probe_layers(train.layer_ids, means(train), train.labels, means(test))
    assert [probe.layer for probe in probes] == [0, 1, 2, 3, 4]
    assert max(p.cv_auroc for p in probes[:2]) < min(p.cv_auroc for p in probes[2:])
    assert best_layer(probes).cv_auroc == max(p.cv_auroc for p in probes)


@pytest.mark.parametrize("hidden", [4, 200])
def test_the_probe_is_the_logistic_regression_it_says_it_is(source_of, hidden):
    train, test = (source_of(40, seed=s, hidden=hidden, layers=3) for s in (1, 2))
    probe = probe_layers(train.layer_ids, means(train), train.labels, means(test))[1]
    x, z = (means(source)[:, 1].astype(np.float64) for source in (train, test))
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(C=probe.strength, max_iter=5000, tol=1e-8)
    model.fit(scaler.transform(x), train.labels)
    expected = model.decision_function(scaler.transform(z))
    np.testing.assert_allclose(probe.scores, expected, rtol=0.02, atol=0.02)
