"""Detection from end to end: an encoder and its data in, all detectors' figures out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..contracts import Detector, EmbeddingBatch, Encoder, KViewSource, LabelError, ViewEncoder
from .baselines import ProbeLayer, best_layer, length_scores, probe_layers
from .detectors import (
    CosineDetector,
    KNNDetector,
    MahalanobisDetector,
    Reference,
    reference_set,
)
from .embedding import embed
from .outputs import summary, write_evaluation, write_predictions
from .scoring import (
    DetectionFigures,
    Difference,
    NoFigures,
    Resamples,
    detection_figures,
    labelled,
    no_figures_reason,
    paired_differences,
    resamples,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The scores of one detector or baseline on the test rows, and what they are worth.

    Attributes:
        scores: (n,), higher for more likely hallucinated; None where it could not be fitted.
        figures: how well they tell the labelled rows apart, or why that cannot be said.
    """

    scores: NDArray[np.float64] | None
    figures: DetectionFigures | NoFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredLayer:
    """The probe on one layer.

    Attributes:
        layer: the model's layer id.
        cv_auroc: its AUROC in cross-validation on the training rows.
        chosen: whether it is the probe that is reported as the baseline.
        figures: on the test rows.
    """

    layer: int
    cv_auroc: float
    chosen: bool
    figures: DetectionFigures | NoFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionEvaluation:
    """Everything an evaluation of detection found.

    Attributes:
        hashkeys: the test rows, n.
        labels: theirs, (n,): 1, 0 or -1.
        detectors: by name: knn, mahalanobis, cosine.
        baselines: by name: length, probe.
        probe_layers: the probe on every layer; empty where none could be fitted.
        differences: each detector's AUROC less each baseline's; empty without figures.
        reference: which training rows the detectors were fitted on.
        n_train: training rows.
        n_reference: those of them that the detectors were fitted on.
        view_layers: the model's layer ids of the K views.
        n_resamples: resamples behind every interval.
        grouped: whether resamples keep groups together.
        seed: of the resamples and of the probe's folds.
        embeddings: of the test rows, on the CPU.
    """

    hashkeys: tuple[str, ...]
    labels: NDArray[np.int8]
    detectors: Mapping[str, Scored]
    baselines: Mapping[str, Scored]
    probe_layers: tuple[ScoredLayer, ...]
    differences: tuple[Difference, ...]
    reference: Reference
    n_train: int
    n_reference: int
    view_layers: tuple[int, ...]
    n_resamples: int
    grouped: bool
    seed: int
    embeddings: EmbeddingBatch

    @property
    def scored(self) -> dict[str, Scored]:
        """Detectors and baselines by name, in order."""
        return {**self.detectors, **self.baselines}

    def to_json(self) -> dict[str, object]:
        """The figures as plain values, as they stand in `evaluation.json`."""
        return summary(self)

    def write(self, folder: str | Path) -> None:
        """Writes `evaluation.json` and `predictions.csv` into a folder, made if needed."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_evaluation(folder / "evaluation.json", self)
        write_predictions(folder / "predictions.csv", self)


def evaluate_detection(
    encoder: Encoder | ViewEncoder,
    *,
    train: KViewSource,
    test: KViewSource,
    train_layers: KViewSource,
    test_layers: KViewSource,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    groups: Sequence[str] | None = None,
    reference: Reference = "not_hallucinated",
    detectors: Mapping[str, Detector] | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> DetectionEvaluation:
    """Fits detectors and baselines on the training rows, and scores the test rows.

    Nothing is chosen by looking at the test rows' labels.

    Args:
        encoder: in any mode; it is evaluated in eval mode and restored.
        train: the training rows at K fixed layers, the same for all.
        test: the test rows at the same layers.
        train_layers: the training rows with every layer as a view, for the probe.
        test_layers: the test rows with every layer as a view.
        batch_size: rows encoded at once; of all layers, as many as make the same number of views.
        device: where the encoder works; None for where it is.
        groups: the test rows' groups, which resamples keep together; None for each its own.
        reference: which training rows the detectors are fitted on.
        detectors: by name; None for `default_detectors()`.
        n_resamples: bootstrap resamples behind every interval.
        seed: of the resamples and of the probe's folds.

    Raises:
        LabelError: no training row can be a reference.
        ConfigError: there are too few reference rows, or the sources' layers do not fit.
    """
    train_embeddings = embed(encoder, train, batch_size=batch_size, device=device)
    test_embeddings = embed(encoder, test, batch_size=batch_size, device=device)
    fitted_on = reference_set(train_embeddings, reference)
    labels = np.asarray(test.labels)
    judge = _Judge(labels, groups, n_resamples, seed)
    scored = {
        name: judge(detector.fit(fitted_on).score(test_embeddings).cpu().numpy())
        for name, detector in (detectors or default_detectors()).items()
    }
    rows = max(1, batch_size * train.num_views // train_layers.num_views)
    probes = _probes(train_layers, test_layers, rows, seed)
    baselines = {
        "length": _length(train, test, judge),
        "probe": Scored(scores=None, figures=probes)
        if isinstance(probes, NoFigures)
        else judge(best_layer(probes).scores),
    }
    return DetectionEvaluation(
        hashkeys=tuple(test.hashkeys),
        labels=labels,
        detectors=scored,
        baselines=baselines,
        probe_layers=() if isinstance(probes, NoFigures) else _layer_table(probes, judge),
        differences=judge.differences(scored, baselines),
        reference=reference,
        n_train=len(train),
        n_reference=len(fitted_on),
        view_layers=_view_layers(test),
        n_resamples=judge.n_resamples,
        grouped=groups is not None,
        seed=seed,
        embeddings=test_embeddings.to("cpu"),
    )


def default_detectors() -> dict[str, Detector]:
    """The detectors that are reported where none are chosen, unfitted."""
    return {"knn": KNNDetector(), "mahalanobis": MahalanobisDetector(), "cosine": CosineDetector()}


class _Judge:
    """Turns scores into figures: the same labelled rows and the same resamples for all."""

    def __init__(
        self, labels: NDArray[np.int8], groups: Sequence[str] | None, count: int, seed: int
    ) -> None:
        self._known = labelled(labels)
        self._labels = labels[self._known]
        self._reason = no_figures_reason(labels)
        self._draws = Resamples(np.empty((0, len(self._labels))))
        if self._reason is None:
            known_groups = None if groups is None else list(np.asarray(groups)[self._known])
            self._draws = resamples(self._labels, groups=known_groups, count=count, seed=seed)

    @property
    def n_resamples(self) -> int:
        return len(self._draws.weights)

    def __call__(self, scores: NDArray[np.float64]) -> Scored:
        return Scored(scores=scores, figures=self.figures(scores))

    def figures(self, scores: NDArray[np.float64]) -> DetectionFigures | NoFigures:
        if self._reason is not None:
            return NoFigures(reason=self._reason)
        return detection_figures(scores[self._known], self._labels, self._draws)

    def differences(
        self, detectors: Mapping[str, Scored], baselines: Mapping[str, Scored]
    ) -> tuple[Difference, ...]:
        if self._reason is not None:
            return ()
        scores = {
            name: scored.scores[self._known]
            for name, scored in {**detectors, **baselines}.items()
            if scored.scores is not None
        }
        pairs = [(d, b) for d in detectors for b in baselines if b in scores]
        return tuple(paired_differences(scores, self._labels, self._draws, pairs=pairs))


def _probes(
    train: KViewSource, test: KViewSource, rows: int, seed: int
) -> list[ProbeLayer] | NoFigures:
    try:
        return probe_layers(train, test, batch_size=rows, seed=seed)
    except LabelError as error:
        return NoFigures(reason=str(error))


def _length(train: KViewSource, test: KViewSource, judge: _Judge) -> Scored:
    try:
        scores = length_scores(
            np.asarray(train.response_lengths),
            np.asarray(train.labels),
            np.asarray(test.response_lengths),
        )
    except LabelError as error:
        return Scored(scores=None, figures=NoFigures(reason=str(error)))
    return judge(scores)


def _layer_table(probes: list[ProbeLayer], judge: _Judge) -> tuple[ScoredLayer, ...]:
    best = best_layer(probes)
    return tuple(
        ScoredLayer(
            layer=probe.layer,
            cv_auroc=probe.cv_auroc,
            chosen=probe is best,
            figures=judge.figures(probe.scores),
        )
        for probe in probes
    )


def _view_layers(source: KViewSource) -> tuple[int, ...]:
    first = next(source.batches(epoch=0, batch_size=1, shuffle=False))
    if first.view_indices is None:
        return tuple(source.layer_ids[: source.num_views])
    return tuple(source.layer_ids[i] for i in first.view_indices[0].tolist())
