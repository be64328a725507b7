"""The report's figures, as SVG inside data addresses: ROC, precision-recall, reliability, learning curves."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from sklearn import metrics as curves

from .bootstrap import Bools, Floats
from .calibration import Reliability

# Okabe & Ito (2008), without yellow, which white paper swallows; the style tells apart what has the same colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000")
STYLES = ("-", "--", ":", "-.")
INK, FAINT = "#1f2933", "#9aa5b1"
_FONTS = "'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans'"
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tuningfork",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e7eb",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "text.parse_math": False,
}


@dataclass(frozen=True)
class Picture:
    """A picture as the page needs it: a data address, what it shows in words, and its width in CSS pixels."""

    address: str
    alt: str
    width: int


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of a ROC or precision-recall figure: which of the galaxies are positive, their scores, and its label."""

    label: str
    positive: Bools
    score: Floats


def _picture(figure: Figure, alt: str) -> Picture:
    stream = io.BytesIO()
    empty = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(stream, format="svg", metadata=empty)
    svg = stream.getvalue().decode()
    svg = svg[svg.index("<svg") :].replace("'DejaVu Sans'", _FONTS)
    data = base64.b64encode(svg.encode()).decode()
    return Picture(f"data:image/svg+xml;base64,{data}", alt, round(figure.get_figwidth() * 96))


def line_style(index: int) -> dict[str, Any]:
    """Colour and dashes of a figure's line number ``index``, for matplotlib: no two of the first 28 are alike."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": STYLES[(index // len(COLOURS)) % len(STYLES)]}


def _thinned(x: Floats, y: Floats, points: int = 300) -> tuple[Floats, Floats]:
    """At most about ``points`` points of a curve, first and last kept: what a screen can show."""
    if len(x) <= points:
        return x, y
    keep = np.unique(np.linspace(0, len(x) - 1, points).round().astype(np.int64))
    return x[keep], y[keep]


def _unit_square(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), xlabel=x_label, ylabel=y_label)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_yticks(np.linspace(0, 1, 6))


def ranking_curves(lines: Sequence[Curve], title: str = "") -> Picture:
    """ROC (left) and precision-recall (right) of several answers, drawn with scikit-learn's curves.

    Lines without a positive or without a negative galaxy are left out.
    """
    shown = [line for line in lines if line.positive.any() and not line.positive.all()]
    rows = len(shown)
    with matplotlib.rc_context(STYLE):
        space = ConstrainedLayoutEngine(wspace=0.06)
        figure = Figure(figsize=(9.9, max(3.4, 1.0 + 0.2 * rows)), layout=space)
        left, right, key = figure.subplots(1, 3, width_ratios=[1, 1, 0.8])
        key.set_axis_off()
        left.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=(0, (2, 2)))
        for index, line in enumerate(shown):
            wrong, found, _ = curves.roc_curve(line.positive, line.score)
            purity, complete, _ = curves.precision_recall_curve(line.positive, line.score)
            left.plot(*_thinned(wrong, found), label=line.label, **line_style(index))
            right.step(*_thinned(complete, purity), where="post", **line_style(index))
        _unit_square(left, "false positive rate", "true positive rate")
        _unit_square(right, "recall (completeness)", "precision (purity)")
        left.set_title(f"{title}: ROC" if title else "ROC")
        right.set_title("precision-recall")
        if shown:
            key.legend(*left.get_legend_handles_labels(), loc="center left", borderaxespad=0)
        words = "; ".join(line.label for line in shown) or "no answer that some galaxies have and others do not"
        return _picture(figure, f"ROC and precision-recall curves. {title} {words}".strip())


def reliability_diagram(lines: Sequence[tuple[str, Reliability, Floats]]) -> Picture:
    """Accuracy against confidence, one line per label, and below how the confidences (N,) are distributed."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 5.2), layout="constrained")
        top, below = figure.subplots(2, 1, height_ratios=[3.6, 1], sharex=True)
        top.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=(0, (2, 2)))
        floor = 1.0
        for index, (label, points, confidence) in enumerate(lines):
            bars = np.stack([points.accuracy - points.low, points.high - points.accuracy]).clip(0)
            drawn = {"marker": "osD^"[index % 4], "markersize": 4, "elinewidth": 0.8, "linewidth": 1.2}
            top.errorbar(points.confidence, points.accuracy, bars, label=label, **drawn, **line_style(index))
            below.hist(confidence, bins=np.linspace(0, 1, 41), histtype="step", linewidth=1.2, **line_style(index))
            floor = min(floor, *points.confidence, *points.low)
        floor = max(floor - 0.03, -0.01)
        top.set(ylim=(floor, 1.02), ylabel="share that is right")
        below.set(xlim=(floor, 1.01), xlabel="confidence: probability of the class given", ylabel="galaxies")
        top.legend(loc="upper left")
        labels = ", ".join(label for label, _, _ in lines)
        return _picture(
            figure,
            f"Reliability diagram: share of right answers against confidence ({labels}); the diagonal is perfect",
        )


def fraction_reliability(panels: Sequence[tuple[str, Reliability]]) -> Picture:
    """Observed against predicted vote fractions, one small panel per question."""
    columns = min(4, max(1, len(panels)))
    rows = -(-len(panels) // columns) or 1
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.45 * columns, 2.5 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes, (title, points) in zip(grid.ravel(), panels, strict=False):
            axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=(0, (2, 2)))
            axes.plot(points.confidence, points.accuracy, marker="o", markersize=3.5, color=COLOURS[0])
            axes.set_title(title, fontsize=8.5)
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        for axes in grid.ravel()[len(panels) :]:
            axes.set_visible(False)
        figure.supxlabel("predicted fraction", fontsize=9)
        figure.supylabel("volunteers' fraction", fontsize=9)
        names = ", ".join(title for title, _ in panels)
        return _picture(
            figure, f"Observed against predicted vote fractions per question ({names}); diagonal is perfect"
        )


_NOT_DRAWN = ("epoch", "step", "seconds", "time", "rate", "learning_rate", "lr", "skipped")


def learning_curves(history: Sequence[dict[str, Any]]) -> Picture | None:
    """Losses (left) and the other measures (right) per epoch, as the model's card recorded them; None without any."""
    epochs = [float(row.get("epoch", number)) for number, row in enumerate(history, 1)]
    names = list(dict.fromkeys(name for row in history for name in row if name.lower() not in _NOT_DRAWN))
    numeric = [name for name in names if any(_is_number(row.get(name)) for row in history)]
    losses = [name for name in numeric if "loss" in name.lower()]
    others = [name for name in numeric if name not in losses][: len(COLOURS)]
    panels = [(title, group) for title, group in (("loss", losses), ("other measures", others)) if group]
    if not panels or len(history) < 2:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.8 * len(panels), 3.2), layout="constrained")
        for axes, (title, group) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            for index, name in enumerate(group):
                values = [float(row[name]) if _is_number(row.get(name)) else float("nan") for row in history]
                marker = "o" if len(history) <= 30 else ""
                axes.plot(
                    epochs, values, label=name.replace("_", " "), marker=marker, markersize=3, **line_style(index)
                )
            axes.set(xlabel="epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.set_title(title)
            axes.legend()
        return _picture(figure, f"Learning curves over {len(history)} epochs: {', '.join(losses + others)}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
