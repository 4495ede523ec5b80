"""A logistic probe on a layer's mean activation, and the average of all layers' probes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .layer_features import LayerFeatures, cv_auroc
from .layer_scores import LayerScores
from .logistic import fit_logistic, turned

Array = NDArray[np.float64]

_STRENGTHS = (1e-4, 1e-2, 1.0)
"""Inverse penalties that the probe chooses from, on standardised features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe(LayerScores):
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
    found = fit_logistic(turned(features.x, features.asked), y, used, _STRENGTHS)
    quality = [cv_auroc(log_odds.fit, y, parts) for log_odds in found]
    best = int(np.argmax(quality))  # the smallest strength of equals
    held_out = np.concatenate([found[best].fit[out, f] for f, (_, out) in enumerate(parts)])
    return Probe(
        layer=features.layer,
        strength=_STRENGTHS[best],
        cv_auroc=quality[best],
        scores=found[best].asked[:, -1],
        held_out_mean=float(held_out.mean()),
        held_out_std=float(held_out.std()),
    )


def average(probes: Sequence[Probe]) -> Array:
    """The mean over layers of log-odds on one scale, that of the training rows held out, (m,)."""
    known = [probe for probe in probes if probe.held_out_std > 0]
    scores = [(probe.scores - probe.held_out_mean) / probe.held_out_std for probe in known]
    return np.mean(scores, axis=0) if scores else np.zeros_like(probes[0].scores)
