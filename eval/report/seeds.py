"""A page on a run that was trained several times: what its trainings differ in."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..detection.results import DetectionEvaluation
from ..detection.spread import WORDS, Spread
from .render import render


def write_seeds_report(
    folder: str | Path,
    *,
    evaluations: Mapping[int, DetectionEvaluation],
    metrics: Mapping[int, Sequence[Mapping[str, float]]],
    pages: Mapping[int, str],
) -> Path:
    """Writes `report.html` on several trainings.

    Args:
        folder: the run's folder.
        evaluations: what each training's evaluation found, by seed; one at least.
        metrics: the lines of each training's `metrics.jsonl`, by seed.
        pages: where each training's own page is, seen from the folder, by seed.

    Returns:
        The report's path.
    """
    from .plots import curves_of_seeds

    page = render(
        "seeds.html.j2",
        evaluations=evaluations,
        spread=Spread.of(evaluations),
        words=WORDS,
        names=[f"seed {seed}" for seed in evaluations],
        pages=pages,
        pictures={
            "The contrastive loss of training, a line per seed.": curves_of_seeds(
                metrics, "train_loss", "training loss"
            ),
            "Mean cosine within samples less that between samples, of training.": curves_of_seeds(
                metrics, "train_intra_inter_margin", "margin"
            ),
        },
    )
    path = Path(folder) / "report.html"
    path.write_text(page, encoding="utf-8")
    return path
