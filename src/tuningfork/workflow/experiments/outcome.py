"""What came out of an experiment: the author's figure beside ours, as rows of one table, at rest as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ... import disk
from ...evaluate.bootstrap import Estimate

RESULT = "outcome.json"
COLUMNS = ("experiment", "what", "data", "author", "ours", "galaxies", "images seen", "wall time")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One row of the table: a figure of ours beside the author's."""

    what: str  # "CNN, accuracy"
    data: str  # on which galaxies: "gz1, real", "simulated sky"
    ours: Estimate
    galaxies: int  # that it was judged on
    published: str = ""  # the author's figure; "" = none was reported
    images: float = 0.0  # pictures that its training saw, repeats counted
    note: str = ""
    digits: int = 3


@dataclasses.dataclass(frozen=True)
class Outcome:
    """All of an experiment. ``images`` are the author's (0 = not known); ``pages`` are files beside the report."""

    name: str
    title: str
    size: str
    author: str
    findings: tuple[Finding, ...]
    seconds: dict[str, float]
    images: float = 0.0
    images_from: str = ""
    notes: tuple[str, ...] = ()
    pages: tuple[str, ...] = ()
    path: str = ""  # the report

    @property
    def wall(self) -> float:
        """Seconds that all of it took, pauses left out."""
        return sum(self.seconds.values())

    def text(self) -> str:
        """A few lines for people."""
        lines = [f"{self.name} ({self.size}): {self.title}"]
        for one in self.findings:
            theirs = f" (author: {one.published})" if one.published else ""
            lines.append(f"  {one.what}: {one.ours.text(one.digits)} on {one.galaxies:,} galaxies, {one.data}{theirs}")
        told = [*(one.note for one in self.findings if one.note), *self.notes]
        lines += [f"  note: {note}" for note in dict.fromkeys(told)]
        return "\n".join([*lines, f"{minutes(self.wall)}; report: {self.path}"])

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values for JSON: what is not a number is None."""
        mapping = dataclasses.asdict(self)
        for row, one in zip(mapping["findings"], self.findings, strict=True):
            row["ours"] = one.ours.as_dict()
        return mapping

    def save(self, folder: Path) -> None:
        """Write it into the experiment's folder."""
        disk.write_json(folder / RESULT, self.as_dict())

    @classmethod
    def load(cls, folder: Path) -> Outcome:
        """Read what :meth:`save` wrote."""
        values = disk.read_json(folder / RESULT)
        findings = tuple(Finding(**{**row, "ours": _estimate(row["ours"])}) for row in values["findings"])
        listed = {key: tuple(values[key]) for key in ("notes", "pages")}
        return cls(**{**values, **listed, "findings": findings})


def _estimate(numbers: dict[str, float | None]) -> Estimate:
    return Estimate(**{key: float("nan") if value is None else value for key, value in numbers.items()})


def minutes(seconds: float) -> str:
    """``4.2 min``, or ``31 s`` below a minute and a half, or ``10.5 h`` above two hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def share_seen(images: float, theirs: float) -> str:
    """Images seen, and as a share of the author's: ``24,000 (0.4%)``."""
    if not images:
        return "–"
    told = f"{images:,.0f}" if images < 1e6 else f"{images / 1e6:,.1f} million"
    return f"{told} ({_percent(images / theirs)})" if theirs else f"{told} (author's not known)"


def _percent(share: float) -> str:
    return f"{100 * share:.2g}%" if share < 0.995 else f"{100 * share:.0f}%"


def rows_of(outcome: Outcome) -> list[tuple[str, ...]]:
    """The rows of :data:`COLUMNS` of one experiment: name and wall time stand in its first row alone."""
    rows: list[tuple[str, ...]] = []
    for number, one in enumerate(outcome.findings):
        rows.append(
            (
                "" if number else outcome.name,
                one.what,
                one.data,
                one.published or "not reported",
                one.ours.text(one.digits),
                f"{one.galaxies:,}",
                share_seen(one.images, outcome.images),
                "" if number else minutes(outcome.wall),
            )
        )
    return rows


def markdown(outcomes: Sequence[Outcome]) -> str:
    """One table of all experiments, as Markdown, and what its footnotes say."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    notes: list[str] = []
    for outcome in outcomes:
        for one, row in zip(outcome.findings, rows_of(outcome), strict=True):
            cells = [cell.replace("|", "\\|") for cell in row]
            if one.note:
                notes += [] if one.note in notes else [one.note]
                cells[4] += f" [{notes.index(one.note) + 1}]"
            lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"[{number}] {note}  " for number, note in enumerate(notes, 1))]
    total = sum(one.wall for one in outcomes)
    return "\n".join([*lines, "", f"All of it: {minutes(total)}.", ""])
