"""The baselines: response length, and a linear probe a layer."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from kview.contracts import ConfigError, ContractError, KViewBatch, LabelError
from kview.eval import embed
from kview.eval.detection.baselines import (
    best_layer,
    layer_means,
    length_direction,
    probe_layers,
)
from kview.eval.embedding import token_means


def test_length_points_where_the_training_rows_say():
    lengths = np.array([1, 2, 8, 9, 100])
    assert length_direction(lengths, np.array([0, 0, 1, 1, -1])) == 1
    assert length_direction(lengths, np.array([1, 1, 0, 0, -1])) == -1
    with pytest.raises(LabelError, match="1 labelled hallucinated and 2 labelled not"):
        length_direction(lengths[:3], np.array([0, 0, 1]))


def test_token_means_leave_padding_out():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float16)
    mask = torch.tensor([[True, True, False, False], [True] * 4])
    batch = KViewBatch(
        hashkey=["a", "b"],
        halu=torch.zeros(2),
        views_activations=x,
        input_length=torch.ones(2, dtype=torch.int64),
        token_mask=mask,
    )
    means = token_means(batch)
    torch.testing.assert_close(means[0], x[0, :, :2].float().mean(dim=1))
    torch.testing.assert_close(means[1], x[1].float().mean(dim=1))
    torch.testing.assert_close(token_means(batch.replace(token_mask=None)), x.float().mean(dim=2))


def test_layers_come_in_their_order_whatever_the_views(source_of):
    straight, turned = source_of(6), source_of(6, views=(3, 0, 4, 1, 2))
    np.testing.assert_array_equal(layer_means(straight, 4), layer_means(turned, 2))


def test_the_probe_finds_the_layers_that_hold_the_signal(source_of):
    probes = probe_layers(source_of(60, seed=1), source_of(40, seed=2))
    assert [probe.layer for probe in probes] == [0, 1, 2, 3, 4]
    assert max(p.cv_auroc for p in probes[:2]) < min(p.cv_auroc for p in probes[2:])
    assert best_layer(probes).cv_auroc == max(p.cv_auroc for p in probes)


@pytest.mark.parametrize("hidden", [4, 200])
def test_the_probe_is_the_logistic_regression_it_says_it_is(source_of, hidden):
    train, test = (source_of(40, seed=s, hidden=hidden, layers=3) for s in (1, 2))
    probe = probe_layers(train, test)[1]
    x, z = (layer_means(source, 40)[:, 1].astype(np.float64) for source in (train, test))
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(C=probe.strength, max_iter=5000, tol=1e-8)
    model.fit(scaler.transform(x), train.labels)
    expected = model.decision_function(scaler.transform(z))
    np.testing.assert_allclose(probe.scores, expected, rtol=0.02, atol=0.02)


def test_sources_that_do_not_fit_are_refused(source_of, encoder):
    with pytest.raises(ConfigError, match="3 views of 5 layers"):
        layer_means(source_of(6, views=(0, 1, 2)), 4)
    with pytest.raises(ConfigError, match="needs the same one"):
        probe_layers(source_of(6), source_of(6, layers=4))
    shuffled = source_of(6)
    batches = shuffled.batches
    shuffled.hashkeys = shuffled.hashkeys[::-1]
    rows = list(batches(epoch=0, batch_size=3))
    shuffled.batches = lambda **_: iter(rows[::-1])
    with pytest.raises(ContractError, match="rows in order"):
        embed(encoder, shuffled)
