"""An evaluation as files: `evaluation.json` for programs, `predictions.csv` for a spreadsheet."""

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...contracts import ConfigError
from .calibration import Calibration
from .choice import Choice
from .intervals import Estimate
from .results import DetectionEvaluation, ScoredLayer
from .scoring import DetectionMetrics, NoMetrics

_METRICS = ("auroc", "average_precision", "fpr95", "aurc", "prediction_rejection")
_CALIBRATION = ("brier", "log_loss")


def write_evaluation(
    folder: str | Path, evaluation: DetectionEvaluation, *, embeddings: bool = False
) -> None:
    """Writes `evaluation.json` and `predictions.csv` into a folder, made if needed.

    Args:
        folder: where to.
        evaluation: what `evaluate_detection` found.
        embeddings: also write the test rows' `embeddings.safetensors`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(evaluation_json(evaluation), indent=2, allow_nan=False)
    (folder / "evaluation.json").write_text(text + "\n")
    _write_predictions(folder / "predictions.csv", evaluation)
    if embeddings:
        _write_embeddings(folder / "embeddings.safetensors", evaluation)


def evaluation_json(evaluation: DetectionEvaluation) -> dict[str, Any]:
    """What stands in `evaluation.json`: `detectors.<name>.auroc`, `.interval`, and so on.

    What cannot be said is None, with the reason beside it.
    """
    chosen = next((layer.layer for layer in evaluation.layers if layer.chosen), None)
    baselines = {n: _metrics(s.metrics) for n, s in evaluation.baselines.items()}
    if chosen is not None:
        baselines["probe"]["layer"] = chosen
    return {
        "schema": "kview-evaluation/1",
        "polarity": "higher scores mean more likely hallucinated",
        "chosen": evaluation.choice.name,
        "choice": _choice(evaluation.choice),
        "best_baseline": evaluation.best_baseline and _choice(evaluation.best_baseline),
        "data": {
            "n_train": evaluation.n_train,
            "n_val": evaluation.n_val,
            "n_test": len(evaluation.hashkeys),
            "n_labelled": int((evaluation.labels >= 0).sum()),
            "reference": evaluation.reference,
            "n_reference": evaluation.n_reference,
            "view_layers": list(evaluation.view_layers),
            "k": evaluation.k,
        },
        "intervals": {
            "level": 0.95,
            "resamples": evaluation.n_resamples,
            "grouped": evaluation.grouped,
            "seed": evaluation.seed,
        },
        "detectors": {n: _metrics(s.metrics) for n, s in evaluation.detectors.items()},
        "baselines": baselines,
        "differences": [
            {
                "first": d.first,
                "second": d.second,
                **_named("auroc", d.auroc),
                "p": d.p,
                "p_adjusted": d.p_adjusted,
                "primary": d.primary,
            }
            for d in evaluation.differences
        ],
        "verdict": {
            "outcome": evaluation.verdict.outcome,
            "sentence": evaluation.verdict.sentence,
        },
        "layers": [_layer(layer) for layer in evaluation.layers],
    }


def _choice(choice: Choice) -> dict[str, object]:
    return {
        "name": choice.name,
        "validated": choice.validated,
        "reason": choice.reason,
        "val_auroc": dict(choice.val_auroc),
    }


def _write_predictions(path: Path, evaluation: DetectionEvaluation) -> None:
    """A row per test sample: hashkey, split, halu, and a score per detector and baseline.

    The label is -1 where there is none; a baseline that could not be fitted leaves its cells empty.
    """
    columns = {name: scored.scores for name, scored in evaluation.scored.items()}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["hashkey", "split", "halu", *columns])
        for row, hashkey in enumerate(evaluation.hashkeys):
            scores = ["" if s is None else repr(float(s[row])) for s in columns.values()]
            writer.writerow([hashkey, "test", int(evaluation.labels[row]), *scores])


def _write_embeddings(path: Path, evaluation: DetectionEvaluation) -> None:
    """The test rows' `z_views` (n, K, D) and `halu` (n,); the hashkeys are metadata."""
    from safetensors.torch import save_file

    batch = evaluation.embeddings
    if batch is None:
        raise ConfigError("an evaluation that was read from a file has no embeddings to write")
    tensors = {"z_views": batch.z_views.contiguous()}
    if batch.halu is not None:
        tensors["halu"] = batch.halu
    save_file(tensors, path, metadata={"hashkey": json.dumps(evaluation.hashkeys)})


def _layer(layer: ScoredLayer) -> dict[str, object]:
    probe = {"cv_auroc": layer.probe_cv_auroc, "chosen": layer.chosen}
    return {
        "layer": layer.layer,
        "knn": _metrics(layer.knn),
        "probe": {**_metrics(layer.probe), **probe},
    }


def _metrics(metrics: DetectionMetrics | NoMetrics) -> dict[str, object]:
    if isinstance(metrics, NoMetrics):
        names = (*_METRICS, *_CALIBRATION, "calibration_error")
        return {**dict.fromkeys(names), "interval": None, "reason": metrics.reason}
    values: dict[str, object] = {}
    for name in _METRICS:
        values |= _named(name, getattr(metrics, name))
    return {
        **values,
        **_calibration(metrics.calibration),
        "n_positive": metrics.n_positive,
        "n_negative": metrics.n_negative,
        "notes": list(metrics.notes),
    }


def _calibration(found: Calibration | None) -> dict[str, object]:
    values: dict[str, object] = {}
    for name in _CALIBRATION:
        values |= _named(name, None if found is None else getattr(found, name))
    return values | {
        "calibration_error": None if found is None else found.error,
        "reliability": None if found is None else [asdict(bin) for bin in found.bins],
    }


def _named(name: str, estimate: Estimate | None) -> dict[str, object]:
    """`auroc` is the main metric, and its interval is called just that."""
    interval = "interval" if name == "auroc" else f"{name}_interval"
    if estimate is None:
        return {name: None, interval: None}
    bounds = None if estimate.interval is None else list(estimate.interval)
    return {name: estimate.value, interval: bounds}
