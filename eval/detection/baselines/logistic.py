"""Logistic regressions on one set of features: many folds and penalties, fitted as one problem."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_TOLERANCE = 3e-6
"""The largest gradient at the end, in coordinates of about unit curvature."""

_FEW = 1200
"""Up to so many dimensions, features are turned into their principal axes first."""


@dataclass(frozen=True, slots=True)
class Turned:
    """Features in coordinates in which a ridge penalty is what it was.

    Attributes:
        x: of the rows to fit on, (n, r).
        axes: the coordinates' directions, (H, r), orthonormal; None where they are the features.
        squares: mean squares of the columns of `x`, (r,).
    """

    x: NDArray[np.floating]
    axes: Array | None
    squares: Array

    def back(self, weights: Array) -> Array:
        """Weights of these coordinates as weights of the features: (r, q) -> (H, q)."""
        return weights if self.axes is None else self.axes @ weights


def turned(x: NDArray[np.float32]) -> Turned:
    """Features on their principal axes, where these cost less than they save.

    The weights that minimise a loss of x w plus |w|^2 lie in the span of x's rows, so n rows of
    more than n features become n features. On its axes, x's columns are orthogonal.

    Args:
        x: rows to fit on, standardised, (n, H).
    """
    if min(x.shape) > _FEW:
        return Turned(x, None, np.ones(x.shape[1]))
    return _on_axes(x.astype(np.float64))


def _on_axes(x: Array) -> Turned:
    n, H = x.shape
    values, axes = np.linalg.eigh(x @ x.T if n < H else x.T @ x)
    kept = values > 1e-10 * values[-1]
    axes = axes[:, kept]
    if n < H:
        axes = x.T @ axes / np.sqrt(values[kept])  # (H, r), orthonormal
    return Turned(x @ axes, axes, values[kept] / n)


@dataclass(frozen=True, slots=True)
class Regressions:
    """Those with one penalty, one per column.

    Attributes:
        log_odds: of the rows given to fit on, those left out included, (n, q).
        weights: of the features, (H, q).
        intercepts: (q,).
    """

    log_odds: Array
    weights: Array
    intercepts: Array


def fit_logistic(
    features: Turned, y: NDArray[np.bool_], used: NDArray[np.bool_], strengths: Sequence[float]
) -> list[Regressions]:
    """Logistic regressions with a ridge penalty and a free intercept, per strength.

    Each minimises sum_i log(1 + exp(-+(x_i w + b))) + |w|^2 / (2 strength) over the rows that it
    uses, as scikit-learn's `LogisticRegression(C=strength)` does. Those of one strength are
    minimised as one problem, by L-BFGS from where the strength before ended, each coordinate scaled
    by the largest curvature that it can have (Boehning 1992): a quarter of the squares'.

    Args:
        features: of n rows to fit on.
        y: whether a row is hallucinated, (n,).
        used: which rows each of q regressions is fitted on, (n, q).
        strengths: the inverse penalties, the smallest first.
    """
    from scipy.optimize import minimize
    from scipy.special import expit
    from threadpoolctl import threadpool_limits

    x, q = features.x, used.shape[1]
    share = used / used.sum(axis=0)
    signs = np.where(y, 1.0, -1.0)[:, None]
    weights = np.zeros((x.shape[1] + 1, q))  # the last row holds the intercepts
    found = []
    for strength in strengths:
        penalty = 1 / (strength * used.sum(axis=0))
        scale = np.full_like(weights, 2.0)
        scale[:-1] = 1 / np.sqrt(features.squares[:, None] / 4 + penalty)

        def loss(
            flat: Array, penalty: Array = penalty, scale: Array = scale
        ) -> tuple[float, Array]:
            w = scale * flat.reshape(-1, q)
            margins = signs * _log_odds(x, w)
            slopes = -share * signs * expit(-margins)
            gradient = np.empty_like(w)
            gradient[:-1] = x.T @ slopes.astype(x.dtype) + penalty * w[:-1]
            gradient[-1] = slopes.sum(axis=0)
            value = (share * np.logaddexp(0, -margins)).sum() + (penalty * w[:-1] ** 2).sum() / 2
            return float(value), (scale * gradient).ravel()

        start = (weights / scale).ravel()
        options = {"maxiter": 1000, "gtol": _TOLERANCE, "ftol": 0, "maxcor": 20}
        with threadpool_limits(None if x.shape[1] > _FEW else 1):  # small products: threads wait
            end = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
        weights = scale * end.reshape(-1, q)
        found.append(Regressions(_log_odds(x, weights), features.back(weights[:-1]), weights[-1]))
    return found


def _log_odds(x: NDArray[np.floating], weights: Array) -> Array:
    return x @ weights[:-1].astype(x.dtype) + weights[-1]
