"""Detection from end to end: an encoder and its data in, all detectors' figures out."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch

from ...contracts import (
    ConfigError,
    Detector,
    EmbeddingBatch,
    Encoder,
    KViewSource,
    LabelError,
    ViewEncoder,
)
from ..embedding import embed
from .baselines import ProbeLayer, best_layer, length_direction, probe_layers
from .detectors import (
    CosineDetector,
    KNNDetector,
    MahalanobisDetector,
    Reference,
    reference_rows,
    select,
)
from .held_out import held_out_scores
from .judge import HeldOut, Judge
from .layer_map import knn_by_layer, layer_map
from .neighbours import choose_k
from .results import DetectionEvaluation, Scored, ScoredLayer
from .scoring import NoFigures


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
    k: int | Literal["leave_one_out"] = 10,
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
        train_layers: the training rows with every layer as a view.
        test_layers: the test rows with every layer as a view.
        batch_size: rows encoded at once; of all layers, as many as make the same number of views.
        device: where the encoder works; None for where it is.
        groups: the test rows' groups, which resamples keep together; None for each its own.
        reference: which training rows the detectors are fitted on.
        k: the neighbours of kNN; `leave_one_out` chooses them on the labelled training rows.
        detectors: by name; None for `default_detectors(k)`.
        n_resamples: bootstrap resamples behind every interval.
        seed: of the resamples and the folds.

    Raises:
        LabelError: no training row can be a reference, or `k` is to be chosen without labels.
        ConfigError: there are too few reference rows, or the sources' layers do not fit.
    """
    rows = max(1, batch_size * train.num_views // train_layers.num_views)
    fit = embed(encoder, train, batch_size=batch_size, device=device)
    score = embed(encoder, test, batch_size=batch_size, device=device)
    fit_layers = embed(encoder, train_layers, batch_size=rows, device=device)
    score_layers = embed(encoder, test_layers, batch_size=rows, device=device)
    in_reference = reference_rows(fit, reference)
    neighbours = choose_k(fit, reference=reference).k if k == "leave_one_out" else k
    judge = Judge(np.asarray(test.labels), groups, n_resamples, seed)

    scored = {
        name: _detect(detector, fit, in_reference, score, judge, reference, seed)
        for name, detector in (detectors or default_detectors(neighbours)).items()
    }
    probes = _probes(train_layers, test_layers, rows, seed)
    baselines = {"length": _length(train, test, judge), "probe": _probe(probes, train, judge)}
    by_layer = knn_by_layer(select(fit_layers, in_reference), score_layers, neighbours)
    return DetectionEvaluation(
        hashkeys=tuple(test.hashkeys),
        labels=np.asarray(test.labels),
        detectors=scored,
        baselines=baselines,
        differences=judge.differences(scored, baselines),
        layers=_layer_table(test_layers.layer_ids, by_layer, probes, judge),
        layer_map=layer_map(score_layers, tuple(test_layers.layer_ids), seed),
        reference=reference,
        n_train=len(train),
        n_reference=len(in_reference),
        k=neighbours,
        view_layers=_view_layers(test),
        n_resamples=judge.n_resamples,
        grouped=groups is not None,
        seed=seed,
        embeddings=score.to("cpu"),
    )


def default_detectors(k: int = 10) -> dict[str, Detector]:
    """The detectors that are reported where none are chosen, unfitted."""
    return {"knn": KNNDetector(k), "mahalanobis": MahalanobisDetector(), "cosine": CosineDetector()}


def _detect(
    detector: Detector,
    train: EmbeddingBatch,
    in_reference: list[int],
    test: EmbeddingBatch,
    judge: Judge,
    reference: Reference,
    seed: int,
) -> Scored:
    held_out = _held_out(detector, train, reference, seed)
    detector.fit(select(train, in_reference))
    return judge(detector.score(test).cpu().numpy(), held_out)


def _held_out(
    detector: Detector, train: EmbeddingBatch, reference: Reference, seed: int
) -> HeldOut | None:
    """None where the training rows are too few for folds, and so for probabilities."""
    try:
        return held_out_scores(detector, train, reference, seed)
    except (LabelError, ConfigError):
        return None


def _probes(
    train: KViewSource, test: KViewSource, rows: int, seed: int
) -> list[ProbeLayer] | NoFigures:
    try:
        return probe_layers(train, test, batch_size=rows, seed=seed)
    except LabelError as error:
        return NoFigures(reason=str(error))


def _probe(probes: list[ProbeLayer] | NoFigures, train: KViewSource, judge: Judge) -> Scored:
    if isinstance(probes, NoFigures):
        return Scored(scores=None, figures=probes)
    best, labels = best_layer(probes), np.asarray(train.labels)
    return judge(best.scores, (best.held_out, labels[labels >= 0]))


def _length(train: KViewSource, test: KViewSource, judge: Judge) -> Scored:
    """Response length alone, longer or shorter, whichever the training rows say."""
    labels = np.asarray(train.labels)
    lengths = np.asarray(train.response_lengths, dtype=np.float64)
    try:
        sign = length_direction(lengths, labels)
    except LabelError as error:
        return Scored(scores=None, figures=NoFigures(reason=str(error)))
    known = labels >= 0
    scores = sign * np.asarray(test.response_lengths, dtype=np.float64)
    return judge(scores, (sign * lengths[known], labels[known]))


def _layer_table(
    layers: Sequence[int],
    knn_scores: list[np.ndarray],
    probes: list[ProbeLayer] | NoFigures,
    judge: Judge,
) -> tuple[ScoredLayer, ...]:
    if isinstance(probes, NoFigures):
        return tuple(
            ScoredLayer(
                layer=layer,
                knn=judge.figures(scores),
                probe=probes,
                probe_cv_auroc=None,
                chosen=False,
            )
            for layer, scores in zip(layers, knn_scores, strict=True)
        )
    best = best_layer(probes)
    return tuple(
        ScoredLayer(
            layer=probe.layer,
            knn=judge.figures(scores),
            probe=judge.figures(probe.scores),
            probe_cv_auroc=probe.cv_auroc,
            chosen=probe is best,
        )
        for probe, scores in zip(probes, knn_scores, strict=True)
    )


def _view_layers(source: KViewSource) -> tuple[int, ...]:
    first = next(source.batches(epoch=0, batch_size=1, shuffle=False))
    if first.view_indices is None:
        return tuple(source.layer_ids[: source.num_views])
    return tuple(source.layer_ids[i] for i in first.view_indices[0].tolist())
