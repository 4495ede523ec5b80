"""What each layer's activations give: probes, mass-means, and the mean over view layers."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from kview.eval import NoMetrics
from kview.eval.detection.baselines.by_layer import (
    FittedLayers,
    LayerScores,
    fit_layers,
    score_layers,
)
from kview.eval.detection.baselines.layer_direction import best_layer
from kview.eval.detection.baselines.probe import average
from kview.eval.detection.folds import folds
from kview.eval.detection.layer_means import LayerMeans


def means(source) -> np.ndarray:
    """The mean activation of each row and layer, (N, L, H)."""
    return source.x.mean(dim=2).numpy()


def kept(x: np.ndarray) -> LayerMeans:
    found = LayerMeans(len(x), x.shape[1])
    for rows in np.array_split(x, 3):
        found.append(rows)
    return found


def fitted_on(train, views=(0, 2), **settings) -> FittedLayers:
    with kept(means(train)) as x:
        return fit_layers(train.layer_ids, x, train.labels, views=views, **settings)


def scored(fitted: FittedLayers, source) -> LayerScores:
    with kept(means(source)) as x:
        return score_layers(fitted, x)


def probes_of(found: FittedLayers) -> list:
    assert not isinstance(found.probes, NoMetrics)
    return found.probes


def by_probe(found: LayerScores) -> np.ndarray:
    assert not isinstance(found.probes, NoMetrics)
    return found.probes


def test_the_probe_finds_the_layers_that_hold_the_signal(source_of):
    found = fitted_on(source_of(60, seed=1))
    assert not isinstance(found.mass_means, NoMetrics)
    for layers in (probes_of(found), found.mass_means):
        assert [scores.layer for scores in layers] == [0, 1, 2, 3, 4]
        assert max(s.cv_auroc for s in layers[:2]) < min(s.cv_auroc for s in layers[2:])
        assert layers[best_layer(layers)].cv_auroc == max(s.cv_auroc for s in layers)


@pytest.mark.parametrize("hidden", [4, 200])
def test_the_probe_is_the_logistic_regression_it_says_it_is(source_of, hidden):
    train, test = (source_of(40, seed=s, hidden=hidden, layers=3) for s in (1, 2))
    fitted = fitted_on(train)
    probe = probes_of(fitted)[1]
    x, z = (means(source)[:, 1].astype(np.float64) for source in (train, test))
    scaler = StandardScaler().fit(x)
    x, z, y = scaler.transform(x), scaler.transform(z), train.labels
    model = LogisticRegression(C=probe.strength, max_iter=5000, tol=1e-8).fit(x, y)
    expected = model.decision_function(z)
    np.testing.assert_allclose(by_probe(scored(fitted, test))[1], expected, rtol=0.005, atol=0.005)
    aurocs = {}
    for strength in (1e-4, 1e-2, 1.0):
        model = LogisticRegression(C=strength, max_iter=5000, tol=1e-8)
        aurocs[strength] = np.mean(
            [
                roc_auc_score(y[out], model.fit(x[fit], y[fit]).decision_function(x[out]))
                for fit, out in folds(y, 0)
            ]
        )
    assert probe.strength == max(aurocs, key=aurocs.__getitem__)
    assert probe.cv_auroc == pytest.approx(aurocs[probe.strength])


def test_mass_mean_is_the_difference_of_class_means(source_of):
    train, test = source_of(50, seed=1), source_of(30, seed=2)
    fitted = fitted_on(train)
    found = scored(fitted, test)
    assert not isinstance(fitted.mass_means, NoMetrics)
    assert not isinstance(found.mass_means, NoMetrics)
    scaler = StandardScaler().fit(means(train)[:, 3])
    x, z = (np.asarray(scaler.transform(means(s)[:, 3])) for s in (train, test))
    y = train.labels

    def direction(rows: list[int]) -> np.ndarray:
        yes, no = ([x[i] for i in rows if y[i] == label] for label in (1, 0))
        return np.mean(yes, axis=0) - np.mean(no, axis=0)

    whole = direction(list(range(50)))
    np.testing.assert_allclose(found.mass_means[3], [row @ whole for row in z], rtol=1e-4)
    aurocs = [roc_auc_score(y[out], x[out] @ direction(list(fit))) for fit, out in folds(y, 0)]
    assert fitted.mass_means[3].cv_auroc == pytest.approx(np.mean(aurocs))


def test_averaged_probes_count_each_layer_alike(source_of):
    fitted = fitted_on(source_of(50, seed=1))
    probes, scores = probes_of(fitted), by_probe(scored(fitted, source_of(30, seed=2)))
    expected = []
    for row in range(30):
        layers = [
            (of_layer[row] - p.held_out_mean) / p.held_out_std
            for p, of_layer in zip(probes, scores, strict=True)
        ]
        expected.append(sum(layers) / len(layers))
    np.testing.assert_allclose(average(probes, scores), expected)


def test_a_probe_knows_the_scale_of_log_odds_held_out(source_of):
    train = source_of(50, seed=1)
    probe = probes_of(fitted_on(train))[2]
    x = StandardScaler().fit_transform(means(train)[:, 2])
    held_out = np.empty(50)
    for fit, out in folds(train.labels, 0):
        model = LogisticRegression(C=probe.strength, max_iter=5000, tol=1e-8)
        held_out[out] = model.fit(x[fit], train.labels[fit]).decision_function(x[out])
    assert probe.held_out_mean == pytest.approx(held_out.mean(), abs=1e-2)
    assert probe.held_out_std == pytest.approx(held_out.std(), rel=1e-2)


def test_vectors_without_an_encoder_are_means_of_standardised_view_layers(source_of):
    train, test = source_of(20, seed=1), source_of(9, seed=2)
    fitted = fitted_on(train, views=(1, 4))
    scalers = {layer: StandardScaler().fit(means(train)[:, layer]) for layer in (1, 4)}

    def vectors(source) -> np.ndarray:
        each = [np.asarray(s.transform(means(source)[:, layer])) for layer, s in scalers.items()]
        return np.mean(each, axis=0)

    np.testing.assert_allclose(fitted.train, vectors(train), atol=1e-5)
    np.testing.assert_allclose(scored(fitted, test).vectors, vectors(test), atol=1e-5)


def test_without_a_class_there_are_vectors_and_a_reason(source_of):
    train = source_of(20, seed=1)
    train.labels = np.where(train.labels == 1, -1, train.labels)
    fitted = fitted_on(train)
    found = scored(fitted, source_of(9, seed=2))
    for missing in (fitted.probes, fitted.mass_means, found.probes, found.mass_means):
        assert isinstance(missing, NoMetrics)
        assert "0 labelled hallucinated and 10 labelled not" in missing.reason
    assert found.vectors.shape == (9, 8)
