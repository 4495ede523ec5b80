"""All baselines of an evaluation, by name."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ....contracts import Detector, LabelError
from ..detectors import KNNDetector
from ..fitted import Embedded, fitted_scores
from ..reference import Reference
from ..rows import Rows
from ..scoring import NoMetrics
from ..split_scores import SplitScores
from ..two_class import LogisticDetector, TwoClassKNNDetector
from .by_layer import ByLayer
from .layer_scores import best_layer
from .length import length_direction
from .probe import average

Found = SplitScores | NoMetrics


def fit_baselines(
    found: ByLayer,
    train: Rows,
    test: Rows,
    val: Rows | None,
    *,
    untrained: NoMetrics | None,
    reference: Reference,
    k: int,
) -> dict[str, Found]:
    """The scores of every baseline, or why it has none.

    Args:
        found: what the layers' activations give.
        train: the training rows.
        test: the test rows.
        val: the validation rows; None without.
        untrained: why there is no untrained encoder; None where there is one.
        reference: which training rows detectors of one class are fitted on.
        k: the neighbours of kNN.
    """
    asked = [test] if val is None else [test, val]
    cut = len(test.source)
    means = [torch.from_numpy(x) for x in np.split(found.asked, [cut])]
    of_means = Embedded(
        train=train.vectors(torch.from_numpy(found.train)),
        test=test.vectors(means[0]),
        val=None if val is None else val.vectors(means[1]),
    )
    return {
        "length": _length(train, asked),
        **_by_layer(found, cut, val is not None),
        **_detectors("means", of_means, reference, k),
        **_detectors("untrained", untrained or _of_untrained(train, test, val), reference, k),
        **_logprobs(asked),
    }


def _length(train: Rows, asked: Sequence[Rows]) -> Found:
    try:
        sign = length_direction(train.source.response_lengths, train.labels)
    except LabelError as error:
        return NoMetrics(reason=str(error))
    return _split([sign * np.asarray(r.source.response_lengths, np.float64) for r in asked])


def _by_layer(found: ByLayer, cut: int, validated: bool) -> dict[str, Found]:
    probes, mass_means = found.probes, found.mass_means
    names = ("probe", "probe_mean", "mass_mean")
    if isinstance(probes, NoMetrics):
        return dict.fromkeys(names, probes)
    if isinstance(mass_means, NoMetrics):
        return dict.fromkeys(names, mass_means)
    scores = {
        "probe": best_layer(probes).scores,
        "probe_mean": average(probes),
        "mass_mean": best_layer(mass_means).scores,
    }
    return {name: SplitScores.cut(s, cut, validated) for name, s in scores.items()}


def _detectors(
    on: str, rows: Embedded | NoMetrics, reference: Reference, k: int
) -> dict[str, Found]:
    """The detectors that stand for all, on other vectors than the encoder's; or why on none."""
    detectors: Mapping[str, Detector] = {
        "knn": KNNDetector(k),
        "two_class_knn": TwoClassKNNDetector(k),
        "logistic": LogisticDetector(),
    }
    return {
        f"{name}_{on}": rows if isinstance(rows, NoMetrics) else fitted_scores(d, rows, reference)
        for name, d in detectors.items()
    }


def _of_untrained(train: Rows, test: Rows, val: Rows | None) -> Embedded | NoMetrics:
    if train.untrained is None or test.untrained is None:
        return NoMetrics(reason="no untrained encoder was asked")
    return Embedded(
        train=train.untrained, test=test.untrained, val=None if val is None else val.untrained
    )


def _logprobs(asked: Sequence[Rows]) -> dict[str, Found]:
    """Those that all rows have: none where a source has no log-probabilities."""
    names = [n for n in asked[0].logprobs if all(n in rows.logprobs for rows in asked)]
    return {name: _finite([rows.logprobs[name] for rows in asked]) for name in names}


def _finite(scores: Sequence[np.ndarray]) -> Found:
    lacking = sum(int((~np.isfinite(s)).sum()) for s in scores)
    if lacking:
        total = sum(map(len, scores))
        return NoMetrics(reason=f"{lacking} of {total} rows have no log-probabilities recorded")
    return _split(scores)


def _split(scores: Sequence[np.ndarray]) -> SplitScores:
    return SplitScores(scores[0], scores[1] if len(scores) > 1 else None)
