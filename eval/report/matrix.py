"""Several runs on several stores: who detects what where."""

import json
from collections.abc import Mapping
from pathlib import Path

from ..detection.outputs import evaluation_json
from ..detection.results import DetectionEvaluation
from ..detection.scoring import NoMetrics
from .render import render

Cells = Mapping[tuple[str, str], DetectionEvaluation | NoMetrics]
"""What each run found on each store, by (run, store); or why it could not be evaluated there."""


def write_matrix(folder: str | Path, cells: Cells) -> Path:
    """Writes `matrix.json` with every cell's metrics, and `matrix.html` with a table per scorer.

    Args:
        folder: where to; made if needed.
        cells: what was found, by (run, store); pairs that were not tried may be missing.

    Returns:
        The page's path.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"run": run, "store": store, **_plain(found)} for (run, store), found in cells.items()]
    text = json.dumps({"schema": "kview-matrix/1", "cells": rows}, indent=2, allow_nan=False)
    (folder / "matrix.json").write_text(text + "\n")
    page = render(
        "matrix.html.j2",
        cells=cells,
        runs=list(dict.fromkeys(run for run, _ in cells)),
        stores=list(dict.fromkeys(store for _, store in cells)),
        scorers=_scorers(cells),
        is_missing=lambda metrics: isinstance(metrics, NoMetrics),
    )
    path = folder / "matrix.html"
    path.write_text(page, encoding="utf-8")
    return path


def _plain(found: DetectionEvaluation | NoMetrics) -> dict[str, object]:
    return {"reason": found.reason} if isinstance(found, NoMetrics) else evaluation_json(found)


def _scorers(cells: Cells) -> list[str]:
    """The names of all detectors and baselines, in order of first appearance."""
    names = [
        n for found in cells.values() if not isinstance(found, NoMetrics) for n in found.scored
    ]
    return list(dict.fromkeys(names))
