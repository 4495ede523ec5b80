"""The report's pictures of training and of detection."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib
import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..detection.calibration import ReliabilityBin
from ..detection.selective import risk_coverage
from .drawing import CLASSES, INK, LINES, STYLE, figure, svg

Array = NDArray[np.float64]

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
    with matplotlib.rc_context(STYLE):
        fig, axes = figure()
        for part in parts:
            known = [m for m in metrics if m.get(f"{part}_{metric}") is not None]
            if known:
                x = [m["epoch"] for m in known]
                y = [m[f"{part}_{metric}"] for m in known]
                style: Any = {"color": LINES[1], "linestyle": "--"} if part == "val" else {}
                axes.plot(x, y, marker=".", label=part, **{"color": LINES[0], **style})
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(parts) > 1:
            axes.legend()
        return svg(fig, "_".join([*parts, metric]))


def curves_of_seeds(
    metrics: Mapping[int, Sequence[Mapping[str, float]]], metric: str, label: str
) -> str:
    """A metric of several trainings over the epochs, a line each.

    Args:
        metrics: a mapping per epoch, with `epoch` and the metric, by seed.
        metric: its key.
        label: the words for it.
    """
    with matplotlib.rc_context(STYLE):
        fig, axes = figure()
        for (seed, epochs), colour in zip(metrics.items(), cycle(LINES), strict=False):
            x, y = [m["epoch"] for m in epochs], [m[metric] for m in epochs]
            axes.plot(x, y, marker=".", label=f"seed {seed}", color=colour)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
        return svg(fig, f"seeds_{metric}")


def roc(scores: Mapping[str, Array], labels: NDArray, baselines: Sequence[str]) -> str:
    """ROC curves of several scorers on the labelled samples; baselines are dashed.

    Args:
        scores: by name, (n,).
        labels: 1 or 0, (n,).
        baselines: the names among them that are baselines.
    """
    from sklearn.metrics import roc_curve

    with matplotlib.rc_context(STYLE):
        fig, axes = figure(square=True)
        for name, style in _line_styles(scores, baselines).items():
            fpr, tpr, _ = roc_curve(labels, scores[name])
            axes.plot(fpr, tpr, label=name, **style)
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.6, alpha=0.4)
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        axes.legend(loc="lower right")
        return svg(fig, "roc")


def precision_recall(scores: Mapping[str, Array], labels: NDArray, baselines: Sequence[str]) -> str:
    """Precision over recall, as `roc`; the thin line is the share of hallucinated samples."""
    from sklearn.metrics import precision_recall_curve

    with matplotlib.rc_context(STYLE):
        fig, axes = figure(square=True)
        for name, style in _line_styles(scores, baselines).items():
            precision, recall, _ = precision_recall_curve(labels, scores[name])
            axes.plot(recall, precision, label=name, drawstyle="steps-post", **style)
        axes.axhline(float(np.mean(labels == 1)), color=INK, linewidth=0.6, alpha=0.4)
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
    with matplotlib.rc_context(STYLE):
        fig, axes = figure(square=True)
        for name, style in _line_styles(bins, baselines).items():
            x = [b.probability for b in bins[name]]
            y = [b.frequency for b in bins[name]]
            total = sum(b.count for b in bins[name])
            axes.plot(x, y, label=name, **style)
            sizes = [200 * b.count / total for b in bins[name]]
            axes.scatter(x, y, s=sizes, color=style["color"], linewidths=0)
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.6, alpha=0.4)
        axes.set_xlabel("probability of being hallucinated")
        axes.set_ylabel("share that is hallucinated")
        axes.legend(loc="upper left")
        return svg(fig, "reliability")


def selective(scores: Mapping[str, Array], labels: NDArray, baselines: Sequence[str]) -> str:
    """Risk over coverage, as `roc`; the thin lines are accepting at random, and by the labels."""
    with matplotlib.rc_context(STYLE):
        fig, axes = figure(square=True)
        thin: Any = {"color": INK, "linewidth": 0.6, "alpha": 0.4}
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
    with matplotlib.rc_context(STYLE):
        fig, axes = figure()
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
        axes.set_xlabel("score (higher: more likely hallucinated)")
        axes.set_ylabel("density")
        axes.legend()
        return svg(fig, f"histogram_{name}")


def _line_styles(names: Iterable[str], baselines: Sequence[str]) -> dict[str, dict]:
    found, beaten = cycle(LINES), cycle(_BASELINE_LINES)
    return {
        name: {"color": next(beaten), "linestyle": "--"}
        if name in baselines
        else {"color": next(found)}
        for name in names
    }
