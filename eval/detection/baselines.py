"""What a detector has to beat: the response's length, and a linear probe on the activations.

Both are fitted on the labelled training rows alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .held_out import folds, require_classes

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
        held_out: of the labelled training rows, each by the probe fitted without it, (N,).
        scores: of the test rows, log-odds, (n,).
    """

    layer: int
    strength: float
    cv_auroc: float
    held_out: Array
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
    seed: int = 0,
) -> list[ProbeLayer]:
    """A logistic probe on each layer's mean activation, with its penalty chosen on train alone.

    Args:
        layers: the model's layer ids, L.
        train: the training rows' mean activations, (N, L, H).
        labels: of the training rows, 1, 0 or -1, (N,).
        test: the test rows' mean activations, (n, L, H).
        seed: of the cross-validation's folds.

    Raises:
        LabelError: the training rows lack a class, or have one labelled row of it only.
    """
    from threadpoolctl import threadpool_limits

    known = require_classes(labels)
    y = labels[known] == 1
    with threadpool_limits(1):  # thousands of small products: threads would wait for each other
        return [
            _probe(layer, train[known, i], y, test[:, i], seed) for i, layer in enumerate(layers)
        ]


def best_layer(layers: list[ProbeLayer]) -> ProbeLayer:
    """The probe to report: the best in cross-validation on train, the lowest layer of equals."""
    return max(layers, key=lambda probe: (probe.cv_auroc, -probe.layer))


def _probe(layer: int, x: NDArray, y: NDArray[np.bool_], test: NDArray, seed: int) -> ProbeLayer:
    from sklearn.metrics import roc_auc_score

    x, test = _few_features(*_standardised(x.astype(np.float64), test.astype(np.float64)))
    parts = list(folds(y, seed))
    held_out = {c: np.empty(len(y)) for c in _STRENGTHS}
    for c, scores in held_out.items():
        for fit, out in parts:
            scores[out] = _fitted(x[fit], y[fit], c)(x[out])
    quality = {
        c: float(np.mean([roc_auc_score(y[out], scores[out]) for _, out in parts]))
        for c, scores in held_out.items()
    }
    strength = max(_STRENGTHS, key=lambda c: (quality[c], -c))
    return ProbeLayer(
        layer=layer,
        strength=strength,
        cv_auroc=quality[strength],
        held_out=held_out[strength],
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
