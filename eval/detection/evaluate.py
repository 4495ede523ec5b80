"""Detection from end to end: an encoder and its data in, the metrics of all detectors out."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ...contracts import ConfigError, Detector, Encoder, KViewSource, ViewEncoder
from ...contracts.settings import Count, NotNegativeInt, checked
from ..progress import Progress, silent
from .baselines.by_layer import by_layer
from .baselines.fit import fit_baselines
from .baselines.layer_scores import best_layer
from .baselines.probe import Probe
from .choice import choose
from .comparison import LabelledRows
from .detectors import CosineDetector, KNNDetector
from .fitted import Embedded, fitted_scores
from .folds import require_group_per_row
from .foreign import guarded, require_names
from .held_out import HeldOut, labelled_scores
from .layer_map import knn_by_layer, layer_map
from .mahalanobis import MahalanobisDetector, RelativeMahalanobisDetector
from .neighbours import choose_k
from .reference import Reference, reference_rows, select
from .results import DetectionEvaluation, Scored, ScoredLayer
from .rows import layers_of_all, read_rows, view_positions
from .scoring import NoMetrics
from .split_scores import SplitScores
from .two_class import LogisticDetector, TwoClassKNNDetector
from .untrained import untrained
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
    progress: Progress = silent,
) -> DetectionEvaluation:
    """Fits detectors and baselines on the training rows, and scores the test rows.

    Each source is read once. Nothing is chosen by looking at the test rows' labels: the detector to
    rely on (`choice`), the baseline that it has to beat (`best_baseline`), and what makes
    probabilities of scores, come from the validation rows. Mean activations of all rows and layers
    lie in unnamed files in the temporary folder (TMPDIR) meanwhile, 4 bytes a number.

    Args:
        encoder: in any mode; it is evaluated in eval mode and restored.
        train: the training rows, with every layer as a view.
        test: the test rows, with every layer as a view.
        val: rows that the encoder was not trained on, with every layer as a view; None for none.
        views: positions in `layer_ids` of the K layers that detectors see; None for all that the
            encoder knows.
        batch_size: rows of K views encoded at once, or fewer where there are more layers to read.
        device: where rows are encoded, by a copy of the encoder where that is elsewhere; None for
            where it is.
        train_groups: the training rows' groups, which folds keep whole; None where each is its own.
        groups: the test rows' groups, which intervals keep together; None where each is its own.
        reference: which training rows the detectors of one class are fitted on.
        k: the neighbours of kNN; `validation` chooses them on the validation rows.
        detectors: by name; None for `default_detectors(k)`. Of one that raises `failures` has the
            reason, and the others go on.
        n_resamples: bootstrap resamples behind the intervals that have no formula.
        seed: of the resamples, the folds and the untrained encoder.
        progress: called with what is being done, how much of it is done, and how much there is.

    Raises:
        LabelError: no training row can be a reference, or `k` is to be chosen without labelled
            validation rows.
        ConfigError: a source does not show every layer, `views`, a detector's name or another
            setting does not fit, or there are too few reference rows.

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
        >>> found.view_layers, list(found.detectors)[:3], list(found.baselines)[:2]
        ((0, 3), ['knn', 'mahalanobis', 'cosine'], ['length', 'probe'])
        >>> found.choice.name, found.choice.validated
        ('knn', False)
    """
    require_names(detectors or ())
    sources = {"train": train, "test": test} | ({} if val is None else {"val": val})
    layers = layers_of_all(sources)
    known = encoder.encoder if isinstance(encoder, ViewEncoder) else encoder
    positions = view_positions(views, layers, getattr(known, "layer_ids", None))
    checked(NotNegativeInt, n_resamples=n_resamples)
    checked(Reference, reference=reference)
    require_group_per_row(train_groups, len(train))
    require_group_per_row(groups, len(test))
    at_once = max(1, checked(Count, batch_size=batch_size) * len(positions) // len(layers))
    fresh = untrained(encoder, seed)
    other = None if isinstance(fresh, NoMetrics) else fresh
    with ExitStack() as files:
        rows = {
            name: read_rows(
                encoder,
                other,
                source,
                positions,
                at_once,
                device,
                files,
                progress=partial(progress, f"embedding {name} rows"),
            )
            for name, source in sources.items()
        }
        fitted_on, scored, validation = rows["train"], rows["test"], rows.get("val")
        in_reference = reference_rows(fitted_on.embedded, reference)
        of_layers = by_layer(
            layers,
            fitted_on.means,
            fitted_on.labels,
            [rows[name].means for name in ("test", "val") if name in rows],
            views=positions,
            groups=train_groups,
            seed=seed,
            progress=partial(progress, "probing layers"),
        )
    embedded = Embedded(
        train=fitted_on.embedded,
        test=scored.embedded,
        val=None if validation is None else validation.embedded,
    )
    neighbours = (
        choose_k(embedded.train, embedded.val, reference=reference).k if k == "validation" else k
    )
    judge = _Judge(
        LabelledRows(scored.labels, groups, n_resamples, seed),
        None if validation is None else validation.labels,
    )
    detected = judge.scored(
        {
            name: guarded(name, partial(fitted_scores, detector, embedded, reference))
            for name, detector in (detectors or default_detectors(neighbours)).items()
        }
    )
    baselines = judge.scored(
        fit_baselines(
            of_layers,
            fitted_on,
            scored,
            validation,
            untrained=fresh if isinstance(fresh, NoMetrics) else None,
            reference=reference,
            k=neighbours,
        )
    )
    if both := sorted(set(detected.found) & set(baselines.found)):
        raise ConfigError(f"detectors {both} have the names of baselines; give them others")
    choice = choose(detected.on_val or dict.fromkeys(detected.found), "knn")
    best = choose(baselines.on_val, "probe") if baselines.on_val else None
    differences = judge.rows.differences(
        detected.scores,
        baselines.scores,
        primary=(choice.name, best.name) if best and detected.scores else None,
    )
    knn = knn_by_layer(select(embedded.train, in_reference), embedded.test, neighbours)
    return DetectionEvaluation(
        hashkeys=tuple(test.hashkeys),
        labels=scored.labels,
        choice=choice,
        best_baseline=best,
        detectors=detected.found,
        baselines=baselines.found,
        differences=differences,
        verdict=verdict(
            differences,
            {name: s.metrics for name, s in {**detected.found, **baselines.found}.items()},
            n_groups=judge.rows.n_groups,
            validated=best is not None and best.validated,
        ),
        layers=_layer_table(
            layers, dict(zip(positions, knn, strict=True)), of_layers.probes, judge.rows
        ),
        layer_map=layer_map(embedded.test, tuple(layers[p] for p in positions), seed),
        reference=reference,
        n_train=len(train),
        n_val=0 if val is None else len(val),
        n_reference=len(in_reference),
        k=neighbours,
        view_layers=tuple(layers[p] for p in positions),
        n_resamples=judge.rows.n_resamples,
        grouped=groups is not None,
        seed=seed,
        embeddings=embedded.test.to("cpu"),
    )


def default_detectors(k: int = 10) -> dict[str, Detector]:
    """The detectors that are reported where none are chosen, unfitted."""
    return {
        "knn": KNNDetector(k),
        "mahalanobis": MahalanobisDetector(),
        "cosine": CosineDetector(),
        "relative_mahalanobis": RelativeMahalanobisDetector(),
        "two_class_knn": TwoClassKNNDetector(k),
        "logistic": LogisticDetector(),
    }


@dataclass(frozen=True, slots=True)
class _Judged:
    """Scorers of a kind.

    Attributes:
        found: their scores and metrics, by name.
        on_val: of those with scores, what the labelled validation rows say; None without such rows.
    """

    found: dict[str, Scored]
    on_val: dict[str, HeldOut | None]

    @property
    def scores(self) -> dict[str, NDArray[np.float64]]:
        """Of the test rows, by name."""
        return {name: s.scores for name, s in self.found.items() if s.scores is not None}


@dataclass(frozen=True, slots=True)
class _Judge:
    """What scores are worth.

    Attributes:
        rows: the labelled test rows.
        val_labels: of the validation rows; None without.
    """

    rows: LabelledRows
    val_labels: NDArray[np.int8] | None

    def scored(self, scores: Mapping[str, SplitScores | NoMetrics]) -> _Judged:
        found, on_val = {}, {}
        for name, each in scores.items():
            if isinstance(each, NoMetrics):
                found[name] = Scored(scores=None, metrics=each)
                continue
            held_out = None
            if each.val is not None and self.val_labels is not None:
                held_out = labelled_scores(each.val, self.val_labels)
            metrics = self.rows.metrics(each.test, held_out)
            found[name], on_val[name] = Scored(scores=each.test, metrics=metrics), held_out
        return _Judged(found, on_val)


def _layer_table(
    layers: tuple[int, ...],
    knn: Mapping[int, NDArray[np.float64]],
    probes: list[Probe] | NoMetrics,
    labelled: LabelledRows,
) -> tuple[ScoredLayer, ...]:
    """What each layer detects; kNN at the layers that were embedded, by position, alone."""
    unseen = NoMetrics(reason="no view is drawn from this layer")
    n = len(labelled)
    best = None if isinstance(probes, NoMetrics) else best_layer(probes)
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
        for i, layer in enumerate(layers)
    )
