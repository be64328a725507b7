"""A tree drawn as a figure: a box per question with its answers side by side, and what each of them leads to."""

from __future__ import annotations

import textwrap
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

from .. import disk
from ..errors import TreeError
from .question import Answer, Question
from .tree import Tree
from .treelayout import Place, lay_out

FIGURES = (".png", ".pdf", ".svg")

# inches
LETTER = 0.064  # mean width of a letter at SIZE
SIZE = 7.5  # points
LINE = 0.135  # from line to line
CELL = 0.62  # least width of an answer
GAP = 0.3  # between boxes of a layer
FALL = 0.52  # between layers, where the ways run
MARGIN = 0.25
Floats = NDArray[np.float64]
INK, PALE, RULE = "#22272e", "#ffffff", "#aab4c0"


def save(tree: Tree, path: str | Path, dpi: int = 150) -> None:
    """Draw ``tree`` into a file whose suffix is the format: .png, .pdf or .svg; whole or not at all.

    Raises :class:`~tuningfork.errors.TreeError`, before anything is drawn, for another suffix or none.
    """
    suffix = Path(path).suffix
    if suffix.lower() not in FIGURES:
        wrong = f"'{suffix}' is no format of a figure" if suffix else "it has no suffix, which is the format"
        raise TreeError(
            f"cannot draw the tree into '{path}': {wrong}; "
            f"give a name that ends in {', '.join(FIGURES[:-1])} or {FIGURES[-1]}"
        )
    figure = draw(tree)
    with disk.atomic(path) as part:
        figure.savefig(part, dpi=dpi)


def draw(tree: Tree) -> Figure:
    """The tree as a figure of its own natural size (GZ2: about 7 x 13 inches), to be read at 7.5 points.

    A question stands below all that lead to it. Its colour tells its depth, and a way has the colour of the question
    that it leads to; ways to one question join. An answer that ends the classification has a dot under it.
    """
    return _draw_attributes(tree) if tree.kind == "attributes" else _draw_votes(tree)


def _cells(question: Question) -> list[tuple[Answer, str, float]]:
    """Each answer with its label, wrapped, and the width of its cell."""
    cells = []
    for answer in question.answers:
        label = textwrap.fill(answer.text or answer.name.replace("_", " "), 11, break_long_words=False)
        longest = max(len(line) for line in label.splitlines())
        cells.append((answer, label, max(CELL, longest * LETTER + 0.16)))
    return cells


def _head(question: Question, width: float) -> str:
    """The question's text over as few lines as the width allows, and these about equally long."""
    most = max(34, int(width / LETTER) - 4)
    lines = len(textwrap.wrap(question.text, most, break_on_hyphens=False))
    narrow = next(n for n in range(1, most + 1) if len(_wrapped(question.text, n)) <= lines or n == most)
    return "\n".join(_wrapped(question.text, narrow))


def _wrapped(text: str, most: int) -> list[str]:
    return textwrap.wrap(text, most, break_on_hyphens=False, break_long_words=False)


def _width(question: Question) -> float:
    cells = sum(width for _, _, width in _cells(question))
    lines = [question.name + "  ", *_head(question, cells).splitlines()]
    return max(cells, max(len(line) for line in lines) * LETTER * 1.08 + 0.25)


def _heights(question: Question) -> tuple[float, float]:
    """Of the heading and of the answers."""
    text = _head(question, sum(width for _, _, width in _cells(question)))
    head = (1 + len(text.splitlines())) * LINE + 0.14
    return head, max(len(label.splitlines()) for _, label, _ in _cells(question)) * LINE + 0.13


def _draw_votes(tree: Tree) -> Figure:
    widths = {question.name: _width(question) for question in tree.questions}
    layers = lay_out(tree.questions, tree.order, widths, GAP)
    places = [place for layer in layers for place in layer]
    left = min(place.x - place.width / 2 for place in places) - MARGIN
    right = max(place.x + place.width / 2 for place in places) + MARGIN
    tall = [max(sum(_heights(tree.question(p.question))) for p in layer if not p.lane) for layer in layers]
    lines = _subtitle(tree, right - left - 2 * MARGIN)
    tops = -0.6 - LINE * len(lines) - np.concatenate([[0.0], np.cumsum(np.array(tall) + FALL)[:-1]])
    bottom = tops[-1] - tall[-1] - 0.55
    figure, axes = _canvas(left, right, bottom)
    shades = colormaps["viridis"](np.linspace(0.12, 0.82, len(layers)))
    depth = {place.question: place.layer for place in places if not place.lane}
    for place in places:
        top = float(tops[place.layer])
        if place.lane:
            colour = to_hex(shades[depth[place.question]])
            axes.plot([place.x] * 2, [top, top - tall[place.layer]], color=colour, lw=1.3, zorder=1)
            _way(axes, place, place.below[0][0], top - tall[place.layer], tops, colour)
            continue
        _box(axes, tree.question(place.question), place, top, to_hex(shades[place.layer]))
        _ways(axes, tree.question(place.question), place, top, tops, [to_hex(s) for s in shades], depth)
    _title(axes, tree, left, lines)
    axes.plot(left + MARGIN + 0.05, bottom + 0.14, "o", ms=3.2, color=INK)
    axes.text(left + MARGIN + 0.15, bottom + 0.14, "the classification ends", size=SIZE, va="center", color=INK)
    return figure


def _canvas(left: float, right: float, bottom: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(right - left, -bottom), facecolor=PALE)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(left, right), ylim=(bottom, 0))
    axes.set_axis_off()
    return figure, axes


def _title(axes: Axes, tree: Tree, left: float, lines: list[str]) -> None:
    axes.text(left + MARGIN, -0.2, tree.title or tree.name, size=13, weight="bold", va="top", color=INK)
    axes.text(left + MARGIN, -0.45, "\n".join(lines), size=SIZE, va="top", color=INK, linespacing=1.3)


def _subtitle(tree: Tree, room: float) -> list[str]:
    """How much there is and who made it, wrapped to ``room`` inches."""
    many = len(tree.questions)
    what = f"{many} attributes" if tree.kind == "attributes" else f"{tree.n_answers} answers"
    if tree.kind == "votes":
        what = f"{many} question{'s' * (many > 1)}, {what}"
    return _wrapped(f"{what}.  {tree.citation}", int(room / LETTER))


def _box(axes: Axes, question: Question, place: Place, top: float, colour: str) -> None:
    """Heading on its colour, answers below on white, in one frame."""
    head, tail = _heights(question)
    x = place.x - place.width / 2
    axes.add_patch(Rectangle((x, top - head), place.width, head, fc=colour, ec="none", zorder=3))
    axes.add_patch(Rectangle((x, top - head - tail), place.width, tail, fc=PALE, ec="none", zorder=3))
    frame = FancyBboxPatch(
        (x, top - head - tail),
        place.width,
        head + tail,
        boxstyle="square,pad=0",
        fc="none",
        ec=colour,
        lw=1.2,
        zorder=5,
    )
    axes.add_patch(frame)
    cells = _cells(question)
    text = _head(question, sum(width for _, _, width in cells))
    bright = PALE if _luminance(colour) < 0.55 else INK
    middle = place.x
    axes.text(
        middle, top - 0.07, question.name, size=SIZE, weight="bold", color=bright, ha="center", va="top", zorder=6
    )
    axes.text(
        middle, top - 0.07 - LINE, text, size=SIZE, color=bright, ha="center", va="top", zorder=6, linespacing=1.25
    )
    for number, (x, (_, label, width)) in enumerate(zip(_centres(question, place), cells, strict=True)):
        axes.text(x, top - head - tail / 2, label, size=SIZE, color=INK, ha="center", va="center", zorder=6)
        if number:
            edge = x - _stretch(question, place) * width / 2
            axes.plot([edge, edge], [top - head, top - head - tail], color=RULE, lw=0.7, zorder=4)


def _luminance(colour: str) -> float:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _stretch(question: Question, place: Place) -> float:
    return place.width / sum(width for _, _, width in _cells(question))


def _centres(question: Question, place: Place) -> list[float]:
    """The middle of each answer's cell."""
    widths = np.array([width for _, _, width in _cells(question)]) * _stretch(question, place)
    return (place.x - place.width / 2 + np.cumsum(widths) - widths / 2).tolist()


def _ways(
    axes: Axes,
    question: Question,
    place: Place,
    top: float,
    tops: Floats,
    shades: list[str],
    depth: dict[str, int],
) -> None:
    """Under the answers: a dot, or the way to the next question, in common for neighbours that lead to one."""
    low = top - sum(_heights(question))
    centres = _centres(question, place)
    pairs = list(zip(question.answers, centres, strict=True))
    for name, run in groupby(pairs, key=lambda pair: pair[0].next):
        xs = [x for _, x in run]
        if not name:
            axes.plot(xs, [low - 0.09] * len(xs), "o", ms=3.2, color=INK, zorder=4)
            continue
        colour = shades[depth[name]]
        (after,) = [one for one, _ in place.below if one.question == name]
        start = low
        if len(xs) > 1:
            for x in xs:
                axes.plot([x, x], [low, low - 0.1], color=colour, lw=1.3, zorder=2, solid_capstyle="round")
            axes.plot([xs[0], xs[-1]], [low - 0.1] * 2, color=colour, lw=1.3, zorder=2, solid_capstyle="round")
            start = low - 0.1
        _way(axes, Place(name, place.layer, 0, True, float(np.mean([xs[0], xs[-1]]))), after, start, tops, colour)


def _way(axes: Axes, here: Place, there: Place, start: float, tops: Floats, colour: str) -> None:
    """A curve from ``here`` down to the top of ``there``, with an arrowhead where a question begins."""
    end = float(tops[there.layer])
    bend = (start - end) * 0.55
    points = [(here.x, start), (here.x, start - bend), (there.x, end + bend), (there.x, end)]
    codes = [Outline.MOVETO, Outline.CURVE4, Outline.CURVE4, Outline.CURVE4]
    style = "-" if there.lane else "-|>"
    way = FancyArrowPatch(
        path=Outline(points, codes), arrowstyle=style, mutation_scale=8, color=colour, fc=colour, lw=1.3, zorder=2
    )
    way.set_gid(f"to {there.question}" + " (passing)" * there.lane)  # stays as an id in an SVG
    axes.add_patch(way)


def _draw_attributes(tree: Tree) -> Figure:
    """A row per attribute: its name, its scale as a bar, and what it measures."""
    name = max(len(question.name) for question in tree.questions) * LETTER * 1.1 + 0.3
    text = max(len(question.text) for question in tree.questions) * LETTER * 0.85 + 0.3
    figure, axes = _canvas(0.0, MARGIN * 2 + name + 2.2 + text, -(1.0 + 0.26 * len(tree.questions)))
    _title(axes, tree, 0.0, _subtitle(tree, 6.0))
    for number, one in enumerate(tree.questions):
        y = -0.95 - 0.26 * number
        bar = MARGIN + name + 0.25
        axes.text(MARGIN, y, one.name, size=SIZE, weight="bold", va="center", color=INK)
        axes.plot([bar, bar + 1.3], [y, y], color="#3b6f8f", lw=4, solid_capstyle="butt")
        axes.text(bar - 0.06, y, f"{one.low:g}", size=SIZE, va="center", ha="right", color=INK)
        axes.text(bar + 1.36, y, f"{one.high:g}", size=SIZE, va="center", color=INK)
        note = "" if one.undefined is None else f"  ({one.undefined:g} = undefined)"
        axes.text(bar + 1.75, y, one.text + note, size=SIZE, va="center", color=INK)
    return figure
