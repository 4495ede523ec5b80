"""Detection from end to end: an encoder and its data in, the metrics of all detectors out."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch

from ...contracts import Detector, Encoder, KViewSource, ViewEncoder
from ..progress import Progress, silent
from .fit import fit_detection
from .reference import Reference
from .results import DetectionEvaluation
from .score import require_scorable, score_detection


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

    It is `fit_detection` and `score_detection` in one: call these to score several sources by one
    fit. Each source is read once. Nothing is chosen by looking at the test rows' labels: the
    detector to rely on (`choice`), the baseline that it has to beat (`best_baseline`), and what
    makes probabilities of scores, come from the validation rows. Mean activations of all rows and
    layers lie in unnamed files in the temporary folder (TMPDIR) meanwhile, 4 bytes a number.

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
    require_scorable(train.layer_ids, test, groups, n_resamples)
    fitted = fit_detection(
        encoder,
        train=train,
        val=val,
        views=views,
        batch_size=batch_size,
        device=device,
        train_groups=train_groups,
        reference=reference,
        k=k,
        detectors=detectors,
        seed=seed,
        progress=progress,
    )
    return score_detection(
        fitted, test=test, groups=groups, n_resamples=n_resamples, progress=progress
    )
