"""All baselines of an evaluation, by name: fitted on the training rows, and asked about others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ....contracts import Detector, EmbeddingBatch, LabelError
from ..detectors import KNNDetector
from ..fitted import Scores, ask, fit_on
from ..reference import Reference
from ..rows import Rows
from ..scoring import NoMetrics
from ..split_scores import SplitScores, joined
from ..two_class import LogisticDetector, TwoClassKNNDetector
from .by_layer import FittedLayers, LayerScores, score_layers
from .layer_direction import best_layer
from .length import length_direction
from .logprobs import LOGPROB_BASELINES
from .probe import average

_BY_LAYER = ("probe", "probe_mean", "mass_mean")
_DETECTORS = ("knn", "two_class_knn", "logistic")

BASELINES = (
    "length",
    *_BY_LAYER,
    *(f"{name}_{on}" for on in ("means", "untrained") for name in _DETECTORS),
    *LOGPROB_BASELINES,
)
"""Their names, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedBaselines:
    """What every baseline has taken of the training rows.

    Attributes:
        length: which way the response's length is read; or why none.
        layers: what is fitted on one layer after the other.
        on_means: detectors on the mean of the standardised view layers, by name.
        on_untrained: detectors on the untrained encoder's vectors, by name.
    """

    length: Literal[1, -1] | NoMetrics
    layers: FittedLayers
    on_means: Mapping[str, Detector | NoMetrics]
    on_untrained: Mapping[str, Detector | NoMetrics]


def fit_baselines(
    layers: FittedLayers, train: Rows, reference: Reference, k: int
) -> FittedBaselines:
    """Fits every baseline that is fitted.

    Args:
        layers: what the layers' activations give.
        train: the training rows.
        reference: which training rows detectors of one class are fitted on.
        k: the neighbours of kNN.
    """
    means = train.vectors(torch.from_numpy(layers.train))
    return FittedBaselines(
        length=_length(train),
        layers=layers,
        on_means={n: fit_on(means, d, reference) for n, d in _detectors(k).items()},
        on_untrained={n: fit_on(train.untrained, d, reference) for n, d in _detectors(k).items()},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineScores:
    """What the baselines say of some rows.

    Attributes:
        fitted: scores by those that are fitted, by name.
        logprobs: by those of log-probabilities, NaN where a row has none; empty where no row has.
        layers: layer by layer.
    """

    fitted: Scores
    logprobs: Mapping[str, NDArray[np.float64]]
    layers: LayerScores


def score_baselines(fitted: FittedBaselines, rows: Rows) -> BaselineScores:
    """Scores other rows by every baseline.

    Args:
        fitted: on the training rows.
        rows: read as the training rows were.
    """
    layers = score_layers(fitted.layers, rows.means)
    lengths = np.asarray(rows.source.response_lengths, np.float64)
    return BaselineScores(
        fitted={
            "length": fitted.length
            if isinstance(fitted.length, NoMetrics)
            else fitted.length * lengths,
            **_by_layer(fitted.layers, layers),
            **_ask("means", fitted.on_means, rows.vectors(torch.from_numpy(layers.vectors))),
            **_ask("untrained", fitted.on_untrained, rows.untrained),
        },
        logprobs=rows.logprobs,
        layers=layers,
    )


def all_baselines(
    test: BaselineScores, val: BaselineScores | None
) -> dict[str, SplitScores | NoMetrics]:
    """The scores of the test and validation rows by name; those of log-probabilities are left out
    where either has none."""
    given = [test] if val is None else [test, val]
    logprobs = {
        name: _recorded([rows.logprobs[name] for rows in given])
        for name in LOGPROB_BASELINES
        if all(name in rows.logprobs for rows in given)
    }
    return {**joined(test.fitted, None if val is None else val.fitted), **logprobs}


def _length(train: Rows) -> Literal[1, -1] | NoMetrics:
    try:
        return length_direction(train.source.response_lengths, train.labels)
    except LabelError as error:
        return NoMetrics(reason=str(error))


def _detectors(k: int) -> dict[str, Detector]:
    """Those that stand for all, on other vectors than the encoder's."""
    detectors = KNNDetector(k), TwoClassKNNDetector(k), LogisticDetector()
    return dict(zip(_DETECTORS, detectors, strict=True))


def _by_layer(fitted: FittedLayers, scores: LayerScores) -> dict[str, NDArray | NoMetrics]:
    if isinstance(fitted.probes, NoMetrics) or isinstance(scores.probes, NoMetrics):
        return dict.fromkeys(_BY_LAYER, scores.probes)
    if isinstance(fitted.mass_means, NoMetrics) or isinstance(scores.mass_means, NoMetrics):
        return dict.fromkeys(_BY_LAYER, scores.mass_means)
    return {
        "probe": scores.probes[best_layer(fitted.probes)],
        "probe_mean": average(fitted.probes, scores.probes),
        "mass_mean": scores.mass_means[best_layer(fitted.mass_means)],
    }


def _ask(
    on: str, detectors: Mapping[str, Detector | NoMetrics], rows: EmbeddingBatch | NoMetrics
) -> dict[str, NDArray | NoMetrics]:
    return {f"{name}_{on}": ask(detector, rows) for name, detector in detectors.items()}


def _recorded(scores: Sequence[NDArray[np.float64]]) -> SplitScores | NoMetrics:
    lacking = sum(int((~np.isfinite(s)).sum()) for s in scores)
    if lacking:
        total = sum(map(len, scores))
        reason = f"{lacking} of {total} rows have no log-probabilities recorded, or no finite ones"
        return NoMetrics(reason=reason)
    return SplitScores(scores[0], scores[1] if len(scores) > 1 else None)
