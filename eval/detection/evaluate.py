"""Detection from end to end: an encoder and its data in, the metrics of all detectors out."""

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
from ...contracts.settings import Count, NotNegativeInt, checked
from ..embedding import at_views, embed_layers
from .baselines import ProbeLayer, best_layer, length_direction, probe_layers
from .comparison import LabelledRows
from .detectors import CosineDetector, KNNDetector, MahalanobisDetector
from .held_out import HeldOut, held_out_scores
from .layer_map import knn_by_layer, layer_map
from .neighbours import choose_k
from .reference import Reference, reference_rows, reference_set, select
from .results import DetectionEvaluation, Scored, ScoredLayer
from .scoring import NoMetrics


def evaluate_detection(
    encoder: Encoder | ViewEncoder,
    *,
    train: KViewSource,
    test: KViewSource,
    views: Sequence[int] | None = None,
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

    Each source is read once. Nothing is chosen by looking at the test rows' labels.

    Args:
        encoder: in any mode; it is evaluated in eval mode and restored.
        train: the training rows, with every layer as a view.
        test: the test rows, with every layer as a view.
        views: positions in `layer_ids` of the K layers that detectors see; None for all.
        batch_size: rows of K views encoded at once, or fewer rows of all layers.
        device: where the encoder works; None for where it is.
        groups: the test rows' groups, which resamples keep together; None where each is its own.
        reference: which training rows the detectors are fitted on.
        k: the neighbours of kNN; `leave_one_out` chooses them on the labelled training rows.
        detectors: by name; None for `default_detectors(k)`.
        n_resamples: bootstrap resamples behind every interval.
        seed: of the resamples and the folds.

    Raises:
        LabelError: no training row can be a reference, or `k` is to be chosen without labels.
        ConfigError: a source does not show every layer, `views` or another setting does not fit, or
            there are too few reference rows.

    Examples:
        >>> import tempfile
        >>> from kview.data import ActivationParser, write_synthetic_store
        >>> from kview.eval import evaluate_detection
        >>> path = tempfile.mkdtemp() + "/store.zarr"
        >>> _ = write_synthetic_store(path, num_rows=90, num_layers=4, hidden_size=8, max_tokens=3)
        >>> parser = ActivationParser(None, None, path)
        >>> train, test = (parser.get_dataset(s, num_views=4) for s in ("train", "test"))
        >>> mean = lambda x: x.mean(dim=1)
        >>> found = evaluate_detection(mean, train=train, test=test, views=[0, 3])
        >>> found.view_layers, list(found.scored)
        ((0, 3), ['knn', 'mahalanobis', 'cosine', 'length', 'probe'])
    """
    layers = _layers_of_both(train, test)
    positions = _positions(views, len(layers))
    checked(NotNegativeInt, n_resamples=n_resamples)
    rows = max(1, checked(Count, batch_size=batch_size) * len(positions) // len(layers))
    (fit_layers, fit_means), (score_layers, score_means) = (
        embed_layers(encoder, source, batch_size=rows, device=device) for source in (train, test)
    )
    fit, score = at_views(fit_layers, positions), at_views(score_layers, positions)
    in_reference = reference_rows(fit, reference)
    neighbours = choose_k(fit, reference=reference).k if k == "leave_one_out" else k
    labelled = LabelledRows(np.asarray(test.labels), groups, n_resamples, seed)

    detected = {
        name: _detect(detector, fit, score, reference, labelled, seed)
        for name, detector in (detectors or default_detectors(neighbours)).items()
    }
    probes = _probes(layers, fit_means.numpy(), train.labels, score_means.numpy(), seed)
    baselines = _baselines(train, test, probes, labelled)
    knn = knn_by_layer(select(fit_layers, in_reference), score_layers, neighbours)
    return DetectionEvaluation(
        hashkeys=tuple(test.hashkeys),
        labels=np.asarray(test.labels),
        detectors=detected,
        baselines=baselines,
        differences=labelled.differences(_scores(detected), _scores(baselines)),
        layers=_layer_table(layers, knn, probes, labelled),
        layer_map=layer_map(score_layers, layers, seed),
        reference=reference,
        n_train=len(train),
        n_reference=len(in_reference),
        k=neighbours,
        view_layers=tuple(layers[p] for p in positions),
        n_resamples=labelled.n_resamples,
        grouped=groups is not None,
        seed=seed,
        embeddings=score.to("cpu"),
    )


def default_detectors(k: int = 10) -> dict[str, Detector]:
    """The detectors that are reported where none are chosen, unfitted."""
    return {"knn": KNNDetector(k), "mahalanobis": MahalanobisDetector(), "cosine": CosineDetector()}


def _layers_of_both(train: KViewSource, test: KViewSource) -> tuple[int, ...]:
    if train.layer_ids != test.layer_ids:
        raise ConfigError(
            f"train shows layers {train.layer_ids} and test {test.layer_ids}; what is fitted on a "
            "layer needs the same one to score"
        )
    return tuple(train.layer_ids)


def _positions(views: Sequence[int] | None, num_layers: int) -> tuple[int, ...]:
    positions = tuple(range(num_layers) if views is None else views)
    if len(set(positions) & set(range(num_layers))) < max(2, len(positions)):
        raise ConfigError(
            f"views={list(positions)} must be at least two positions from 0 to {num_layers - 1}, "
            "each once"
        )
    return positions


def _detect(
    detector: Detector,
    train: EmbeddingBatch,
    test: EmbeddingBatch,
    reference: Reference,
    labelled: LabelledRows,
    seed: int,
) -> Scored:
    try:
        held_out = held_out_scores(detector, train, reference, seed)
    except (LabelError, ConfigError):
        held_out = None  # too few training rows for folds, and so for probabilities
    detector.fit(reference_set(train, reference))
    return _scored(detector.score(test).cpu().numpy(), held_out, labelled)


def _probes(
    layers: tuple[int, ...], train: np.ndarray, labels: np.ndarray, test: np.ndarray, seed: int
) -> list[ProbeLayer] | NoMetrics:
    try:
        return probe_layers(layers, train, labels, test, seed=seed)
    except LabelError as error:
        return NoMetrics(reason=str(error))


def _baselines(
    train: KViewSource,
    test: KViewSource,
    probes: list[ProbeLayer] | NoMetrics,
    labelled: LabelledRows,
) -> dict[str, Scored]:
    """Response length, and the best probe; neither where the training rows lack a class."""
    if isinstance(probes, NoMetrics):
        return dict.fromkeys(("length", "probe"), Scored(scores=None, metrics=probes))
    best, labels = best_layer(probes), np.asarray(train.labels)
    known = labels >= 0
    sign = length_direction(train.response_lengths, labels)
    fitted, scored = (
        sign * np.asarray(source.response_lengths, np.float64) for source in (train, test)
    )
    return {
        "length": _scored(scored, (fitted[known], labels[known]), labelled),
        "probe": _scored(best.scores, (best.held_out, labels[known]), labelled),
    }


def _scored(scores: np.ndarray, held_out: HeldOut | None, labelled: LabelledRows) -> Scored:
    return Scored(scores=scores, metrics=labelled.metrics(scores, held_out))


def _scores(scored: Mapping[str, Scored]) -> dict[str, np.ndarray]:
    return {name: s.scores for name, s in scored.items() if s.scores is not None}


def _layer_table(
    layers: tuple[int, ...],
    knn: list[np.ndarray],
    probes: list[ProbeLayer] | NoMetrics,
    labelled: LabelledRows,
) -> tuple[ScoredLayer, ...]:
    if isinstance(probes, NoMetrics):
        best, each = None, [probes] * len(layers)
    else:
        best, each = best_layer(probes), probes
    return tuple(
        ScoredLayer(
            layer=layer,
            knn=labelled.metrics(scores),
            probe=labelled.metrics(probe.scores) if isinstance(probe, ProbeLayer) else probe,
            probe_cv_auroc=probe.cv_auroc if isinstance(probe, ProbeLayer) else None,
            chosen=probe is best,
        )
        for layer, scores, probe in zip(layers, knn, each, strict=True)
    )
