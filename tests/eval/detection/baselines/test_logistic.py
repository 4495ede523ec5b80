"""Logistic regressions fitted together, against scikit-learn one by one."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from kview.eval.detection.baselines import logistic
from kview.eval.detection.baselines.logistic import fit_logistic, turned

STRENGTHS = (1e-4, 1e-2, 1.0)


def drawn(n: int, hidden: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standardised features of correlated dimensions, others to score, and labels."""
    random = np.random.default_rng(n)
    y = np.arange(n) % 3 == 0
    mix = random.normal(size=(hidden, hidden)) / np.arange(1, hidden + 1)
    x = random.normal(size=(n + 20, hidden)) @ mix
    x[:n][y] += random.normal(size=hidden) / 4
    x = (x - x[:n].mean(axis=0)) / x[:n].std(axis=0)
    return x[:n].astype(np.float32), x[n:].astype(np.float32), y


@pytest.mark.parametrize("few", [1200, 0], ids=["on axes", "as they are"])
@pytest.mark.parametrize(("n", "hidden"), [(90, 6), (90, 70), (60, 150)])
def test_each_is_the_regression_of_scikit_learn(monkeypatch, few, n, hidden):
    monkeypatch.setattr(logistic, "_FEW", few)
    x, asked, y = drawn(n, hidden)
    used = np.ones((n, 3), bool)
    used[: n // 3, 0] = False
    used[n // 2 :, 1] = False
    for strength, found in zip(STRENGTHS, fit_logistic(turned(x), y, used, STRENGTHS), strict=True):
        for column, rows in enumerate(used.T):
            model = LogisticRegression(C=strength, max_iter=5000, tol=1e-9)
            model.fit(x[rows].astype(np.float64), y[rows])
            log_odds = asked @ found.weights + found.intercepts
            for mine, theirs in ((found.log_odds, x), (log_odds, asked)):
                expected = model.decision_function(theirs.astype(np.float64))
                np.testing.assert_allclose(mine[:, column], expected, rtol=5e-3, atol=5e-3)


def test_constant_features_say_nothing():
    x, _, y = drawn(40, 5)
    x[:, 2] = 0
    without = [0, 1, 3, 4]
    every = np.ones((40, 1), bool)
    with_it, alone = (
        fit_logistic(turned(each), y, every, [0.01])[0].weights for each in (x, x[:, without])
    )
    np.testing.assert_allclose(with_it[without], alone, atol=1e-5)
    assert with_it[2] == pytest.approx(0, abs=1e-9)
