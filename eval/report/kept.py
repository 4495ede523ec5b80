"""What a report is drawn from, kept in `report.json`: a page is drawn again without evaluating."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from pydantic import TypeAdapter, ValidationError

from ...contracts import CheckpointError
from ..detection.layer_map import LayerMap
from ..detection.results import DetectionEvaluation, Scored
from ..detection.scoring import DetectionMetrics, NoMetrics
from .page import Text, hardest_samples

KEPT = "report.json"
"""The file's name; `predictions.csv` beside it holds the scores."""

_SCHEMA = "kview-report/1"
_SCORERS = ("detectors", "baselines")
_BY_HAND = ("hashkeys", "labels", *_SCORERS, "layer_map", "embeddings")
_HINTS = get_type_hints(DetectionEvaluation)
_PLAIN = [f.name for f in fields(DetectionEvaluation) if f.name not in _BY_HAND]
_METRICS: TypeAdapter[DetectionMetrics | NoMetrics] = TypeAdapter(DetectionMetrics | NoMetrics)


@dataclass(frozen=True, slots=True)
class KeptText:
    """What was asked and answered."""

    prompt: str
    response: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInputs:
    """What `write_report` takes.

    Attributes:
        evaluation: what was found.
        metrics: the lines of `metrics.jsonl`.
        config: the run's.
        data_summary: what there is to say of the data.
        texts: prompts and responses by hashkey, of the rows that the page shows at least.
    """

    evaluation: DetectionEvaluation
    metrics: Sequence[Mapping[str, float]]
    config: Mapping[str, object]
    data_summary: Mapping[str, str | int | float]
    texts: Mapping[str, Text]


def keep_report(folder: str | Path, inputs: ReportInputs) -> None:
    """Writes `report.json` beside the `predictions.csv` of the same evaluation."""
    found = inputs.evaluation
    shown = {sample.hashkey: sample.text for sample in hardest_samples(found, inputs.texts)}
    kept = {
        "schema": _SCHEMA,
        "rows": len(found.hashkeys),
        "evaluation": {n: _adapter(n).dump_python(getattr(found, n), mode="json") for n in _PLAIN},
        **{
            kind: {n: _METRICS.dump_python(s.metrics, mode="json") for n, s in each.items()}
            for kind, each in (("detectors", found.detectors), ("baselines", found.baselines))
        },
        "layer_map": {n: np.asarray(v).tolist() for n, v in asdict(found.layer_map).items()},
        "metrics": list(inputs.metrics),
        "config": dict(inputs.config),
        "data_summary": dict(inputs.data_summary),
        "texts": {k: [t.prompt, t.response] for k, t in shown.items() if t is not None},
    }
    (Path(folder) / KEPT).write_text(json.dumps(kept, allow_nan=False) + "\n", encoding="utf-8")


def kept_report(folder: str | Path) -> ReportInputs:
    """What `keep_report` kept in a folder.

    Raises:
        CheckpointError: nothing is kept there, or it is damaged.
    """
    path = Path(folder) / KEPT
    if not path.is_file():
        raise CheckpointError(f"{folder} holds no evaluation to draw: run kview evaluate first")
    try:
        return _inputs(json.loads(path.read_text(encoding="utf-8")), Path(folder))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OSError) as error:
        what = "values do not fit" if isinstance(error, ValidationError) else str(error)
        raise CheckpointError(
            f"{path}, or predictions.csv beside it, is damaged ({type(error).__name__}: {what}); "
            "kview evaluate writes them anew"
        ) from error


def _inputs(kept: Any, folder: Path) -> ReportInputs:
    if kept["schema"] != _SCHEMA:
        raise ValueError(f"schema {kept['schema']!r}")
    hashkeys, labels, scores = _predictions(folder / "predictions.csv")
    if len(hashkeys) != kept["rows"]:
        raise ValueError(f"{len(hashkeys)} rows of {kept['rows']}")
    scorers = {
        kind: {
            name: Scored(scores=scores[name], metrics=_METRICS.validate_python(metrics))
            for name, metrics in kept[kind].items()
        }
        for kind in _SCORERS
    }
    drawn = kept["layer_map"]
    evaluation = DetectionEvaluation(
        **{name: _adapter(name).validate_python(kept["evaluation"][name]) for name in _PLAIN},
        detectors=scorers["detectors"],
        baselines=scorers["baselines"],
        hashkeys=hashkeys,
        labels=labels,
        layer_map=LayerMap(
            layers=tuple(drawn["layers"]),
            similarity=np.asarray(drawn["similarity"], np.float64),
            points=np.asarray(drawn["points"], np.float64),
            rows=np.asarray(drawn["rows"], np.intp),
            explained=tuple(drawn["explained"]),
        ),
        embeddings=None,
    )
    return ReportInputs(
        evaluation=evaluation,
        metrics=kept["metrics"],
        config=kept["config"],
        data_summary=kept["data_summary"],
        texts={key: KeptText(*text) for key, text in kept["texts"].items()},
    )


def _predictions(
    path: Path,
) -> tuple[tuple[str, ...], np.ndarray, dict[str, np.ndarray | None]]:
    """The rows of predictions.csv: hashkeys, labels, and scores by name; None for empty cells."""
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    names = [n for n in (lines[0] if lines else {}) if n not in ("hashkey", "split", "halu")]
    columns = {name: [line[name] for line in lines] for name in names}
    return (
        tuple(line["hashkey"] for line in lines),
        np.array([int(line["halu"]) for line in lines], np.int8),
        {n: np.array(c, np.float64) if all(c) else None for n, c in columns.items()},
    )


def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(_HINTS[name])
