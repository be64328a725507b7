"""Classified galaxies as a figure: each picture with what was found in it, and beside it what the models say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyBboxPatch, Rectangle

from .. import disk
from ..errors import RecipeError
from .answers import Galaxy, Head
from .classify import Classification
from .inwords import STAGES, hubble_type, share, strongest, way, worded
from .sight import Portrait

MOST_DRAWN = 24  # galaxies of one figure
FIGURES = (".png", ".pdf", ".svg")

# inches
PICTURE, BESIDE, GAP = 3.5, 3.1, 0.28
LINE, HEAD = 0.195, 0.27
MOST_CLASSES = 5
SCALE = 2.6  # lines that the Hubble types take
PHRASE = 24  # letters of a step beside which there is room for its bar

INK, FAINT, RULE, TRACK = "#1f2933", "#7b8794", "#cbd2d9", "#eef1f4"
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"  # Okabe & Ito 2008
FOUND, FRAME = "#56B4E9", "#F0E442"
_STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "tuningfork", "font.family": "DejaVu Sans", "font.size": 8,
    "text.color": INK, "text.parse_math": False,
}  # fmt: skip


def check_figure(path: str | Path) -> None:
    """Raise :class:`RecipeError` for a file whose suffix is no format of a figure."""
    if Path(path).suffix.lower() not in FIGURES or Path(path).is_dir():
        raise RecipeError(f"'{path}': name a figure to draw; its suffix may be {', '.join(FIGURES)}")


def save_figure(done: Classification, path: str | Path, dpi: int = 150) -> None:
    """Draw a classification that kept its portraits into a file .png, .pdf or .svg; whole or not at all.

    Raises :class:`RecipeError` for another suffix, or where not one galaxy has its portrait.
    """
    check_figure(path)
    figure = draw(done)
    with disk.atomic(path) as part:
        figure.savefig(part, dpi=dpi)


def draw(done: Classification) -> Figure:
    """The galaxies that have portraits, at most 24: side by side, two or three to a row where they are many.

    In each picture a cross is the centre that was found, the ellipse has its Petrosian radius, and the dashed square is
    what the network sees. Beside it, for each head: the likeliest classes; the Hubble type on its scale, and the
    strongest attributes; the likeliest way through the tree, with each answer's share. The last line tells how many
    galaxies are not drawn. Raises :class:`RecipeError` where there is no portrait.
    """
    shown = [one for one in done.galaxies if one.id in done.portraits][:MOST_DRAWN]
    if not shown:
        raise RecipeError("there is no galaxy to draw: all were rejected, or no portraits were asked for")
    columns = 1 if len(shown) == 1 else 2 if len(shown) <= 8 else 3
    rows = [shown[k : k + columns] for k in range(0, len(shown), columns)]
    heights = [max(PICTURE + HEAD, *(_height(one, done.heads) for one in row)) + GAP for row in rows]
    step = PICTURE + BESIDE + 2.4 * GAP
    width, height = columns * step + 0.6 * GAP, sum(heights) + GAP + 0.3
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), facecolor="white")
        page = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(-height, 0))
        page.set_axis_off()
        for number, row in enumerate(rows):
            for column, one in enumerate(row):
                corner = (GAP + column * step, -GAP - sum(heights[:number]))
                _card(figure, page, one, done.portraits[one.id], done.heads, corner)
        page.text(GAP, 0.18 - height, _footnote(done, len(shown)), size=7.5, color=FAINT, va="center")
    return figure


def _footnote(done: Classification, n: int) -> str:
    words = ["cross: centre", "ellipse: Petrosian radius", "dashed: what the network sees"]
    if done.n_done > n:
        words.append(f"{done.n_done - n:,} more were classified and are not drawn")
    if done.n_rejected:
        words.append(f"{done.n_rejected:,} rejected")
    return "  ·  ".join(words)


def _height(galaxy: Galaxy, heads: Sequence[Head]) -> float:
    """The inches that the answers take."""
    total: float = HEAD
    for head in heads:
        said = galaxy.answers.get(head.name)
        if said is None:
            continue
        if head.is_path and head.tree is not None:
            rows: float = len(way(head.tree, said))
        elif head.is_attributes:
            rows = len(strongest(head, said)) + (SCALE if hubble_type(head, said) is not None else 0)
        else:
            rows = min(len(said), MOST_CLASSES)
        total += HEAD + rows * LINE + 0.12
    return total


def _card(
    figure: Figure, page: Axes, galaxy: Galaxy, shown: Portrait, heads: Sequence[Head], corner: tuple[float, float]
) -> None:
    """One galaxy, from the ``corner`` (left, top) on, in inches of the page."""
    left, top = corner
    width, height = figure.get_size_inches()
    page.text(left, top - 0.02, galaxy.id, size=10, weight="bold", va="top")
    place = (left / width, 1 + (top - HEAD - PICTURE) / height, PICTURE / width, PICTURE / height)
    _picture(figure.add_axes(place), shown)
    x, y = left + PICTURE + GAP, top - HEAD
    for head in heads:
        said = galaxy.answers.get(head.name)
        if said is None:
            continue
        page.text(x, y - 0.06, head.name, size=7, color=FAINT, va="center", weight="bold")
        page.plot([x, x + BESIDE], [y - 0.17] * 2, color=RULE, linewidth=0.6)
        y -= HEAD
        if head.is_path:
            y = _way(page, head, said, x, y)
        elif head.is_attributes:
            y = _attributes(page, head, said, x, y)
        else:
            y = _bars(page, worded(head, said)[:MOST_CLASSES], x, y, BLUE)
        y -= 0.12


def _picture(axes: Axes, shown: Portrait) -> None:
    """The picture with its source; coordinates are those of the file, in which pixel k covers k .. k + 1."""
    height, width = (n * shown.factor for n in shown.picture.shape[:2])
    axes.imshow(shown.picture, extent=(0, width, height, 0), interpolation="nearest" if width < 100 else "antialiased")
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[], anchor="NW")
    for spine in axes.spines.values():
        spine.set_visible(False)
    (x, y), side = shown.centre, shown.side
    corner = (x - side / 2, y - side / 2)
    axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=FRAME, linewidth=1.1, linestyle=(0, (4, 3))))
    if shown.source is not None:
        one = shown.source
        middle = (one.x + 0.5, one.y + 0.5)
        long, short = 2 * one.petrosian_radius, 2 * one.petrosian_radius * one.axis_ratio
        axes.add_patch(
            Ellipse(middle, long, short, angle=one.position_angle, fill=False, edgecolor=FOUND, linewidth=1.2)
        )
        axes.plot(*middle, marker="+", color=FOUND, markersize=7, markeredgewidth=1.1)


def _bars(page: Axes, rows: Sequence[tuple[str, float]], x: float, y: float, colour: str) -> float:
    """A bar per name; the first in full colour. Returns where the next thing goes."""
    begin, length = x + 1.42, BESIDE - 1.42 - 0.36
    for number, (name, value) in enumerate(rows):
        middle = y - LINE / 2
        first = number == 0
        page.text(begin - 0.08, middle, name, ha="right", va="center", weight="bold" if first else "normal")
        page.add_patch(_bar(begin, middle, length, TRACK))
        if value > 0.005:
            page.add_patch(_bar(begin, middle, length * min(value, 1.0), colour, 1.0 if first else 0.55))
        page.text(x + BESIDE, middle, share(value), ha="right", va="center", color=INK if first else FAINT)
        y -= LINE
    return y


def _bar(x: float, middle: float, length: float, colour: str, alpha: float = 1.0) -> FancyBboxPatch:
    round_off = min(0.035, length / 2)
    style = f"round,pad=0,rounding_size={round_off:.4f}"
    return FancyBboxPatch(
        (x, middle - 0.05), length, 0.1, boxstyle=style, facecolor=colour, edgecolor="none", alpha=alpha
    )


def _way(page: Axes, head: Head, said: dict[str, float], x: float, y: float) -> float:
    """The way through the tree: a dot per question, as dark as the answer is agreed upon, and lines between."""
    assert head.tree is not None
    steps = way(head.tree, said)
    line = x + 0.09
    page.plot([line, line], [y - LINE / 2, y - (len(steps) - 0.5) * LINE], color=RULE, linewidth=1.2, zorder=1)
    begin, length = x + 1.66, BESIDE - 1.66 - 0.36
    for one in steps:
        middle = y - LINE / 2
        page.plot(line, middle, "o", markersize=5.5, color="white", zorder=2)
        page.plot(line, middle, "o", markersize=5.5, color=GREEN, alpha=0.2 + 0.8 * min(one.share, 1.0), zorder=3)
        page.text(line + 0.13, middle, one.phrase, va="center")
        if len(one.phrase) < PHRASE:
            page.add_patch(_bar(begin, middle, length, TRACK))
            page.add_patch(_bar(begin, middle, length * min(max(one.share, 0.01), 1.0), GREEN, 0.75))
        page.text(x + BESIDE, middle, share(one.share), ha="right", va="center", color=FAINT)
        y -= LINE
    return y


def _attributes(page: Axes, head: Head, said: dict[str, float], x: float, y: float) -> float:
    """The Hubble type on its scale, then the strongest attributes."""
    t = hubble_type(head, said)
    if t is not None:
        y = _scale(page, t, x, y)
    return _bars(page, strongest(head, said), x, y, ORANGE)


def _scale(page: Axes, t: float, x: float, y: float) -> float:
    """T on a line from ellipticals to irregulars, with the names of the stages that people know."""
    low, high = min(STAGES), max(STAGES)
    left, length = x + 0.12, BESIDE - 0.24
    rule = y - 1.45 * LINE
    page.plot([left, left + length], [rule, rule], color=RULE, linewidth=1.4, solid_capstyle="round")
    nearest = min(max(round(t), low), high)
    for stage, name in STAGES.items():
        at = left + length * (stage - low) / (high - low)
        told = stage in (-5, -2, 1, 3, 5, 7, 10)
        page.plot([at, at], [rule - (0.045 if told else 0.025), rule], color=RULE, linewidth=0.9)
        if told:
            bold = stage == nearest
            page.text(at, rule - 0.14, name, size=6.5, ha="center", va="center", color=ORANGE if bold else FAINT)
    at = left + length * (min(max(t, low), high) - low) / (high - low)
    page.plot(at, rule, "o", color=ORANGE, markersize=6.5, markeredgecolor="white", markeredgewidth=1.0, zorder=4)
    words = f"{STAGES[nearest]}  (T = {t:.1f})".replace("-", "−")
    fits = min(max(at, x + 0.45), x + BESIDE - 0.45)
    page.text(fits, rule + 0.15, words, ha="center", va="center", weight="bold")
    return y - SCALE * LINE
