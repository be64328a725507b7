"""A galaxy beside its maps: colour scales with numbers, isophotes, and pictures of what a network sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ..evaluate.bootstrap import Floats
from ..evaluate.plots import STYLE
from ..galaxy.cutout import Cutout
from ..galaxy.display import to_picture

Panel = tuple[str, Floats, bool]  # title, map (S, S), whether it has a sign
SIDE = 2.35  # inches of a panel


def picture_of(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What a network sees, uint8 (bands, S, S), as a picture (S, S, 3); of more than three bands the first three."""
    return to_picture(Cutout("", pixels, ()))


def bare(axes: Axes) -> Axes:
    """Axes without ticks, grid and frame, for a picture."""
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def show_galaxy(axes: Axes, pixels: NDArray[np.uint8]) -> None:
    """The galaxy; few pixels stay squares, so that nothing is invented."""
    bare(axes).imshow(picture_of(pixels), interpolation="nearest" if pixels.shape[-1] < 100 else "antialiased")


def isophotes(axes: Axes, pixels: NDArray[np.uint8], colour: str) -> None:
    """Three lines of equal light of the smoothed galaxy, a fifth, half and four fifths of the way to its peak."""
    light = gaussian_filter(pixels.mean(axis=0, dtype=np.float64), max(pixels.shape[-1] / 64, 0.7))
    low, high = np.median(light), light.max()
    if high > low:
        axes.contour(light, low + (high - low) * np.array([0.2, 0.5, 0.8]), colors=colour, linewidths=0.6, alpha=0.75)


def show_map(axes: Axes, values: Floats, signed: bool) -> Any:
    """A map on its colours: red above and blue below 0, white at 0, or from dark to bright where it has no sign.

    The scale ends where 1 pixel in 500 lies beyond, so that single pixels do not hide the rest.
    """
    size = np.abs(values)
    end = float(np.quantile(size, 0.998)) or float(size.max()) or 1.0
    limits: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -end, "vmax": end}
    if not signed:
        limits = {"cmap": "magma", "vmin": 0.0, "vmax": end}
    return bare(axes).imshow(values, interpolation="nearest", **limits)


def draw(rows: Sequence[tuple[str, NDArray[np.uint8], Sequence[Panel]]]) -> Figure:
    """Rows of a title, a galaxy and its maps, as a figure."""
    columns = 1 + max(len(panels) for _, _, panels in rows)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(columns * (SIDE + 0.45), len(rows) * (SIDE + 0.75)), layout="constrained")
        for line, (title, pixels, panels) in zip(
            figure.subfigures(len(rows), 1, squeeze=False)[:, 0], rows, strict=True
        ):
            line.suptitle(title, x=0.012, ha="left", size=9.5, weight="bold")
            galaxy, *others = line.subplots(1, columns, squeeze=False)[0]
            show_galaxy(galaxy, pixels)
            galaxy.set_title("what the network sees", fontsize=8, fontweight="normal")
            for axes in others[len(panels) :]:
                axes.set_visible(False)
            for axes, (name, values, signed) in zip(others, panels, strict=False):
                shown = show_map(axes, values, signed)
                isophotes(axes, pixels, "#444444" if signed else "white")
                axes.set_title(name, fontsize=8, fontweight="normal")
                scale(figure, shown, axes, signed)
    return figure


def scale(figure: Figure, shown: Any, axes: Axes | list[Axes], signed: bool, label: str = "") -> None:
    """A colour scale with few numbers, as high as the panel; powers of ten stand above it."""
    bar = figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.03, extend="both" if signed else "max")
    bar.locator = MaxNLocator(4, symmetric=signed)
    numbers = ScalarFormatter()
    numbers.set_powerlimits((-2, 3))
    bar.formatter = numbers
    bar.update_ticks()
    bar.ax.tick_params(labelsize=6.5)
    bar.ax.yaxis.offsetText.set_fontsize(6.5)
    bar.outline.set_linewidth(0.5)
    if label:
        bar.set_label(label, fontsize=7)


def short_id(identifier: str, letters: int = 12) -> str:
    """An id that fits under a small picture: its end, after an ellipsis where it is long."""
    return identifier if len(identifier) <= letters else f"\N{HORIZONTAL ELLIPSIS}{identifier[1 - letters :]}"
