"""Detection from end to end: an encoder and its data in, the metrics of all detectors out."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ...contracts import (
    Detector,
    EmbeddingBatch,
    Encoder,
    KViewSource,
    LabelError,
    ViewEncoder,
)
from ...contracts.settings import Count, NotNegativeInt, checked
from .baselines import ProbeLayer, best_layer, length_direction, probe_layers
from .choice import choose
from .comparison import LabelledRows
from .detectors import CosineDetector, KNNDetector, MahalanobisDetector
from .held_out import HeldOut, labelled_scores
from .layer_map import knn_by_layer, layer_map
from .neighbours import choose_k
from .reference import Reference, labelled_rows, reference_rows, select
from .results import DetectionEvaluation, Scored, ScoredLayer
from .rows import Rows, layers_of_all, read_rows, view_positions
from .scoring import NoMetrics
from .two_class import LogisticDetector, TwoClassKNNDetector
from .verdict import verdict


def evaluate_detection(
    encoder: Encoder | ViewEncoder,
    *,
    train: KViewSource,
    test: KViewSource,
    val: KViewSource | None = None,
    views: Sequence[int] | None = None,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    train_groups: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    reference: Reference = "not_hallucinated",
    k: int | Literal["validation"] = 10,
    detectors: Mapping[str, Detector] | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> DetectionEvaluation:
    """Fits detectors and baselines on the training rows, and scores the test rows.

    Each source is read once. Nothing is chosen by looking at the test rows' labels: the detector to
    rely on (`chosen`), and what makes probabilities of scores, come from the validation rows.

    Args:
        encoder: in any mode; it is evaluated in eval mode and restored.
        train: the training rows, with every layer as a view.
        test: the test rows, with every layer as a view.
        val: rows that the encoder was not trained on, with every layer as a view; None for none.
        views: positions in `layer_ids` of the K layers that detectors see; None for all that the
            encoder knows.
        batch_size: rows of K views encoded at once, or fewer where there are more layers to read.
        device: where the encoder works; None for where it is.
        train_groups: the training rows' groups, which folds keep whole; None where each is its own.
        groups: the test rows' groups, which intervals keep together; None where each is its own.
        reference: which training rows the detectors of one class are fitted on.
        k: the neighbours of kNN; `validation` chooses them on the validation rows.
        detectors: by name; None for `default_detectors(k)`.
        n_resamples: bootstrap resamples behind the intervals that have no formula.
        seed: of the resamples and the folds.

    Raises:
        LabelError: no training row can be a reference, or `k` is to be chosen without labelled
            validation rows.
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
        ((0, 3), ['knn', 'mahalanobis', 'cosine', 'two_class_knn', 'logistic', 'length', 'probe'])
        >>> found.choice.name, found.choice.validated
        ('knn', False)
    """
    sources = {"train": train, "test": test} | ({} if val is None else {"val": val})
    layers = layers_of_all(sources)
    known = encoder.encoder if isinstance(encoder, ViewEncoder) else encoder
    positions = view_positions(views, layers, getattr(known, "layer_ids", None))
    checked(NotNegativeInt, n_resamples=n_resamples)
    at_once = max(1, checked(Count, batch_size=batch_size) * len(positions) // len(layers))
    rows = {
        name: read_rows(encoder, source, positions, at_once, device)
        for name, source in sources.items()
    }
    fitted_on, scored, validation = rows["train"], rows["test"], rows.get("val")
    in_reference = reference_rows(fitted_on.embedded, reference)
    neighbours = (
        choose_k(fitted_on.embedded, validation and validation.embedded, reference=reference).k
        if k == "validation"
        else k
    )
    labelled = LabelledRows(scored.labels, groups, n_resamples, seed)

    detected, on_val = {}, {}
    for name, detector in (detectors or default_detectors(neighbours)).items():
        detected[name], on_val[name] = _detect(
            detector, fitted_on.embedded, reference, scored, validation, labelled
        )
    probes = _probes(layers, fitted_on, scored, validation, train_groups, seed)
    baselines = _baselines(fitted_on, scored, validation, probes, labelled)
    knn = knn_by_layer(select(fitted_on.embedded, in_reference), scored.embedded, neighbours)
    choice = choose(on_val)
    primary = (choice.name, "probe")
    differences = labelled.differences(_scores(detected), _scores(baselines), primary=primary)
    return DetectionEvaluation(
        hashkeys=tuple(test.hashkeys),
        labels=scored.labels,
        choice=choice,
        detectors=detected,
        baselines=baselines,
        differences=differences,
        verdict=verdict(
            differences,
            {name: s.metrics for name, s in {**detected, **baselines}.items()},
            n_groups=labelled.n_groups,
        ),
        layers=_layer_table(layers, dict(zip(positions, knn, strict=True)), probes, labelled),
        layer_map=layer_map(scored.embedded, tuple(layers[p] for p in positions), seed),
        reference=reference,
        n_train=len(train),
        n_val=0 if val is None else len(val),
        n_reference=len(in_reference),
        k=neighbours,
        view_layers=tuple(layers[p] for p in positions),
        n_resamples=labelled.n_resamples,
        grouped=groups is not None,
        seed=seed,
        embeddings=scored.embedded.to("cpu"),
    )


def default_detectors(k: int = 10) -> dict[str, Detector]:
    """The detectors that are reported where none are chosen, unfitted."""
    return {
        "knn": KNNDetector(k),
        "mahalanobis": MahalanobisDetector(),
        "cosine": CosineDetector(),
        "two_class_knn": TwoClassKNNDetector(k),
        "logistic": LogisticDetector(),
    }


def _detect(
    detector: Detector,
    train: EmbeddingBatch,
    reference: Reference,
    test: Rows,
    val: Rows | None,
    labelled: LabelledRows,
) -> tuple[Scored, HeldOut | None]:
    """A detector's scores of the test rows, and those of the labelled validation rows."""
    two_class = getattr(detector, "two_class", False)
    try:
        rows = labelled_rows(train) if two_class else reference_rows(train, reference)
        detector.fit(select(train, rows))
    except LabelError as error:
        if not two_class:
            raise
        return Scored(scores=None, metrics=NoMetrics(reason=str(error))), None
    held_out = None if val is None else labelled_scores(_score(detector, val), val.labels)
    return _scored(_score(detector, test), held_out, labelled), held_out


def _score(detector: Detector, rows: Rows) -> NDArray[np.float64]:
    return detector.score(rows.embedded).cpu().numpy()


def _probes(
    layers: tuple[int, ...],
    train: Rows,
    test: Rows,
    val: Rows | None,
    groups: Sequence[str] | None,
    seed: int,
) -> list[ProbeLayer] | NoMetrics:
    """Each layer's probe; its scores are of the test rows, then of the validation rows."""
    asked = test.means if val is None else np.concatenate([test.means, val.means])
    try:
        return probe_layers(layers, train.means, train.labels, asked, groups=groups, seed=seed)
    except LabelError as error:
        return NoMetrics(reason=str(error))


def _baselines(
    train: Rows,
    test: Rows,
    val: Rows | None,
    probes: list[ProbeLayer] | NoMetrics,
    labelled: LabelledRows,
) -> dict[str, Scored]:
    """Response length, and the best probe; neither where the training rows lack a class."""
    if isinstance(probes, NoMetrics):
        return dict.fromkeys(("length", "probe"), Scored(scores=None, metrics=probes))
    sign = length_direction(train.source.response_lengths, train.labels)
    asked = [test] if val is None else [test, val]
    by_length = np.concatenate(
        [sign * np.asarray(rows.source.response_lengths, np.float64) for rows in asked]
    )
    n = len(test.labels)
    return {
        name: _scored(
            scores[:n], None if val is None else labelled_scores(scores[n:], val.labels), labelled
        )
        for name, scores in (("length", by_length), ("probe", best_layer(probes).scores))
    }


def _scored(
    scores: NDArray[np.float64], held_out: HeldOut | None, labelled: LabelledRows
) -> Scored:
    return Scored(scores=scores, metrics=labelled.metrics(scores, held_out))


def _scores(scored: Mapping[str, Scored]) -> dict[str, NDArray[np.float64]]:
    return {name: s.scores for name, s in scored.items() if s.scores is not None}


def _layer_table(
    layers: tuple[int, ...],
    knn: Mapping[int, NDArray[np.float64]],
    probes: list[ProbeLayer] | NoMetrics,
    labelled: LabelledRows,
) -> tuple[ScoredLayer, ...]:
    """What each layer detects; kNN at the layers that were embedded, by position, alone."""
    unseen = NoMetrics(reason="no view is drawn from this layer")
    n = len(labelled)
    if isinstance(probes, NoMetrics):
        best, each = None, [None] * len(layers)
    else:
        best, each = best_layer(probes), probes
    return tuple(
        ScoredLayer(
            layer=layer,
            knn=labelled.metrics(knn[i]) if i in knn else unseen,
            probe=probes
            if isinstance(probes, NoMetrics)
            else labelled.metrics(probes[i].scores[:n]),
            probe_cv_auroc=None if isinstance(probes, NoMetrics) else probes[i].cv_auroc,
            chosen=best is not None and best.layer == layer,
        )
        for i, (layer, probe) in enumerate(zip(layers, each, strict=True))
    )
