"""A contact sheet: small pictures of galaxies on a grid, each with a line or two below it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .. import disk
from ..errors import BadImage, BadStore, BandError
from ..evaluate.plots import FAINT, STYLE
from ..galaxy.display import to_picture
from ..galaxy.records import Source
from ..predict.portraits import check_figure

__all__ = ["check_figure", "contact_sheet", "save_figure"]

TILE, CAPTION = 1.5, 0.36  # inches
BLANK = "no picture"


def contact_sheet(
    rows: Sequence[Sequence[tuple[str, str]]],
    source: Source,
    title: str = "",
    given: dict[str, NDArray[np.uint8]] | None = None,
) -> Figure:
    """A figure with a tile for each (id, caption) of each row; the pictures are those of ``source``.

    ``given`` holds pictures (height, width, 3) uint8 of ids that are not in the source. A galaxy whose picture cannot
    be had is a grey tile that says so.
    """
    columns = max((len(row) for row in rows), default=1)
    height = len(rows) * (TILE + CAPTION) + 0.35
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(columns * (TILE + 0.08) + 0.1, height), facecolor="white")
        figure.text(0.08 / figure.get_figwidth(), 1 - 0.2 / height, title, weight="bold", va="center")
        for number, row in enumerate(rows):
            top = 0.35 + number * (TILE + CAPTION)
            for column, (name, caption) in enumerate(row):
                left = 0.08 + column * (TILE + 0.08)
                place = (left / figure.get_figwidth(), 1 - (top + TILE) / height)
                size = (TILE / figure.get_figwidth(), TILE / height)
                axes = figure.add_axes((*place, *size))
                axes.set_axis_off()
                picture = _picture(name, source, given or {})
                if picture is None:
                    axes.imshow(np.full((1, 1, 3), 235, np.uint8))
                    axes.text(0, 0, BLANK, ha="center", va="center", size=7, color=FAINT)
                else:
                    axes.imshow(picture)
                axes.set_title(caption, y=-0.02, va="top", size=6, weight="normal", loc="left", pad=0)
    return figure


def save_figure(figure: Figure, path: str | Path, dpi: int = 110) -> None:
    """Write a figure as .png, .pdf or .svg, whole or not at all."""
    check_figure(path)
    with disk.atomic(path) as part:
        figure.savefig(part, dpi=dpi)


def _picture(name: str, source: Source, given: dict[str, NDArray[np.uint8]]) -> NDArray[np.uint8] | None:
    """The central square of a galaxy's picture."""
    try:
        whole = given[name] if name in given else to_picture(source.record(name).cutout())
    except (BadImage, BadStore, BandError):
        return None
    side = min(whole.shape[:2])
    top, left = (whole.shape[0] - side) // 2, (whole.shape[1] - side) // 2
    return whole[top : top + side, left : left + side]
