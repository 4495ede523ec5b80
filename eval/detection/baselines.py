"""What a detector has to beat: the response's length, and a linear probe on the activations.

Both are fitted on the labelled training rows alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .folds import Folds, folds, require_classes

Array = NDArray[np.float64]

_STRENGTHS = (1e-4, 1e-2, 1.0)
"""Inverse penalties that the probe chooses from, on standardised features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeLayer:
    """A probe on one layer.

    Attributes:
        layer: the model's layer id.
        strength: its inverse penalty, chosen by cross-validation on the training rows.
        cv_auroc: the mean AUROC of that cross-validation.
        scores: of the rows that were asked for, log-odds, (n,).
    """

    layer: int
    strength: float
    cv_auroc: float
    scores: Array


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


def probe_layers(
    layers: Sequence[int],
    train: NDArray[np.float32],
    labels: NDArray[np.integer],
    test: NDArray[np.float32],
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> list[ProbeLayer]:
    """A logistic probe on each layer's mean activation, with its penalty chosen on train alone.

    Args:
        layers: the model's layer ids, L.
        train: the training rows' mean activations, (N, L, H).
        labels: of the training rows, 1, 0 or -1, (N,).
        test: the mean activations of the rows to score, (n, L, H).
        groups: the training rows' groups, which folds keep whole; None where each is its own.
        seed: of the cross-validation's folds.

    Raises:
        LabelError: the training rows have fewer than two labelled rows, or groups, of a class.
    """
    from threadpoolctl import threadpool_limits

    known = require_classes(labels)
    y = labels[known] == 1
    parts = folds(y, seed, None if groups is None else np.asarray(groups, object)[known])
    with threadpool_limits(1):  # thousands of small products: threads would wait for each other
        return [
            _probe(layer, train[known, i], y, test[:, i], parts) for i, layer in enumerate(layers)
        ]


def best_layer(layers: list[ProbeLayer]) -> ProbeLayer:
    """The probe to report: the best in cross-validation on train, the lowest layer of equals."""
    return max(layers, key=lambda probe: (probe.cv_auroc, -probe.layer))


def _probe(layer: int, x: NDArray, y: NDArray[np.bool_], test: NDArray, parts: Folds) -> ProbeLayer:
    from sklearn.metrics import roc_auc_score

    x, test = _few_features(*_standardised(x.astype(np.float64), test.astype(np.float64)))

    def cv_auroc(strength: float) -> float:
        fitted = [(out, _fitted(x[fit], y[fit], strength)) for fit, out in parts]
        return float(np.mean([roc_auc_score(y[out], score(x[out])) for out, score in fitted]))

    quality = {c: cv_auroc(c) for c in _STRENGTHS}
    strength = max(_STRENGTHS, key=lambda c: (quality[c], -c))
    return ProbeLayer(
        layer=layer,
        strength=strength,
        cv_auroc=quality[strength],
        scores=_fitted(x, y, strength)(test),
    )


def _fitted(x: Array, y: NDArray[np.bool_], strength: float):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=5000).fit(x, y).decision_function


def _standardised(x: Array, test: Array) -> tuple[Array, Array]:
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale == 0] = 1  # a constant feature says nothing, and stays at zero
    return (x - mean) / scale, (test - mean) / scale


def _few_features(x: Array, test: Array) -> tuple[Array, Array]:
    """Rotates n rows of more than n features into n: what a ridge penalty finds is the same.

    The weights that minimise a loss of x w plus |w|^2 lie in the span of x's rows.
    """
    if x.shape[0] >= x.shape[1]:
        return x, test
    basis = np.linalg.qr(x.T)[0]  # (H, n)
    return x @ basis, test @ basis
