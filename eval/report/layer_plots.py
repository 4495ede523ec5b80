"""The report's pictures of layers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from .drawing import CLASSES, INK, LINES, STYLE, figure, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


def auroc_by_layer(
    curves: Mapping[str, Mapping[int, float]], views: Sequence[int], probe: int | None
) -> str:
    """What each layer detects.

    Args:
        curves: AUROC by layer id, by what it is of; the last is dashed.
        views: the layers that views are drawn from, whose ticks are shaded.
        probe: the layer whose probe is reported, marked by a line; None for none.
    """
    with matplotlib.rc_context(STYLE):
        fig, axes = figure()
        for layer in views:
            axes.axvspan(layer - 0.5, layer + 0.5, color=LINES[0], alpha=0.12, linewidth=0)
        if probe is not None:
            axes.axvline(probe, color=INK, linewidth=0.6, alpha=0.4)
        for (name, values), colour in zip(curves.items(), LINES, strict=False):
            dashed = name == list(curves)[-1]
            axes.plot(
                list(values),
                list(values.values()),
                marker=".",
                label=name,
                color=colour,
                linestyle="--" if dashed else "-",
            )
        axes.axhline(0.5, color=INK, linewidth=0.6, alpha=0.4)
        axes.set_xlabel("layer")
        axes.set_ylabel("AUROC")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
        return svg(fig, "auroc_by_layer")


def heat_map(similarity: Array, layers: Sequence[int]) -> str:
    """How alike a sample's embeddings at two layers are, on average.

    Args:
        similarity: mean cosines, (L, L).
        layers: the model's layer ids, L.
    """
    with matplotlib.rc_context(STYLE):
        fig, axes = figure(square=True)
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
    with matplotlib.rc_context(STYLE):
        fig, axes = figure(square=True)
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
    with matplotlib.rc_context(STYLE):
        fig, axes = figure(square=True)
        x, y = points.reshape(-1, 2).T
        colours = np.tile(np.asarray(layers), len(points))
        dots = axes.scatter(x, y, s=7, alpha=0.6, linewidths=0, c=colours, cmap="viridis")
        _name_directions(axes)
        fig.colorbar(dots, ax=axes, label="layer", shrink=0.8)
        return svg(fig, "projection_by_layer")


def _name_directions(axes: "Axes") -> None:
    axes.set_xlabel("first main direction")
    axes.set_ylabel("second main direction")
