"""`report.html`: one self-contained page on a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ..detection.results import DetectionEvaluation
from ..detection.scoring import DetectionMetrics, NoMetrics, auroc_of
from .render import render

_HARDEST = 5


class Text(Protocol):
    """What was asked and answered."""

    @property
    def prompt(self) -> str: ...

    @property
    def response(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture of the report.

    Attributes:
        name: of the SVG file beside the report.
        caption: what it shows.
        svg: the picture.
    """

    name: str
    caption: str
    svg: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HardSample:
    """A labelled sample that the chosen detector ranks wrongly.

    Attributes:
        hashkey: the sample's id.
        halu: its label.
        score: the detector's.
        rank: the share of test samples that score lower, 0 to 1.
        text: its prompt and response, or None where they are not known.
    """

    hashkey: str
    halu: int
    score: float
    rank: float
    text: Text | None


def write_report(
    folder: str | Path,
    *,
    evaluation: DetectionEvaluation,
    metrics: Sequence[Mapping[str, float]],
    config: Mapping[str, object],
    data_summary: Mapping[str, str | int | float],
    texts: Mapping[str, Text] | None = None,
) -> Path:
    """Writes `report.html`, and every picture in it as `figures/<name>.svg`.

    Args:
        folder: the run's folder; made if needed.
        evaluation: what `evaluate_detection` found.
        metrics: the lines of `metrics.jsonl`, one per epoch.
        config: the run's.
        data_summary: what there is to say of the data, in order.
        texts: prompts and responses by hashkey, as far as they are known.

    Returns:
        The report's path.
    """
    folder = Path(folder)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    groups = {
        "Training": _training_pictures(metrics),
        "Detection": _detection_pictures(evaluation),
        "Layers": _layer_pictures(evaluation),
    }
    for picture in [picture for group in groups.values() for picture in group]:
        (folder / "figures" / f"{picture.name}.svg").write_text(picture.svg, encoding="utf-8")
    page = render(
        "report.html.j2",
        evaluation=evaluation,
        picture_groups={name: group for name, group in groups.items() if group},
        hardest=hardest_samples(evaluation, texts or {}),
        ranked_by=evaluation.choice.name,
        config=config,
        data_summary=data_summary,
        is_missing=lambda metrics: isinstance(metrics, NoMetrics),
    )
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def hardest_samples(
    evaluation: DetectionEvaluation, texts: Mapping[str, Text], count: int = _HARDEST
) -> list[HardSample]:
    """The samples that the chosen detector is most wrong about, the worst first.

    Args:
        evaluation: what was found.
        texts: prompts and responses by hashkey.
        count: samples of each class.
    """
    scores = evaluation.detectors[evaluation.choice.name].scores
    if scores is None:
        return []
    ranks = np.searchsorted(np.sort(scores), scores) / max(1, len(scores) - 1)
    wrong = np.where(evaluation.labels == 1, 1 - ranks, ranks)
    worst = np.argsort(-wrong, kind="stable")
    hardest = [worst[evaluation.labels[worst] == label][:count] for label in (1, 0)]
    return [
        HardSample(
            hashkey=evaluation.hashkeys[row],
            halu=int(evaluation.labels[row]),
            score=float(scores[row]),
            rank=float(ranks[row]),
            text=texts.get(evaluation.hashkeys[row]),
        )
        for row in sorted(np.concatenate(hardest).tolist(), key=lambda row: -wrong[row])
    ]


def _training_pictures(metrics: Sequence[Mapping[str, float]]) -> list[Picture]:
    """A loss grows with the number of samples contrasted: those of two splits share no axis."""
    from .plots import curves

    if not metrics:
        return []
    val_loss = Picture(
        name="val_loss",
        caption="That of validation. A contrastive loss depends on how many samples are "
        "contrasted, so its height says nothing beside training's; its course does.",
        svg=curves(metrics, "loss", "validation loss", ["val"]),
    )
    return [
        Picture(
            name="train_loss",
            caption="The contrastive loss of training, a point per epoch.",
            svg=curves(metrics, "loss", "training loss", ["train"]),
        ),
        *([val_loss] if any(m.get("val_loss") is not None for m in metrics) else []),
        Picture(
            name="intra_inter_margin",
            caption="Mean cosine within samples less that between samples.",
            svg=curves(metrics, "intra_inter_margin", "margin", ["train", "val"]),
        ),
    ]


def _detection_pictures(evaluation: DetectionEvaluation) -> list[Picture]:
    from .plots import histogram, precision_recall, reliability, roc, selective

    known = evaluation.labels >= 0
    labels = evaluation.labels[known]
    best = evaluation.best_baseline and evaluation.best_baseline.name
    shown = {name: s for name, s in evaluation.baselines.items() if name in ("probe", best)}
    drawn = {**evaluation.detectors, **shown}
    scores = {
        name: scored.scores[known]
        for name, scored in drawn.items()
        if scored.scores is not None and not isinstance(scored.metrics, NoMetrics)
    }
    if not scores:
        return []
    baselines = tuple(shown)
    rivals = {n: s for n, s in drawn.items() if n in (evaluation.choice.name, best)}
    bins = {
        name: scored.metrics.calibration.bins
        for name, scored in rivals.items()
        if isinstance(scored.metrics, DetectionMetrics) and scored.metrics.calibration
    }
    return [
        Picture(
            name="roc",
            caption="Hallucinated samples found over false alarms; dashed are the probe and "
            "the best baseline.",
            svg=roc(scores, labels, baselines),
        ),
        Picture(
            name="precision_recall",
            caption="How many alarms are right over how many hallucinated samples are found; the "
            "colours are those of the ROC curves.",
            svg=precision_recall(scores, labels, baselines),
        ),
        Picture(
            name="risk_coverage",
            caption="The share hallucinated among the accepted samples, those of the lowest "
            "scores, by how many are accepted. The thin lines accept at random and by the labels.",
            svg=selective(
                {n: s for n, s in scores.items() if n in rivals},
                labels,
                baselines,
            ),
        ),
        *(
            [
                Picture(
                    name="reliability",
                    caption="How often samples of like probability are hallucinated; larger dots "
                    "are more samples, and on the thin line probabilities are right.",
                    svg=reliability(bins, baselines),
                )
            ]
            if bins
            else []
        ),
        *(
            Picture(
                name=f"histogram_{name}",
                caption=f"Scores of {name} by class.",
                svg=histogram(scores[name], labels, name),
            )
            for name in evaluation.detectors
            if name in scores
        ),
    ]


def _layer_pictures(evaluation: DetectionEvaluation) -> list[Picture]:
    from .layer_plots import auroc_by_layer, heat_map, projection_by_label, projection_by_layer

    drawn = evaluation.layer_map
    layers = evaluation.layers
    curves = {
        name: {layer.layer: value for layer in layers if (value := of(layer)) is not None}
        for name, of in (
            ("kNN on its embeddings", lambda layer: auroc_of(layer.knn)),
            ("probe", lambda layer: auroc_of(layer.probe)),
            ("probe in cross-validation", lambda layer: layer.probe_cv_auroc),
        )
    }
    explained = f"{sum(drawn.explained):.0%} of the variance of {len(drawn.rows)} test samples"
    return [
        Picture(
            name="auroc_by_layer",
            caption="What each layer alone detects in the test samples, and its probe in "
            "cross-validation on training samples. Views are drawn from the shaded layers; the "
            "thin line marks the probe that is reported.",
            svg=auroc_by_layer(
                {name: values for name, values in curves.items() if values},
                evaluation.view_layers,
                next((layer.layer for layer in layers if layer.chosen), None),
            ),
        ),
        Picture(
            name="layer_similarity",
            caption="How alike a sample's embeddings at two layers are: the mean cosine.",
            svg=heat_map(drawn.similarity, drawn.layers),
        ),
        Picture(
            name="projection_by_label",
            caption=f"Embeddings of every layer, by label: {explained}.",
            svg=projection_by_label(drawn.points, evaluation.labels[drawn.rows]),
        ),
        Picture(
            name="projection_by_layer",
            caption="The same points, by layer.",
            svg=projection_by_layer(drawn.points, drawn.layers),
        ),
    ]
