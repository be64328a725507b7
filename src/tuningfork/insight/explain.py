"""Explain a model: what it sees in galaxies and why it answers as it does, as one HTML page and as numbers.

The parts are in two tables, those of the model (:data:`~.explainmodel.OF_MODEL`) and of each galaxy
(:data:`~.explaingalaxy.OF_GALAXY`); each can be made alone.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import disk, recipe
from ..errors import BadImage, DiskError, MissingExtra, RecipeError
from ..evaluate.judge import plain
from ..evaluate.report import Text, render
from ..galaxy.cutout import Rejected
from ..galaxy.records import Source
from ..galaxy.source import open_sources
from ..predict.inwords import tell
from .contactsheet import save_figure
from .explaincase import (
    COMPARED,
    FEWEST,
    Case,
    Progress,
    Seen,
    choose,
    look,
    open_case,
    refuse_other_bands,
    see,
)
from .explaingalaxy import OF_GALAXY
from .explainmodel import OF_MODEL
from .explainpage import SHARP, Piece, page

PARTS = {name: what for table in (OF_MODEL, OF_GALAXY) for name, (what, *_) in table.items()}
_FIRST = ("card",)  # parts of the model that stand before the galaxies


@dataclass(frozen=True)
class Explanation:
    """What was made. ``n_in = n_done + n_rejected`` counts the galaxies looked at, of which ``ids`` were explained.

    ``numbers`` is nested, ready for JSON: "model", "galaxies" by id, and what holds for many of them. ``seconds`` by
    part, with those of opening ("open") and of looking at galaxies ("look"). ``rejected`` lists those that could not
    be looked at, ``path`` is the page, "" where none was asked for, ``figures`` the files of the figures.
    """

    model: str
    n_in: int
    n_done: int
    n_rejected: int
    ids: tuple[str, ...]
    rejected: tuple[Rejected, ...]
    parts: tuple[str, ...]
    numbers: dict[str, Any]
    seconds: dict[str, float]
    notes: tuple[str, ...] = ()
    lines: tuple[str, ...] = field(default=())
    path: str = ""
    figures: tuple[str, ...] = ()

    def text(self) -> str:
        """For people: what each galaxy is, whether its maps can be believed, and the account."""
        lines = list(self.lines)
        for name, one in self.numbers["galaxies"].items():
            for target, told in one.get("attribution", {}).items():
                found = ", ".join(f"{method} {each['believed']}" for method, each in told["maps"].items())
                lines.append(f"  {name}, {target}: can the maps be believed? {found}")
        lines.append(f"{self.n_in:,} galaxies in = {self.n_done:,} done + {self.n_rejected:,} rejected")
        lines += [f"  {one.id}: {one.reason}: {one.detail}" for one in self.rejected[:20]]
        lines += [f"note: {note}" for note in self.notes]
        if self.figures:
            lines.append(f"figures: {len(self.figures)} in {Path(self.figures[0]).parent}")
        return "\n".join([*lines, *([f"page: {self.path}"] if self.path else [])])

    def as_json(self) -> dict[str, Any]:
        """For programs: everything but the text."""
        told = {key: value for key, value in vars(self).items() if key not in ("lines", "rejected")}
        rejected = [{"id": one.id, "reason": str(one.reason), "detail": one.detail} for one in self.rejected]
        return dict(plain(told | {"rejected": rejected}))


def explain(
    model: str | Path,
    galaxies: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    *,
    figures: str | Path | None = None,
    parts: Sequence[str] = (),
    ids: Sequence[str] = (),
    n: int = 0,
    targets: Sequence[str] = (),
    methods: Sequence[str] = (),
    layers: Sequence[str | int] = (),
    compare: int = COMPARED,
    bands: tuple[str, ...] | None = None,
    thorough: bool = False,
    seed: int = 0,
    command: Sequence[str] = (),
    progress: Progress | None = None,
) -> Explanation:
    """Explain ``model`` by ``galaxies``, and write the page to ``out`` and each figure into ``figures``.

    Args:
        model: a shipped model's name, or the folder of a run or a model.
        galaxies: files (JPEG, PNG, FITS), folders, stores: what classify takes, framed as the card says.
        out: one HTML page; None: none. ``figures``: a folder for PNG files named by part and galaxy (:func:`_save`).
        parts: of :data:`PARTS`; none: all for which there are galaxies enough.
        ids: of the galaxies to explain; or ``n`` of them, the first. Neither: all single files (at most 12), or the
            first galaxy of a folder or store.
        targets: as :func:`~.targets.find_target`; ``methods`` of attribution; ``layers`` by name or number; else usual.
        compare: how many galaxies, drawn by ``seed``, those explained are compared with.
        bands: of files that do not tell. ``thorough``: more steps, see :data:`~.explaincase.EFFORTS`.
        command: what the page says it was made by.

    Bad galaxies are rejected. Parts that a model cannot have (a network without places) are left out with a note, or
    raise :class:`RecipeError` where named; so do names that do not exist. :class:`BandError`: no galaxy has its bands.
    """
    _check(parts, out, figures, n, compare)
    began = time.monotonic()
    opened = open_sources(galaxies, bands, "explain")
    chosen, among, note = choose(opened, ids, n, compare, seed)
    case = open_case(model, thorough=thorough, seed=seed, methods=methods, layers=layers, targets=targets)
    seconds = {"open": time.monotonic() - began}
    many = sum(map(len, opened)) >= FEWEST and len(among) >= FEWEST
    wanted = tuple(parts) or tuple(name for name in PARTS if many or not (name in OF_MODEL and OF_MODEL[name][2]))
    case, rejected, n_in = _looked(case, opened, chosen, among if many else [], seconds, progress)
    work = _Work(case, wanted, bool(parts), seconds, progress)
    of_model = {name: work.make(name, None) for name in OF_MODEL if name in wanted}
    of_galaxies = {one.id: {name: work.make(name, one) for name in OF_GALAXY if name in wanted} for one in case.seen}
    numbers = {"model": _merged(of_model), "galaxies": {one: _merged(some) for one, some in of_galaxies.items()}}
    saved = () if figures is None else _save(Path(figures), {"": of_model} | of_galaxies)
    done = Explanation(
        case.card.name, n_in, n_in - len(rejected), len(rejected), tuple(of_galaxies), tuple(rejected), wanted,
        plain(numbers), seconds, tuple(dict.fromkeys(filter(None, [note, *work.notes]))),
        tuple(f"{one.id}: {tell(case.head, one.said)}" for one in case.seen), str(out or ""), saved,
    )  # fmt: skip
    if out is not None:
        _write(done, case, of_model, of_galaxies, list(command) or ["tuningfork", "explain", str(model)])
    return done


def _merged(pieces: Mapping[str, Piece]) -> dict[str, Any]:
    return {key: value for piece in pieces.values() for key, value in piece.numbers.items()}


def _save(folder: Path, made: Mapping[str, Mapping[str, Piece]]) -> tuple[str, ...]:
    """Write the figures of parts, of the model ("") and of galaxies by id, as PNG files; their paths.

    They are called "filters.png", "attribution-ID.png", and a part's second figure "attribution2-ID.png"; an id that is
    no name for a file, or like another but for case, becomes :func:`~.disk.safe_name`.
    """
    counted = Counter(name.casefold() for name in made)
    written = []
    for galaxy, pieces in made.items():
        safe = not galaxy or (disk.is_plain(galaxy) and counted[galaxy.casefold()] == 1)
        tail = f"-{galaxy if safe else disk.safe_name(galaxy)}" if galaxy else ""
        for part, piece in pieces.items():
            for number, sketch in enumerate(piece.sketches, 1):
                path = folder / f"{part}{number if number > 1 else ''}{tail}.png"
                save_figure(sketch.drawn, path, SHARP)
                written.append(str(path))
    return tuple(written)


def _write(
    done: Explanation,
    case: Case,
    of_model: Mapping[str, Piece],
    of_galaxies: Mapping[str, Mapping[str, Piece]],
    words: Sequence[str],
) -> None:
    """The page of an explanation, at its path."""
    reasons = ", ".join(f"{k} {reason}" for reason, k in Counter(str(one.reason) for one in done.rejected).items())
    told = f"Galaxies: {done.n_in:,} looked at = {done.n_done:,} done + {done.n_rejected:,} rejected"
    account = told + (f" ({reasons})" if reasons else "")
    first = [block for name, piece in of_model.items() if name in _FIRST for block in piece.for_page()]
    later = [block for name, piece in of_model.items() if name not in _FIRST for block in piece.for_page()]
    shown = [(one, [b for piece in of_galaxies[one.id].values() for b in piece.for_page()]) for one in case.seen]
    made = page(case, first, shown, later, done.rejected, account, done.notes, done.seconds, words)
    disk.write_text(done.path, render(made))


def _check(parts: Sequence[str], out: str | Path | None, figures: str | Path | None, n: int, compare: int) -> None:
    """Refuse choices that cannot be before any work is done."""
    wrong = [one for one in parts if one not in PARTS]
    if wrong:
        raise RecipeError(
            f"explain has no part '{wrong[0]}'{recipe.nearest(wrong[0], list(PARTS))}; there are {', '.join(PARTS)}"
        )
    if n < 0 or compare < 0:
        raise RecipeError(f"n is {n} and compare {compare}: numbers of galaxies are 0 or more")
    if out is not None and Path(out).is_dir():
        raise DiskError(f"'{out}' is a folder: name the file of the page, for instance '{Path(out) / 'explain.html'}'")
    if figures is not None:
        disk.make_folder(figures)


def _looked(
    case: Case,
    opened: Sequence[Source],
    chosen: Sequence[str],
    among: Sequence[str],
    seconds: dict[str, float],
    progress: Progress | None,
) -> tuple[Case, list[Rejected], int]:
    """The case with its galaxies, those explained in the order asked for; the rejected; and how many were looked at."""
    began = time.monotonic()
    wanted = list(dict.fromkeys([*chosen, *among]))
    explained = {one: row for row, one in enumerate(chosen)}
    seen: list[Seen] = []
    kept: list[str] = []
    pixels: list[Any] = []
    rejected: list[Rejected] = []
    records = (record for source in opened for record in source.records([one for one in wanted if one in source]))
    for number, record in enumerate(records, 1):
        try:
            if record.id in explained:
                seen.append(see(case, record))
                image = seen[-1].pixels
            else:
                image = look(case, record)[0]
            kept.append(record.id)
            pixels.append(image)
        except BadImage as bad:
            rejected.append(Rejected(record.id, bad.reason, bad.detail, record.source))
        if progress is not None:
            progress(number, len(wanted), f"looked at, {len(rejected)} rejected")
    refuse_other_bands(rejected if len(rejected) == len(wanted) else [], opened[0].path)
    seen.sort(key=lambda one: explained[one.id])
    if not among or len(kept) < FEWEST:
        kept, pixels = [], []
    shape = (0, len(case.card.bands), case.card.size, case.card.size)
    seconds["look"] = time.monotonic() - began
    stacked = np.stack(pixels) if pixels else np.zeros(shape, np.uint8)
    return dataclasses.replace(case, seen=tuple(seen), ids=tuple(kept), pixels=stacked), rejected, len(wanted)


class _Work:
    """Makes parts, one after the other, with their seconds, and notes what had to be left out."""

    def __init__(
        self, case: Case, wanted: Sequence[str], strict: bool, seconds: dict[str, float], progress: Progress | None
    ) -> None:
        self.case, self.strict, self.seconds, self.progress = case, strict, seconds, progress
        self.made, self.total = 0, sum(len(case.seen) if name in OF_GALAXY else 1 for name in wanted)
        self.notes: list[str] = []

    def make(self, name: str, one: Seen | None) -> Piece:
        """One part, of the model, or of one galaxy."""
        began = time.monotonic()
        if self.progress is not None:
            self.progress(self.made, self.total, f"{name}{f' of {one.id}' if one else ''}")
        try:
            if one is not None:
                return OF_GALAXY[name][1](self.case, one)
            if OF_MODEL[name][2] and name != "visualise" and not self.case.compared:
                raise RecipeError(f"'{name}' takes a store of at least {FEWEST} galaxies, and compare as many")
            return OF_MODEL[name][1](self.case)
        except (RecipeError, MissingExtra) as error:
            if self.strict:
                raise
            self.notes.append(f"{name} is left out: {error}")
            return Piece((Text(f"{name} is left out: {error}.", "note"),))
        finally:
            self.made += 1
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began
