"""The page of explain: pieces that parts give, figures as the page needs them, verdicts in words, and its sections."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import matplotlib
from matplotlib.figure import Figure as Drawing

from .. import __version__
from ..evaluate.plots import _picture
from ..evaluate.report import Block, Details, Facts, Figure, Page, Section, Table, Text
from ..galaxy.cutout import Rejected
from ..predict.inwords import tell
from .checks import Deletion, Randomisation
from .explaincase import EFFORTS, Case, Seen

WIDTH = 10.2  # inches of a figure that fills the page
SHARP = 110  # dots per inch at which pictures inside figures are kept
BELIEVED, DOUBTED, REFUSED = "yes", "with caution", "no"
LEAST = 0.05  # of its scale: an answer that the galaxy lifts less above that of the empty sky has nothing to be shown


@dataclass(frozen=True, eq=False)
class Sketch:
    """A figure of matplotlib with its caption, which is also what it says to those who cannot see it."""

    drawn: Drawing
    caption: str

    def block(self) -> Figure:
        """The figure as the page takes it: lines as lines, pictures at :data:`SHARP`."""
        with matplotlib.rc_context({"savefig.dpi": SHARP}):
            return Figure(_picture(self.drawn, self.caption), self.caption)


Shown = Block | Sketch


@dataclass(frozen=True)
class Piece:
    """What a part gives: blocks for the page, with its figures, and the same in numbers, as JSON takes them."""

    blocks: tuple[Shown, ...]
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def sketches(self) -> list[Sketch]:
        """The figures among the blocks."""
        return [one for one in self.blocks if isinstance(one, Sketch)]

    def for_page(self) -> list[Block]:
        """The blocks, figures drawn."""
        return [one.block() if isinstance(one, Sketch) else one for one in self.blocks]


def heading(title: str) -> Text:
    """The heading of a part."""
    return Text(title, "h3")


def verdict(random: Randomisation, removed: Deletion) -> tuple[str, str]:
    """Whether a map can be believed ("yes", "with caution", "no"), and why, in a sentence."""
    how, beats = float(random.correlation[-1]), removed.beats
    if not random.passed:
        why = (
            f"A network with shuffled weights gives nearly the same map (rank correlation {how:z.2f}): it shows the "
            "picture, not what was learnt."
        )
        return REFUSED, why
    forgets = f"It changes when the weights are shuffled (rank correlation {how:z.2f})"
    n = len(removed.others) - 1
    if not removed.passed:
        why = (
            f"{forgets}, but what it marks matters hardly more than other places: it beats {beats:.0%} of {n} of them."
        )
        return DOUBTED, why
    if removed.reach < LEAST:
        why = (
            f"{forgets}, but the empty sky has the same answer, or more of it ({removed.deleted[0]:.2f} with the "
            f"galaxy, {removed.deleted[-1]:.2f} without): no map can show what makes it."
        )
        return DOUBTED, why
    if not removed.falls:
        why = (
            f"{forgets}, and what it marks matters more than {beats:.0%} of {n} other places, but the answer stands "
            "when half of the pixels are gone by it."
        )
        return DOUBTED, why
    bright = "" if removed.beats_brightness else " Taking the brightest pixels does as well, though."
    return BELIEVED, f"{forgets}, and what it marks matters more than {beats:.0%} of {n} other places.{bright}"


def page(
    case: Case,
    model: Sequence[Block],
    galaxies: Sequence[tuple[Seen, Sequence[Block]]],
    units: Sequence[Block],
    rejected: Sequence[Rejected],
    account: str,
    notes: Sequence[str],
    seconds: Mapping[str, float],
    words: Sequence[str],
) -> Page:
    """The whole: the model, each galaxy, what holds for many galaxies, and how the page was made."""
    sections = [Section("model", f"The model {case.card.name}", tuple(model))] if model else []
    for number, (one, blocks) in enumerate(galaxies, 1):
        sections.append(Section(f"galaxy-{number}", f"Galaxy {one.id}", tuple(blocks)))
    if units:
        sections.append(Section("units", "What the network has learnt to see", tuple(units)))
    if rejected:
        sections.append(_rejected(rejected))
    sections.append(_made(case, seconds, words))
    told = [f"{one.id}: {tell(case.head, one.said)}" for one, _ in galaxies[:6]]
    more = [f"and {len(galaxies) - 6} more galaxies below"] if len(galaxies) > 6 else []
    names = galaxies[0][0].id if len(galaxies) == 1 else f"{len(galaxies)} galaxies"
    return Page(
        title=f"Why does {case.card.name} say so?",
        subtitle=f"The model {case.card.name} explained by {names}",
        summary=(*told, *more, account),
        sections=tuple(sections),
        warnings=tuple(notes),
        footer=f"Made by tuningfork {__version__}. Every picture and style is inside this file; it loads nothing.",
    )


def _rejected(rejected: Sequence[Rejected]) -> Section:
    rows = tuple((one.id, str(one.reason), one.detail) for one in rejected[:200])
    caption = f"The first 200 of {len(rejected):,}." if len(rejected) > 200 else ""
    table = Table(("galaxy", "reason", "what was found"), rows, caption, words=True)
    return Section("rejected", "Rejected galaxies", (Text("These could not be looked at."), table))


def _made(case: Case, seconds: Mapping[str, float], words: Sequence[str]) -> Section:
    effort = case.effort
    thorough = effort is EFFORTS["thorough"]
    steps = (
        f"{effort.stages} stage{'s' if effort.stages > 1 else ''} of shuffled weights; {effort.removals} steps of "
        f"deletion against {effort.displaced} displaced maps; dreams of {effort.octaves} octaves and {effort.dreamt} "
        f"steps; pictures from noise in {effort.ascended} steps"
    )
    quick = (
        ""
        if thorough
        else " Occlusion by windows side by side. This is the quick look: --thorough takes more steps, and minutes."
    )
    facts = (
        ("command", shlex.join(words)),
        ("made by", f"tuningfork {__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        ("weights (SHA-256)", case.card.digest),
        ("compared with", f"{len(case.ids):,} galaxies, seed {case.seed}" if case.compared else "no other galaxies"),
        ("layers", ", ".join(f"{one.name} ({one.number})" for one in case.layers) or "none with places"),
    )
    total = sum(seconds.values()) or 1.0
    rows = tuple((name, value, value / total) for name, value in seconds.items())
    table = Table(("part", "seconds", "share"), rows, "Where the time went.")
    return Section(
        "made", "How this page was made", (Text(steps[0].upper() + steps[1:] + "." + quick), Facts(facts), table)
    )


def card_piece(case: Case) -> Piece:
    """What the model is: its answers, what it sees, how good it is and where it fails."""
    card = case.card
    measured = [_measured(one) for one in card.measured]
    pairs = [
        ("notes", card.notes),
        ("answers", ", ".join(card.names[:12]) + (f" and {len(card.names) - 12} more" if len(card.names) > 12 else "")),
        ("tree", card.tree),
        ("sees", f"{', '.join(card.bands)}; {card.size} x {card.size} pixels; {_frame(case)}"),
        ("network", f"{card.backbone}, {card.parameters:,} weights"),
        ("measured", measured[0] if measured else ""),
    ]
    blocks: list[Block] = [Facts(tuple((key, value) for key, value in pairs if value))]
    if card.fails:
        blocks.append(
            Details(
                f"Where it fails: {len(card.fails)} known limit{'s' if len(card.fails) > 1 else ''}",
                "\n\n".join(card.fails),
            )
        )
    if len(measured) > 1:
        blocks.append(Details(f"All {len(measured)} figures that were measured", "\n".join(measured)))
    return Piece(tuple(blocks), {"name": card.name, "head": card.head, "answers": list(card.names)})


def _frame(case: Case) -> str:
    if case.display.petrosian:
        return f"a square of {case.display.petrosian:g} Petrosian radii about the galaxy"
    if case.display.crop:
        return f"the central {case.display.crop:g} pixels"
    return "the whole shorter side"


def _measured(entry: Mapping[str, Any]) -> str:
    bounds = f" ({entry['low']:.3g} to {entry['high']:.3g})" if "low" in entry else ""
    return f"{entry['what']} {entry['value']:.3g}{bounds} on {entry['on']}"
