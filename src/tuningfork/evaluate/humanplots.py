"""The figures of human against machine: galaxies as points, and their means in bins, one panel per class."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from .bootstrap import Bools, Floats
from .plots import COLOURS, FAINT, STYLE, Picture, _picture

POINTS = 1500  # of a panel: what a page can hold


def drawn(n: int) -> slice:
    """Which of ``n`` galaxies (sorted by id, so in no order that matters) are drawn: at most :data:`POINTS`."""
    return slice(None, None, max(1, -(-n // POINTS)))


def human_scatter(
    names: Sequence[str], human: Floats, machine: Floats, unsure: Bools, means: Sequence[Sequence[tuple[float, ...]]]
) -> Picture:
    """The machine's probability against people's share, (N, K) each, one panel per class.

    Galaxies on which people were ``unsure`` (N,) are blue, the others grey. ``means`` holds per class the points
    (mean share, mean probability, low, high) of bins of the unsure ones, which are drawn with their intervals.
    """
    columns = 2 if len(names) == 4 else min(3, max(1, len(names)))
    rows = -(-len(names) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.2 * columns, 3.2 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for k, (axes, name) in enumerate(zip(grid.ravel(), names, strict=False)):
            axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=(0, (2, 2)))
            for some, colour, area in ((~unsure, FAINT, 3), (unsure, COLOURS[0], 6)):
                cut = drawn(int(some.sum()))
                size = area if len(human) > 500 else 2.5 * area  # few galaxies must be seen as well
                axes.scatter(human[some, k][cut], machine[some, k][cut], s=size, color=colour, alpha=0.45, linewidths=0)
            points = np.array(means[k], dtype=np.float64).reshape(-1, 4)
            if len(points):
                bars = np.stack([points[:, 1] - points[:, 2], points[:, 3] - points[:, 1]]).clip(0)
                style = {"color": COLOURS[1], "marker": "o", "markersize": 4, "linewidth": 1.2, "elinewidth": 1}
                axes.errorbar(points[:, 0], points[:, 1], bars, **style)
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
            axes.tick_params(labelbottom=k + columns >= len(names))
            axes.set_title(name if len(name) <= 34 else f"{name[:33]}…")
        for axes in grid.ravel()[len(names) :]:
            axes.set_visible(False)
        figure.supxlabel("people: share of the votes", fontsize=9)
        figure.supylabel("machine: probability", fontsize=9)
        words = ", ".join(names)
        return _picture(figure, f"The machine's probability against people's share of the votes, per class: {words}")
