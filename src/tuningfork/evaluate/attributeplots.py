"""The figures of predicted attributes: truth against prediction as a density, and reliability, a panel for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .attributes import Attribute
from .bootstrap import Floats
from .calibration import bin_of
from .plots import COLOURS, FAINT, STYLE, Picture, _picture

BINS = 24  # of a scale, along the prediction, and along the truth where it is not coded in steps


def density(one: Attribute) -> tuple[Floats, Floats, Floats]:
    """Edges along the truth (X + 1,), edges along the prediction (Y + 1,), and the share of each column's galaxies.

    The shares (Y, X) of a column sum to 1, so that rare values show as well as common ones; a column without
    galaxies is 0. Coded truths have one column per code.
    """
    rows = one.known
    step = one.step
    codes = int(np.ceil((one.high - one.low) / step - 1e-3)) + 1 if step else 0
    across: Floats = np.linspace(one.low, one.high, BINS + 1)
    if step:
        across = np.asarray(one.low + step * (np.arange(codes + 1) - 0.5), np.float64)
    up = np.linspace(one.low, one.high, BINS + 1)
    inside = np.clip(one.predicted[rows], one.low, one.high)
    counts, _, _ = np.histogram2d(inside, one.truth[rows], bins=(up, across))
    return across, up, counts / np.maximum(counts.sum(0), 1.0)


def truth_against_prediction(attributes: Sequence[Attribute]) -> Picture:
    """What was predicted (up) for galaxies of each true value (across), the line of equality, and the means."""

    def draw(axes: Axes, one: Attribute) -> None:
        across, up, shares = density(one)
        axes.imshow(
            np.sqrt(shares),  # the eye sees the wings of a distribution as well
            origin="lower",
            aspect="auto",
            extent=(across[0], across[-1], up[0], up[-1]),
            cmap="Blues",
            vmin=0,
            vmax=1,
            interpolation="nearest",
        )
        axes.plot([one.low, one.high], [one.low, one.high], color=FAINT, linewidth=0.9, linestyle=(0, (2, 2)))
        middle = (across[1:] + across[:-1]) / 2
        column = np.clip(np.searchsorted(across, one.truth[one.known], side="right") - 1, 0, len(middle) - 1)
        count = np.bincount(column, minlength=len(middle))
        total = np.bincount(column, one.predicted[one.known], minlength=len(middle))
        filled = count > 0
        means = total[filled] / count[filled]
        axes.plot(middle[filled], means, color=COLOURS[1], marker="o", markersize=2.6, linewidth=0.9)
        axes.set(xlim=(across[0], across[-1]), ylim=(one.low, one.high))
        axes.grid(visible=False)

    names = ", ".join(one.name for one in attributes)
    words = f"Predicted against true value, as density per true value with its mean ({names}); diagonal is perfect"
    return _panels(attributes, draw, ("the expert's value", "predicted value"), words)


def attribute_reliability(attributes: Sequence[Attribute]) -> Picture:
    """The mean true value of galaxies with about the same prediction, in 10 bins of equal mass."""

    def draw(axes: Axes, one: Attribute) -> None:
        rows = one.known
        bins = bin_of(one.predicted[rows], 10, "mass")
        count = np.bincount(bins, minlength=10)
        filled = count > 0
        means = [np.bincount(bins, value[rows], 10)[filled] / count[filled] for value in (one.predicted, one.truth)]
        axes.plot([one.low, one.high], [one.low, one.high], color=FAINT, linewidth=0.9, linestyle=(0, (2, 2)))
        axes.plot(*means, marker="o", markersize=3, color=COLOURS[0])
        edge = 0.03 * (one.high - one.low)
        axes.set(xlim=(one.low - edge, one.high + edge), ylim=(one.low - edge, one.high + edge))

    names = ", ".join(one.name for one in attributes)
    words = f"Mean true against mean predicted value per attribute ({names}); diagonal is perfect"
    return _panels(attributes, draw, ("predicted value", "the expert's value"), words)


def _panels(
    attributes: Sequence[Attribute], draw: Callable[[Axes, Attribute], None], labels: tuple[str, str], words: str
) -> Picture:
    columns = min(5, max(1, len(attributes)))
    rows = -(-len(attributes) // columns) or 1
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.98 * columns, 2.05 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, one in zip(grid.ravel(), attributes, strict=False):
            draw(axes, one)
            axes.set_title(one.name.replace("_", " "), fontsize=8)
            axes.tick_params(labelsize=6.5)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
        for axes in grid.ravel()[len(attributes) :]:
            axes.set_visible(False)
        figure.supxlabel(labels[0], fontsize=9)
        figure.supylabel(labels[1], fontsize=9)
        return _picture(figure, words)
