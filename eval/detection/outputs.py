"""An evaluation as files: `evaluation.json` for programs, `predictions.csv` for a spreadsheet."""

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .scoring import DetectionFigures, Figure, NoFigures

if TYPE_CHECKING:
    from .results import DetectionEvaluation, ScoredLayer

_FIGURES = ("auroc", "average_precision", "fpr95", "calibration_error")


def write_evaluation(path: Path, evaluation: "DetectionEvaluation") -> None:
    """Writes the figures as JSON; what cannot be said is null, with the reason beside it."""
    path.write_text(json.dumps(summary(evaluation), indent=2, allow_nan=False) + "\n")


def summary(evaluation: "DetectionEvaluation") -> dict[str, Any]:
    """The figures as plain values: `detectors.<name>.auroc`, `.interval`, `baselines.<name>.…`."""
    chosen = next((layer.layer for layer in evaluation.layers if layer.chosen), None)
    baselines = {n: _figures(s.figures) for n, s in evaluation.baselines.items()}
    if chosen is not None:
        baselines["probe"]["layer"] = chosen
    return {
        "schema": "kview-evaluation/1",
        "polarity": "higher scores mean more likely hallucinated",
        "data": {
            "n_train": evaluation.n_train,
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
        "detectors": {n: _figures(s.figures) for n, s in evaluation.detectors.items()},
        "baselines": baselines,
        "differences": [
            {"first": d.first, "second": d.second, **_named("auroc", d.auroc)}
            for d in evaluation.differences
        ],
        "layers": [_layer(layer) for layer in evaluation.layers],
    }


def write_predictions(path: Path, evaluation: "DetectionEvaluation") -> None:
    """Writes a row a test sample: hashkey, split, halu, and a score a detector and baseline.

    The label is -1 where there is none; a baseline that could not be fitted leaves its cells empty.
    """
    columns = {name: scored.scores for name, scored in evaluation.scored.items()}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["hashkey", "split", "halu", *columns])
        for row, hashkey in enumerate(evaluation.hashkeys):
            scores = ["" if s is None else repr(float(s[row])) for s in columns.values()]
            writer.writerow([hashkey, "test", int(evaluation.labels[row]), *scores])


def write_embeddings(path: Path, evaluation: "DetectionEvaluation") -> None:
    """Writes the test rows' `z_views` (n, K, D) and `halu` (n,); the hashkeys are metadata."""
    from safetensors.torch import save_file

    batch = evaluation.embeddings
    tensors = {"z_views": batch.z_views.contiguous()}
    if batch.halu is not None:
        tensors["halu"] = batch.halu
    save_file(tensors, path, metadata={"hashkey": json.dumps(evaluation.hashkeys)})


def _layer(layer: "ScoredLayer") -> dict[str, object]:
    probe = {"cv_auroc": layer.probe_cv_auroc, "chosen": layer.chosen}
    return {
        "layer": layer.layer,
        "knn": _figures(layer.knn),
        "probe": {**_figures(layer.probe), **probe},
    }


def _figures(figures: DetectionFigures | NoFigures) -> dict[str, object]:
    if isinstance(figures, NoFigures):
        return {**dict.fromkeys(_FIGURES), "interval": None, "reason": figures.reason}
    values: dict[str, object] = {}
    for name in _FIGURES:
        values |= _named(name, getattr(figures, name))
    return values | {"n_positive": figures.n_positive, "n_negative": figures.n_negative}


def _named(name: str, figure: Figure | None) -> dict[str, object]:
    """`auroc` is the main figure, and its interval is called just that."""
    interval = "interval" if name == "auroc" else f"{name}_interval"
    if figure is None:
        return {name: None, interval: None}
    bounds = None if figure.interval is None else list(figure.interval)
    return {name: figure.value, interval: bounds}
