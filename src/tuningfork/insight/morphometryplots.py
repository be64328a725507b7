"""The figure of a galaxy's measures: plane, segmentation, Sersic model, and what the model leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..evaluate.plots import COLOURS, FAINT, STYLE
from .segmentation import GALAXY, NEIGHBOUR, Segmentation

RESIDUAL = 10.0  # noises at which the colours of the residual end


def draw(
    parts: Segmentation,
    model: NDArray[np.float64],
    values: Mapping[str, float],
    band: str,
    stretched: bool,
    text: str,
) -> Figure:
    """Four panels over one line of ``text``: the plane with its Petrosian ellipse, segmentation, model, residual.

    Plane and model are drawn on one scale, asinh of the light by the noise; a picture that is stretched already is
    drawn as it is. The residual is in noises of the sky. The first row is the lowest in flux, the highest in pictures.
    """
    origin: Literal["upper", "lower"] = "upper" if stretched else "lower"
    shown = [one / parts.noise if stretched else np.arcsinh(one / parts.noise / 2) for one in (parts.light, model)]
    top = float(np.max(shown[0][parts.labels == GALAXY], initial=1e-9))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.4, 3.2), facecolor="white")
        axes = figure.subplots(1, 4, gridspec_kw={"wspace": 0.06})
        figure.subplots_adjust(left=0.01, right=0.935, top=0.9, bottom=0.12)
        for one, title, plane in ((axes[0], band, shown[0]), (axes[2], "Sersic model", shown[1])):
            one.imshow(plane, cmap="gray", vmin=0, vmax=top, origin=origin)
            one.set_title(title)
        colours = ListedColormap([FAINT, COLOURS[0], COLOURS[1]])
        axes[1].imshow(parts.labels, cmap=colours, vmin=0, vmax=NEIGHBOUR, origin=origin, interpolation="nearest")
        axes[1].set_title("galaxy (blue), neighbours")
        _ellipse(axes[0], values)
        left = (parts.light - model) / parts.noise
        drawn = axes[3].imshow(left, cmap="RdBu_r", vmin=-RESIDUAL, vmax=RESIDUAL, origin=origin)
        axes[3].set_title("less the model, in noises")
        for one in axes:
            one.set_xticks([])
            one.set_yticks([])
            one.grid(False)
        place = axes[3].get_position()
        figure.colorbar(drawn, cax=figure.add_axes((place.x1 + 0.008, place.y0, 0.012, place.height)))
        figure.text(0.012, 0.045, text, size=8, va="center")
    return figure


def _ellipse(axes: Axes, values: Mapping[str, float]) -> None:
    """The Petrosian ellipse, and the centre."""
    from matplotlib.patches import Ellipse

    radius, flat = values["rpetro_ellip"], values["ellipticity"]
    if not np.isfinite([radius, flat, values["x"], values["orientation"]]).all():
        return
    kept = axes.axis()
    size = (2 * radius, 2 * radius * (1 - flat))
    axes.add_patch(Ellipse((values["x"], values["y"]), *size, angle=values["orientation"], fill=False, ec=COLOURS[3]))
    axes.plot(values["x"], values["y"], "+", color=COLOURS[3], ms=7)
    axes.axis(kept)
