"""What a detector has to beat: the response's length, and a linear probe on the activations.

Both are fitted on the labelled training rows alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..contracts import ConfigError, KViewSource, LabelError
from .embedding import require_rows, token_means

Array = NDArray[np.float64]

_FOLDS = 5
_STRENGTHS = (1e-4, 1e-2, 1.0)
"""Inverse penalties that the probe chooses from, on standardised features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeLayer:
    """A probe on one layer.

    Attributes:
        layer: the model's layer id.
        strength: its inverse penalty, chosen by cross-validation on the training rows.
        cv_auroc: the mean AUROC of that cross-validation.
        scores: of the test rows, log-odds, (n,).
    """

    layer: int
    strength: float
    cv_auroc: float
    scores: Array


def length_scores(
    train_lengths: NDArray[np.integer],
    train_labels: NDArray[np.integer],
    test_lengths: NDArray[np.integer],
) -> Array:
    """Scores by response length alone: longer or shorter, whichever the training rows say.

    Args:
        train_lengths: tokens of the training responses, (N,).
        train_labels: 1, 0 or -1, (N,).
        test_lengths: tokens of the test responses, (n,).

    Returns:
        The lengths (n,), negated where hallucinated training responses are the shorter ones.

    Raises:
        LabelError: the training rows lack a class.
    """
    from sklearn.metrics import roc_auc_score

    known = _require_classes(train_labels)
    upwards = roc_auc_score(train_labels[known] == 1, train_lengths[known]) >= 0.5
    return test_lengths.astype(np.float64) * (1 if upwards else -1)


def probe_layers(
    train: KViewSource,
    test: KViewSource,
    *,
    batch_size: int = 256,
    seed: int = 0,
) -> list[ProbeLayer]:
    """A logistic probe on each layer's mean activation, with its penalty chosen on train alone.

    Args:
        train: shows every layer as a view.
        test: the same layers of the test rows.
        batch_size: rows read at once.
        seed: of the cross-validation's folds.

    Raises:
        LabelError: the training rows lack a class, or have one labelled row of it only.
        ConfigError: the sources show different layers.
    """
    if train.layer_ids != test.layer_ids:
        raise ConfigError(
            f"train shows layers {train.layer_ids} and test {test.layer_ids}; a probe is fitted on "
            "a layer and needs the same one to score"
        )
    known = _require_classes(train.labels)
    fit_x, score_x = layer_means(train, batch_size), layer_means(test, batch_size)
    y = train.labels[known] == 1
    return [
        _probe(layer, fit_x[known, i], y, score_x[:, i], seed)
        for i, layer in enumerate(train.layer_ids)
    ]


def best_layer(layers: list[ProbeLayer]) -> ProbeLayer:
    """The probe to report: the best in cross-validation on train, the lowest layer of equals."""
    return max(layers, key=lambda probe: (probe.cv_auroc, -probe.layer))


def layer_means(source: KViewSource, batch_size: int) -> NDArray[np.float32]:
    """Every row's mean activation at every layer, over real tokens: (N, L, H) float32.

    Raises:
        ConfigError: the source does not show every layer as a view.
    """
    if source.num_views != len(source.layer_ids):
        raise ConfigError(
            f"the source shows {source.num_views} views of {len(source.layer_ids)} layers; give "
            "one that shows every layer"
        )
    hashkeys: list[str] = []
    means: list[NDArray[np.float32]] = []
    for batch in source.batches(epoch=0, batch_size=batch_size, shuffle=False):
        x = token_means(batch)
        if batch.view_indices is not None:
            order = batch.view_indices.argsort(dim=1)  # views in any order, layers in theirs
            x = x.take_along_dim(order.unsqueeze(-1), dim=1)
        means.append(x.numpy())
        hashkeys += batch.hashkey
    require_rows(hashkeys, source)
    return np.concatenate(means)


def _probe(layer: int, x: NDArray, y: NDArray[np.bool_], test: NDArray, seed: int) -> ProbeLayer:
    from sklearn.metrics import roc_auc_score

    x, test = _few_features(*_standardised(x.astype(np.float64), test.astype(np.float64)))
    folds = list(_folds(y, seed))
    quality = {
        c: float(
            np.mean(
                [roc_auc_score(y[out], _fitted(x[fit], y[fit], c)(x[out])) for fit, out in folds]
            )
        )
        for c in _STRENGTHS
    }
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


def _folds(y: NDArray[np.bool_], seed: int) -> Iterator[tuple[NDArray, NDArray]]:
    from sklearn.model_selection import StratifiedKFold

    rarest = int(min(y.sum(), (~y).sum()))
    splits = min(_FOLDS, rarest)
    return StratifiedKFold(splits, shuffle=True, random_state=seed).split(y, y)


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


def _require_classes(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    counts = {label: int((labels == label).sum()) for label in (0, 1)}
    if min(counts.values()) < 2:
        raise LabelError(
            f"the training rows have {counts[1]} labelled hallucinated and {counts[0]} labelled "
            "not; a baseline is fitted on at least two of each"
        )
    return labels >= 0
