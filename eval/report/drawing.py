"""How the report's pictures look, and the SVG of one: its text takes the page's colour."""

import io
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#0a0b0c"
"""Stands for the page's text colour, which `svg` puts in its place."""

STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}

CLASSES = {1: ("hallucinated", "#e2711d"), 0: ("not hallucinated", "#3a86c8")}
LINES = ("#3a86c8", "#2a9d8f", "#9b5de5", "#d1495b", "#b98b00", "#5c7f3a")


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
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    return text.replace("<svg ", f'<svg role="img" aria-label="{name.replace("_", " ")}" ', 1)


def figure(square: bool = False) -> tuple[Figure, "Axes"]:
    """An empty picture of the report's size."""
    fig = Figure(figsize=(4.6, 4.2 if square else 3.1), layout="constrained")
    return fig, fig.add_subplot()
