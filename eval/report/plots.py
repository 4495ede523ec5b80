"""The report's pictures, as SVG that takes its text colour from the page around it."""

import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..detection.calibration import ReliabilityBin
from ..detection.selective import risk_coverage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

_INK = "#0a0b0c"
"""Stands for the page's text colour, which `svg` puts in its place."""

_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}

CLASSES = {1: ("hallucinated", "#e2711d"), 0: ("not hallucinated", "#3a86c8")}
_LINES = ("#3a86c8", "#2a9d8f", "#9b5de5", "#d1495b", "#b98b00", "#5c7f3a")
_BASELINE_LINES = ("#8a8f98", "#e2711d")


def curves(
    metrics: Sequence[Mapping[str, float]], metric: str, label: str, parts: Sequence[str]
) -> str:
    """A metric of training, of validation or of both over the epochs.

    Args:
        metrics: a mapping per epoch, with `epoch` and `<part>_<metric>`; what an epoch lacks is
            left out.
        metric: `loss`, `intra_cos` or `intra_inter_margin`.
        label: the words for it.
        parts: `train`, `val`.
    """
    with matplotlib.rc_context(_STYLE):
        fig, axes = _figure()
        for part in parts:
            known = [m for m in metrics if m.get(f"{part}_{metric}") is not None]
            if known:
                x = [m["epoch"] for m in known]
                y = [m[f"{part}_{metric}"] for m in known]
                style: Any = {"color": _LINES[1], "linestyle": "--"} if part == "val" else {}
                axes.plot(x, y, marker=".", label=part, **{"color": _LINES[0], **style})
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(parts) > 1:
            axes.legend()
        return svg(fig, "_".join([*parts, metric]))


def roc(scores: Mapping[str, Array], labels: NDArray, baselines: Sequence[str]) -> str:
    """ROC curves of several scorers on the labelled samples; baselines are dashed.

    Args:
        scores: by name, (n,).
        labels: 1 or 0, (n,).
        baselines: the names among them that are baselines.
    """
    from sklearn.metrics import roc_curve

    with matplotlib.rc_context(_STYLE):
        fig, axes = _figure(square=True)
        for name, style in _line_styles(scores, baselines).items():
            fpr, tpr, _ = roc_curve(labels, scores[name])
            axes.plot(fpr, tpr, label=name, **style)
        axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.6, alpha=0.4)
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        axes.legend(loc="lower right")
        return svg(fig, "roc")


def precision_recall(scores: Mapping[str, Array], labels: NDArray, baselines: Sequence[str]) -> str:
    """Precision over recall, as `roc`; the thin line is the share of hallucinated samples."""
    from sklearn.metrics import precision_recall_curve

    with matplotlib.rc_context(_STYLE):
        fig, axes = _figure(square=True)
        for name, style in _line_styles(scores, baselines).items():
            precision, recall, _ = precision_recall_curve(labels, scores[name])
            axes.plot(recall, precision, label=name, drawstyle="steps-post", **style)
        axes.axhline(float(np.mean(labels == 1)), color=_INK, linewidth=0.6, alpha=0.4)
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        axes.set_ylim(0, 1.03)
        return svg(fig, "precision_recall")


def reliability(bins: Mapping[str, Sequence[ReliabilityBin]], baselines: Sequence[str]) -> str:
    """Frequencies over probabilities, a dot per bin, its area by the bin's share of the samples.

    Args:
        bins: of each scorer, by name.
        baselines: the names among them that are baselines.
    """
    with matplotlib.rc_context(_STYLE):
        fig, axes = _figure(square=True)
        for name, style in _line_styles(bins, baselines).items():
            x = [b.probability for b in bins[name]]
            y = [b.frequency for b in bins[name]]
            total = sum(b.count for b in bins[name])
            axes.plot(x, y, label=name, **style)
            sizes = [200 * b.count / total for b in bins[name]]
            axes.scatter(x, y, s=sizes, color=style["color"], linewidths=0)
        axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.6, alpha=0.4)
        axes.set_xlabel("probability of being hallucinated")
        axes.set_ylabel("share that is hallucinated")
        axes.legend(loc="upper left")
        return svg(fig, "reliability")


def selective(scores: Mapping[str, Array], labels: NDArray, baselines: Sequence[str]) -> str:
    """Risk over coverage, as `roc`; the thin lines are accepting at random, and by the labels."""
    with matplotlib.rc_context(_STYLE):
        fig, axes = _figure(square=True)
        thin: Any = {"color": _INK, "linewidth": 0.6, "alpha": 0.4}
        for name, style in _line_styles(scores, baselines).items():
            axes.plot(*risk_coverage(scores[name], labels), label=name, **style)
        axes.plot(*risk_coverage(labels.astype(np.float64), labels), **thin)
        axes.axhline(float(np.mean(labels == 1)), **thin)
        axes.set_xlabel("coverage: share of samples accepted")
        axes.set_ylabel("risk: share of these that is hallucinated")
        axes.legend(loc="upper left")
        return svg(fig, "risk_coverage")


def histogram(scores: Array, labels: NDArray, name: str) -> str:
    """How a scorer's scores are spread in each class.

    Args:
        scores: (n,).
        labels: 1 or 0, (n,).
        name: the scorer's.
    """
    with matplotlib.rc_context(_STYLE):
        fig, axes = _figure()
        edges = np.histogram_bin_edges(scores, bins=30)
        for label, (words, colour) in CLASSES.items():
            axes.hist(
                scores[labels == label],
                bins=edges.tolist(),
                density=True,
                histtype="stepfilled",
                alpha=0.55,
                color=colour,
                label=words,
            )
        axes.set_xlabel(f"{name} score (higher: more likely hallucinated)")
        axes.set_ylabel("density")
        axes.legend()
        return svg(fig, f"histogram_{name}")


def heat_map(similarity: Array, layers: Sequence[int]) -> str:
    """How alike a sample's embeddings at two layers are, on average.

    Args:
        similarity: mean cosines, (L, L).
        layers: the model's layer ids, L.
    """
    with matplotlib.rc_context(_STYLE):
        fig, axes = _figure(square=True)
        low = min(0.0, float(similarity.min()))
        # rectangles, not an embedded bitmap: they stay sharp at any size
        mesh = axes.pcolormesh(similarity, cmap="viridis", vmin=low, vmax=1, edgecolors="face")
        every = max(1, len(layers) // 12)
        ticks = list(range(0, len(layers), every))
        names = [str(layers[i]) for i in ticks]
        axes.set_xticks([i + 0.5 for i in ticks], names)
        axes.set_yticks([i + 0.5 for i in ticks], names)
        axes.set_aspect("equal")
        axes.set_xlabel("layer")
        axes.set_ylabel("layer")
        fig.colorbar(mesh, ax=axes, label="mean cosine", shrink=0.8)
        return svg(fig, "layer_similarity")


def projection_by_label(points: Array, labels: NDArray) -> str:
    """Embeddings in their two main directions, coloured by label.

    Args:
        points: (s, L, 2), a point per sample and layer.
        labels: the samples', (s,): 1, 0 or -1.
    """
    with matplotlib.rc_context(_STYLE):
        fig, axes = _figure(square=True)
        for label, (words, colour) in {**CLASSES, -1: ("unlabelled", "#8a8f98")}.items():
            if (labels == label).any():
                x, y = points[labels == label].reshape(-1, 2).T
                axes.scatter(x, y, s=7, alpha=0.6, linewidths=0, color=colour, label=words)
        _name_directions(axes)
        axes.legend(markerscale=3)
        return svg(fig, "projection_by_label")


def projection_by_layer(points: Array, layers: Sequence[int]) -> str:
    """Embeddings in their two main directions, coloured by layer.

    Args:
        points: (s, L, 2), a point per sample and layer.
        layers: the model's layer ids, L.
    """
    with matplotlib.rc_context(_STYLE):
        fig, axes = _figure(square=True)
        x, y = points.reshape(-1, 2).T
        colours = np.tile(np.asarray(layers), len(points))
        dots = axes.scatter(x, y, s=7, alpha=0.6, linewidths=0, c=colours, cmap="viridis")
        _name_directions(axes)
        fig.colorbar(dots, ax=axes, label="layer", shrink=0.8)
        return svg(fig, "projection_by_layer")


def svg(fig: Figure, name: str) -> str:
    """The picture as an `<svg>` element.

    Args:
        fig: drawn under this module's style.
        name: one of a kind on a page, so that the ids inside are too.
    """
    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        fig.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    return text.replace("<svg ", f'<svg role="img" aria-label="{name.replace("_", " ")}" ', 1)


def _figure(square: bool = False) -> tuple[Figure, "Axes"]:
    fig = Figure(figsize=(4.6, 4.2 if square else 3.1), layout="constrained")
    return fig, fig.add_subplot()


def _name_directions(axes: "Axes") -> None:
    axes.set_xlabel("first main direction")
    axes.set_ylabel("second main direction")


def _line_styles(names: Iterable[str], baselines: Sequence[str]) -> dict[str, dict]:
    found, beaten = cycle(_LINES), cycle(_BASELINE_LINES)
    return {
        name: {"color": next(beaten), "linestyle": "--"}
        if name in baselines
        else {"color": next(found)}
        for name in names
    }
