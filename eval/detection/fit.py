"""What an evaluation of detection fits: detectors and baselines, before any test row is seen."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ...contracts import ConfigError, Detector, EmbeddingBatch, Encoder, KViewSource, ViewEncoder
from ...contracts.settings import Count, checked
from ..progress import Progress, silent
from .baselines.by_layer import fit_layers
from .baselines.fit import (
    BASELINES,
    BaselineScores,
    FittedBaselines,
    fit_baselines,
    score_baselines,
)
from .default_detectors import default_detectors
from .fitted import Scores, ask, fit_on
from .folds import require_group_per_row
from .foreign import guarded, require_names
from .neighbours import choose_k
from .reference import Reference, reference_rows, select
from .rows import Reading, Rows, read_rows, require_layers, view_positions
from .scoring import NoMetrics
from .untrained import untrained


@dataclass(frozen=True, slots=True, kw_only=True)
class OnValidation:
    """What the validation rows say of the scorers.

    Attributes:
        labels: of the validation rows, (v,): 1, 0 or -1.
        detectors: scores by the detectors.
        baselines: scores by the baselines.
    """

    labels: NDArray[np.int8]
    detectors: Scores
    baselines: BaselineScores


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedDetection:
    """Detectors and baselines, fitted, to score any number of sources by (`score_detection`).

    It holds no source: training rows are read while fitting, and of the rows to score nothing is
    known yet.

    Attributes:
        reading: how rows are read, to be scored as the training rows were fitted on.
        detectors: by name; or why one cannot be fitted.
        baselines: likewise.
        on_val: the validation rows' scores, by which choices are made; None without such rows.
        reference: which training rows the detectors of one class were fitted on.
        reference_rows: these rows' embeddings, (n_reference, K, D).
        k: the neighbours of kNN.
        n_train: training rows.
        seed: of the folds and the untrained encoder, and of the resamples when scoring.
    """

    reading: Reading
    detectors: Mapping[str, Detector | NoMetrics]
    baselines: FittedBaselines
    on_val: OnValidation | None
    reference: Reference
    reference_rows: EmbeddingBatch
    k: int
    n_train: int
    seed: int


def fit_detection(
    encoder: Encoder | ViewEncoder,
    *,
    train: KViewSource,
    val: KViewSource | None = None,
    views: Sequence[int] | None = None,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    train_groups: Sequence[str] | None = None,
    reference: Reference = "not_hallucinated",
    k: int | Literal["validation"] = 10,
    detectors: Mapping[str, Detector] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> FittedDetection:
    """Fits detectors and baselines on the training rows, to score several sources by.

    It is not given the test rows, and so can use nothing of them: what is fitted and what is chosen
    comes from the training and the validation rows.

    Args are those of `evaluate_detection`. Detectors that are given are fitted in place.

    Raises:
        LabelError: no training row can be a reference, or `k` is to be chosen without labelled
            validation rows.
        ConfigError: a source does not show every layer, `views`, a detector's name or another
            setting does not fit, or there are too few reference rows.

    Examples:
        >>> import tempfile
        >>> from kview.data import ActivationParser, write_synthetic_store
        >>> from kview.eval import fit_detection, score_detection
        >>> path = tempfile.mkdtemp() + "/store.zarr"
        >>> _ = write_synthetic_store(path, num_rows=90, num_layers=4, hidden_size=8, max_tokens=3)
        >>> parser = ActivationParser(None, None, path)
        >>> train, test = (parser.get_dataset(s, num_views=4) for s in ("train", "test"))
        >>> fitted = fit_detection(lambda x: x.mean(dim=1), train=train)
        >>> halves = test.select(range(0, 9)), test.select(range(9, 18))
        >>> [len(score_detection(fitted, test=half).hashkeys) for half in halves]
        [9, 9]
    """
    require_names(detectors or ())
    if both := sorted(set(detectors or ()) & set(BASELINES)):
        raise ConfigError(f"detectors {both} have the names of baselines; give them others")
    checked(Reference, reference=reference)
    require_group_per_row(train_groups, len(train))
    sources = {"train": train} | ({} if val is None else {"val": val})
    layers = tuple(train.layer_ids)
    for name, source in sources.items():
        require_layers(layers, name, source)
    known = encoder.encoder if isinstance(encoder, ViewEncoder) else encoder
    positions = view_positions(views, layers, getattr(known, "layer_ids", None))
    how = Reading(
        encoder=encoder,
        untrained=untrained(encoder, seed),
        layers=layers,
        positions=positions,
        batch_size=max(1, checked(Count, batch_size=batch_size) * len(positions) // len(layers)),
        device=device,
    )
    with ExitStack() as files:
        rows = {
            name: read_rows(how, source, files, partial(progress, f"embedding {name} rows"))
            for name, source in sources.items()
        }
        fitted_on, validation = rows["train"], rows.get("val")
        in_reference = reference_rows(fitted_on.embedded, reference)
        neighbours = k if k != "validation" else _chosen_k(fitted_on, validation, reference)
        fitted = {
            name: guarded(name, partial(fit_on, fitted_on.embedded, detector, reference))
            for name, detector in (detectors or default_detectors(neighbours)).items()
        }
        of_layers = fit_layers(
            layers,
            fitted_on.means,
            fitted_on.labels,
            views=positions,
            groups=train_groups,
            seed=seed,
            progress=partial(progress, "probing layers"),
        )
        baselines = fit_baselines(of_layers, fitted_on, reference, neighbours)
        on_val = None if validation is None else _on_validation(fitted, baselines, validation)
    return FittedDetection(
        reading=how,
        detectors=fitted,
        baselines=baselines,
        on_val=on_val,
        reference=reference,
        reference_rows=select(fitted_on.embedded, in_reference),
        k=neighbours,
        n_train=len(train),
        seed=seed,
    )


def ask_detectors(detectors: Mapping[str, Detector | NoMetrics], rows: Rows) -> Scores:
    """Scores of some rows by every fitted detector; of one that raises, the reason."""
    return {n: guarded(n, partial(ask, each, rows.embedded)) for n, each in detectors.items()}


def _chosen_k(train: Rows, val: Rows | None, reference: Reference) -> int:
    on_val = None if val is None else val.embedded
    return choose_k(train.embedded, on_val, reference=reference).k


def _on_validation(
    detectors: Mapping[str, Detector | NoMetrics], baselines: FittedBaselines, val: Rows
) -> OnValidation:
    return OnValidation(
        labels=val.labels,
        detectors=ask_detectors(detectors, val),
        baselines=score_baselines(baselines, val),
    )
