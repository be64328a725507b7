"""The report's page: sections of text, tables, figures and galleries, rendered to one self-contained HTML file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from .bootstrap import NO_GALAXIES, Estimate, Floats
from .gallery import Exhibit
from .plots import Picture

Cell = str | int | float | Estimate | None


@dataclass(frozen=True)
class Text:
    """A paragraph; ``kind`` is "p", "note" (small print), "warning" or "h3" (a heading)."""

    text: str
    kind: str = "p"


@dataclass(frozen=True)
class Table:
    """A table: the first column holds names, the others numbers, unless ``words`` says that they are words as well."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    words: bool = False


@dataclass(frozen=True)
class Facts:
    """Terms with what they are, in two columns."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Links:
    """Pages that lie beside this one: (file name, title) each."""

    pages: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Details:
    """A long text, spaced as it is, folded away under its title until somebody opens it."""

    title: str
    text: str


@dataclass(frozen=True, eq=False)
class Confusion:
    """Counts (K, K) of true (rows) and guessed (columns) classes; the page shows them with their rates, shaded."""

    names: tuple[str, ...]
    counts: Floats

    @property
    def given(self) -> list[int]:
        """How many galaxies were given to each class: the sums of the columns."""
        return [int(total) for total in self.counts.sum(0)]

    @property
    def cells(self) -> list[list[tuple[int, str, str]]]:
        """Per row of the truth: (count, rate of the row as text, style of the cell)."""
        rates = self.counts / np.maximum(self.counts.sum(1, keepdims=True), 1)
        return [
            [
                (int(count), f"{rate:.2f}" if total else "–", _shade(rate, row == column))
                for column, (count, rate) in enumerate(zip(counts, line, strict=True))
            ]
            for row, (counts, line, total) in enumerate(zip(self.counts, rates, self.counts.sum(1), strict=True))
        ]


@dataclass(frozen=True)
class Figure:
    """A picture with its caption."""

    picture: Picture
    caption: str


@dataclass(frozen=True)
class Wall:
    """A gallery: pictures of galaxies side by side."""

    title: str
    text: str
    exhibits: tuple[Exhibit, ...]


Block = Text | Table | Facts | Links | Details | Confusion | Figure | Wall


@dataclass(frozen=True)
class Section:
    """One section of the page, with the anchor that the table of contents points to."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """The whole report."""

    title: str
    subtitle: str
    summary: tuple[str, ...]
    sections: tuple[Section, ...]
    footer: str = ""
    warnings: tuple[str, ...] = field(default=())


def _shade(rate: float, diagonal: bool) -> str:
    """White to blue on the diagonal, white to orange off it; the text turns white where the ground is dark."""
    deep = np.array([11, 83, 148]) if diagonal else np.array([191, 87, 0])
    red, green, blue = (np.array([246, 248, 250]) * (1 - rate) + deep * rate).round().astype(int)
    return f"background: rgb({red} {green} {blue}); color: {'#fff' if rate > 0.5 else '#1f2933'}"


def cell(value: Cell, digits: int = 3) -> Markup:
    """How a table shows a value: escaped, numbers with their interval in grey, absent ones in words."""
    if isinstance(value, Estimate):
        text = value.text(digits)
        if text == NO_GALAXIES:
            return Markup('<span class="none">{}</span>').format(text)
        number, _, interval = text.partition(" ")
        return Markup('{} <span class="interval">{}</span>').format(number, interval)
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return Markup('<span class="none">{}</span>').format("–" if value is None else NO_GALAXIES)
    if isinstance(value, float):
        return Markup("{}").format(f"{value:z.{digits}f}")
    return Markup("{}").format(f"{value:,}" if isinstance(value, int) else value)


def render(page: Page) -> str:
    """The page as HTML: every text escaped, styles and pictures inside, nothing that a browser would fetch or run."""
    folder = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = cell
    environment.filters["kind"] = lambda block: type(block).__name__
    style = Markup((folder / "report.css").read_text(encoding="utf-8"))
    return environment.get_template("report.html").render(page=page, style=style)
