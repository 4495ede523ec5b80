"""What an evaluation of detection finds: fitted scorers asked about test rows, and measured."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ...contracts import KViewSource
from ...contracts.settings import NotNegativeInt, checked
from ..progress import Progress, silent
from .baselines.by_layer import FittedLayers, LayerScores
from .baselines.fit import all_baselines, score_baselines
from .baselines.layer_direction import best_layer
from .choice import choose
from .comparison import LabelledRows
from .fit import FittedDetection, ask_detectors
from .folds import require_group_per_row
from .held_out import HeldOut, labelled_scores
from .layer_map import knn_by_layer, layer_map
from .results import DetectionEvaluation, Scored, ScoredLayer
from .rows import read_rows, require_layers
from .scoring import NoMetrics
from .split_scores import SplitScores, joined
from .verdict import verdict


def score_detection(
    fitted: FittedDetection,
    *,
    test: KViewSource,
    groups: Sequence[str] | None = None,
    n_resamples: int = 1000,
    progress: Progress = silent,
) -> DetectionEvaluation:
    """Scores a source's rows by what was fitted, which stays as it is.

    The test rows' labels measure, and nothing else: `choice` and `best_baseline` are the best on
    the validation rows among what can score the test rows. Mean activations of the rows lie in an
    unnamed file in the temporary folder (TMPDIR) meanwhile.

    Args:
        fitted: what `fit_detection` gave.
        test: the rows, with every layer as a view. Read once.
        groups: the rows' groups, which intervals keep together; None where each is its own.
        n_resamples: bootstrap resamples behind the intervals that have no formula.
        progress: called with what is being done, how much of it is done, and how much there is.

    Raises:
        ConfigError: the source shows other layers than the training rows, or a setting does not
            fit.
        LabelError: there is not one group per row.

    Examples:
        >>> import tempfile
        >>> from kview.data import ActivationParser, write_synthetic_store
        >>> from kview.eval import fit_detection, score_detection
        >>> path = tempfile.mkdtemp() + "/store.zarr"
        >>> _ = write_synthetic_store(path, num_rows=90, num_layers=4, hidden_size=8, max_tokens=3)
        >>> parser = ActivationParser(None, None, path)
        >>> train, test = (parser.get_dataset(s, num_views=4) for s in ("train", "test"))
        >>> fitted = fit_detection(lambda x: x.mean(dim=1), train=train, views=[0, 3])
        >>> score_detection(fitted, test=test).view_layers
        (0, 3)
    """
    how, on_val = fitted.reading, fitted.on_val
    require_scorable(how.layers, test, groups, n_resamples)
    with ExitStack() as files:
        rows = read_rows(how, test, files, partial(progress, "embedding test rows"))
        of_baselines = score_baselines(fitted.baselines, rows)
    judge = _Judge(
        LabelledRows(rows.labels, groups, n_resamples, fitted.seed),
        None if on_val is None else on_val.labels,
    )
    detected = judge.scored(
        joined(ask_detectors(fitted.detectors, rows), None if on_val is None else on_val.detectors)
    )
    baselines = judge.scored(
        all_baselines(of_baselines, None if on_val is None else on_val.baselines)
    )
    choice = choose(detected.on_val or dict.fromkeys(detected.found), "knn")
    best = choose(baselines.on_val, "probe") if baselines.on_val else None
    differences = judge.rows.differences(
        detected.scores,
        baselines.scores,
        primary=(choice.name, best.name) if best and detected.scores else None,
    )
    view_layers = tuple(how.layers[p] for p in how.positions)
    knn = knn_by_layer(fitted.reference_rows, rows.embedded, fitted.k)
    return DetectionEvaluation(
        hashkeys=tuple(test.hashkeys),
        labels=rows.labels,
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
            how.layers,
            dict(zip(how.positions, knn, strict=True)),
            fitted.baselines.layers,
            of_baselines.layers,
            judge.rows,
        ),
        layer_map=layer_map(rows.embedded, view_layers, fitted.seed),
        reference=fitted.reference,
        n_train=fitted.n_train,
        n_val=0 if on_val is None else len(on_val.labels),
        n_reference=len(fitted.reference_rows),
        k=fitted.k,
        view_layers=view_layers,
        n_resamples=judge.rows.n_resamples,
        grouped=groups is not None,
        seed=fitted.seed,
        embeddings=rows.embedded.to("cpu"),
    )


def require_scorable(
    layers: Sequence[int], test: KViewSource, groups: Sequence[str] | None, n_resamples: int
) -> None:
    """Refuses what cannot be scored, before anything is read.

    Args:
        layers: those of the training rows.
        test: the rows to score.
        groups: theirs.
        n_resamples: bootstrap resamples.

    Raises:
        ConfigError: the layers are other ones, or there is no such number of resamples.
        LabelError: there is not one group per row.
    """
    require_layers(layers, "test", test)
    checked(NotNegativeInt, n_resamples=n_resamples)
    require_group_per_row(groups, len(test))


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
    fitted: FittedLayers,
    scores: LayerScores,
    labelled: LabelledRows,
) -> tuple[ScoredLayer, ...]:
    """What each layer detects; kNN at the layers that were embedded, by position, alone."""
    unseen = NoMetrics(reason="no view is drawn from this layer")
    probes, by_probe = fitted.probes, scores.probes
    best = None if isinstance(probes, NoMetrics) else best_layer(probes)
    return tuple(
        ScoredLayer(
            layer=layer,
            knn=labelled.metrics(knn[i]) if i in knn else unseen,
            probe=by_probe if isinstance(by_probe, NoMetrics) else labelled.metrics(by_probe[i]),
            probe_cv_auroc=None if isinstance(probes, NoMetrics) else probes[i].cv_auroc,
            chosen=best == i,
        )
        for i, layer in enumerate(layers)
    )
