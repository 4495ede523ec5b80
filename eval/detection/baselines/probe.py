"""A logistic probe on a layer's mean activation, and the average of all layers' probes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .layer_direction import LayerDirection
from .layer_features import LayerFeatures, cv_auroc
from .logistic import fit_logistic, turned

_STRENGTHS = (1e-4, 1e-2, 1.0)
"""Inverse penalties that the probe chooses from, on standardised features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe(LayerDirection):
    """A probe on one layer; its scores are log-odds.

    Attributes:
        strength: its inverse penalty, chosen by cross-validation on the training rows.
        held_out_mean: of the log-odds of training rows that its fold was not fitted on.
        held_out_std: the deviation of the same.
    """

    strength: float
    held_out_mean: float
    held_out_std: float


def probe(features: LayerFeatures) -> Probe:
    """The probe of a layer, with its penalty chosen by cross-validation on the training rows."""
    y, parts = features.y, features.parts
    used = np.ones((len(y), len(parts) + 1), bool)  # the last regression uses every row
    for fold, (_, out) in enumerate(parts):
        used[out, fold] = False
    found = fit_logistic(turned(features.x), y, used, _STRENGTHS)
    quality = [cv_auroc(regressions.log_odds, y, parts) for regressions in found]
    best = int(np.argmax(quality))  # the smallest strength of equals
    held_out = np.concatenate([found[best].log_odds[out, f] for f, (_, out) in enumerate(parts)])
    return Probe(
        layer=features.layer,
        strength=_STRENGTHS[best],
        cv_auroc=quality[best],
        weights=found[best].weights[:, -1],
        offset=float(found[best].intercepts[-1]),
        held_out_mean=float(held_out.mean()),
        held_out_std=float(held_out.std()),
    )


def average(probes: Sequence[Probe], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over layers of log-odds on one scale, that of the training rows held out, (m,).

    Args:
        probes: of L layers.
        scores: theirs, (L, m).
    """
    scaled = [
        (each - probe.held_out_mean) / probe.held_out_std
        for probe, each in zip(probes, scores, strict=True)
        if probe.held_out_std > 0
    ]
    return np.mean(scaled, axis=0) if scaled else np.zeros(scores.shape[1])
