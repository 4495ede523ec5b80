"""What an evaluation of detection found, as types."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...contracts import EmbeddingBatch
from .choice import Choice
from .comparison import Difference
from .layer_map import LayerMap
from .reference import Reference
from .scoring import DetectionMetrics, NoMetrics, auroc_of
from .verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The scores of one detector or baseline on the test rows, and what they are worth.

    Attributes:
        scores: (n,), higher for more likely hallucinated; None where it could not be fitted.
        metrics: how well they tell the labelled rows apart, or why that cannot be said.
    """

    scores: NDArray[np.float64] | None
    metrics: DetectionMetrics | NoMetrics

    @property
    def auroc(self) -> float | None:
        """Its AUROC; None where there are no metrics."""
        return auroc_of(self.metrics)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredLayer:
    """What one layer alone detects.

    Attributes:
        layer: the model's layer id.
        knn: the metrics of kNN on its embeddings; none where no view is drawn from it.
        probe: the metrics of the linear probe on its activations.
        probe_cv_auroc: the probe's AUROC in cross-validation on the training rows; None without.
        chosen: whether its probe is the one that is reported as the baseline.
    """

    layer: int
    knn: DetectionMetrics | NoMetrics
    probe: DetectionMetrics | NoMetrics
    probe_cv_auroc: float | None
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionEvaluation:
    """Everything an evaluation of detection found.

    Attributes:
        hashkeys: the test rows, n.
        labels: theirs, (n,): 1, 0 or -1.
        choice: the detector to rely on, and why.
        best_baseline: the baseline to beat, and why; None where no baseline has scores.
        detectors: by name: those of `default_detectors`, or those that were given.
        baselines: by name, length and probe first (docs/evaluating.md lists them).
        differences: the chosen detector's AUROC less each baseline's, and each other detector's
            less the best baseline's; one of them primary; empty without metrics.
        verdict: whether the detector beats the best baseline, in a sentence.
        layers: what each layer alone detects.
        layer_map: how the layers' embeddings lie.
        reference: which training rows the detectors were fitted on.
        n_train: training rows.
        n_val: validation rows.
        n_reference: those of the training rows that detectors of one class were fitted on.
        k: the neighbours of kNN.
        view_layers: the model's layer ids of the K views that were scored.
        n_resamples: resamples behind the intervals of average precision and FPR at 95 % TPR.
        grouped: whether intervals keep groups together.
        seed: of the resamples and the folds.
        embeddings: of the test rows, on the CPU; None where it was read from a file.
    """

    hashkeys: tuple[str, ...]
    labels: NDArray[np.int8]
    choice: Choice
    best_baseline: Choice | None
    detectors: Mapping[str, Scored]
    baselines: Mapping[str, Scored]
    differences: tuple[Difference, ...]
    verdict: Verdict
    layers: tuple[ScoredLayer, ...]
    layer_map: LayerMap
    reference: Reference
    n_train: int
    n_val: int
    n_reference: int
    k: int
    view_layers: tuple[int, ...]
    n_resamples: int
    grouped: bool
    seed: int
    embeddings: EmbeddingBatch | None

    @property
    def scored(self) -> dict[str, Scored]:
        """Detectors and baselines by name, in order."""
        return {**self.detectors, **self.baselines}

    @property
    def failures(self) -> dict[str, str]:
        """Of the detectors that raised: why, by name."""
        found = {name: scored.metrics for name, scored in self.scored.items()}
        return {n: m.reason for n, m in found.items() if isinstance(m, NoMetrics) and m.failed}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the test rows are too few for, each sentence once."""
        found = [s.metrics for s in self.scored.values()]
        known = [m.notes for m in found if isinstance(m, DetectionMetrics)]
        return tuple(dict.fromkeys(note for notes in known for note in notes))
