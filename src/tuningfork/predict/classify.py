"""Classify pictures of any scale: find the galaxy, frame it as the models' cards say, ask them all; constant memory.

What comes before the network is :mod:`~tuningfork.galaxy.frame` and :mod:`~tuningfork.galaxy.display`: no path of its
own. Models that share an encoder share its work.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__, disk
from ..errors import BadCatalog, BadImage, Reason, RecipeError, Stopped
from ..galaxy.cutout import Record, Rejected
from ..galaxy.frame import SourceFound, find_source
from ..galaxy.source import open_sources
from .ahead import ahead
from .answers import Galaxy, Head
from .answertable import AnswerTable, check_table
from .eyes import Eye, open_eyes
from .inwords import block, line
from .sight import Portrait, Sight, portrait, seen_as
from .views import chosen_views

Progress = Callable[[int, int, str], None]
BATCH = 32  # galaxies per call of the network
KEPT = 1000  # galaxies that a classification keeps and tells of; all are rows of the table
MOST_BLOCKS = 10  # galaxies that are told of at length; more have a line each


@dataclass(frozen=True)
class Classification:
    """What was found: ``galaxies`` in the order they came (the first :data:`KEPT`), ``n_in = n_done + n_rejected``.

    ``portraits`` holds, by id, the pictures of as many galaxies as were asked for.
    """

    galaxies: tuple[Galaxy, ...]
    heads: tuple[Head, ...]
    n_in: int
    n_done: int
    n_rejected: int
    seconds: float
    engine: str
    out: str = ""
    notes: tuple[str, ...] = ()
    reasons: dict[str, int] = field(default_factory=dict)
    portraits: dict[str, Portrait] = field(default_factory=dict, repr=False)

    def text(self) -> str:
        """For people: a block per galaxy, of more than ten a line each; then the account of all."""
        width = max((len(one.id) for one in self.galaxies), default=0)
        if self.n_in > MOST_BLOCKS:
            lines = [line(one, self.heads, width) for one in self.galaxies]
        else:
            lines = [f"{block(one, self.heads)}\n" for one in self.galaxies]
        if self.n_in > len(self.galaxies):
            where = f"all are in '{self.out}'" if self.out else "--out FILE writes all"
            lines.append(f"... and {self.n_in - len(self.galaxies):,} more: {where}")
        lines.append(f"{self.n_in:,} galaxies in = {self.n_done:,} done + {self.n_rejected:,} rejected")
        lines += [f"  rejected for {reason}: {n:,}" for reason, n in sorted(self.reasons.items())]
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join([*lines, *([f"table: {self.out}"] if self.out else [])])

    def as_json(self) -> dict[str, Any]:
        """For programs: the galaxies with their answers, then the account."""
        account = {key: value for key, value in vars(self).items() if key not in ("galaxies", "heads", "portraits")}
        models = {head.name: {"head": head.kind, "tree": head.tree.name if head.tree else ""} for head in self.heads}
        return {"galaxies": [one.as_json() for one in self.galaxies], "models": models, **account}


@dataclass(frozen=True)
class _Batch:
    """Some galaxies in order; by eye, which of them it sees, and how: uint8 (n, bands, M, M)."""

    galaxies: list[Galaxy]
    seen: list[list[int]]
    images: list[list[NDArray[np.uint8]]]
    portraits: dict[str, Portrait]
    notes: list[str]


def classify(
    sources: str | Path | Sequence[str | Path],
    models: str | Path | Sequence[str | Path] | None = None,
    *,
    views: int = 1,
    resize: bool = True,
    bands: tuple[str, ...] | None = None,
    out: str | Path | None = None,
    portraits: int = 0,
    engine: str = "auto",
    threads: int = 0,
    progress: Progress | None = None,
) -> Classification:
    """Say what the galaxies in some pictures are.

    Args:
        sources: files (JPEG, PNG, FITS ...), folders of them, stores: whatever
            :func:`~tuningfork.galaxy.source.open_source` opens. Ids differ over all of them.
        models: names of shipped models; folders of a model, of several, or of a run. None: all that are shipped.
        views: average over 1, 2, 4, 8 or 60 turned and mirrored views, as in ``predict``.
        resize: where a card frames galaxies by their Petrosian radius, do so; False shows the whole shorter side.
        bands: names of the source's bands, where its files do not tell.
        out: a table of all answers (:class:`~tuningfork.predict.answertable.AnswerTable`).
        portraits: keep the pictures of so many galaxies, the first that are done, for a figure.

    A galaxy is rejected for MISSING_BAND where no model has its bands (one that only some can see has the answers of
    these), and for NO_SOURCE or TRUNCATED_SOURCE where a model frames its source; without ``resize`` none does.

    Raises :class:`BadWeights` where there is no model, :class:`BadStore` where there are no galaxies,
    :class:`DuplicateIds`, :class:`RecipeError`, and :class:`Stopped` upon SIGTERM.
    """
    began = time.monotonic()
    if threads < 0:
        raise RecipeError(f"--threads is {threads}; it must be 0 or more")
    if out is not None:
        check_table(out)
    cores = threads or len(os.sched_getaffinity(0))
    opened = open_sources(sources, bands, "classify")
    named = [models] if isinstance(models, (str, Path)) else models
    eyes = open_eyes(named, chosen_views(views), resize, engine, threads)
    heads = tuple(head for eye in eyes for head in eye.heads)
    account = _Account(sum(len(one) for one in opened), progress)
    told = {"views": views, "resize": resize, "models": [head.name for head in heads], "version": __version__}
    table = AnswerTable(out, heads, told, any(eye.strangeness for eye in eyes)) if out is not None else None
    records = chain.from_iterable(one.records() for one in opened)
    work = _Work(eyes, portraits)
    with table or nullcontext(), ThreadPoolExecutor(cores) as pool, disk.stop_on_sigterm() as asked:
        for batch in ahead(pool, work.look, records, BATCH, 2 * cores + 1):
            galaxies, values = work.answer(batch)
            if table is not None:
                table.write(galaxies, values)
            work.portraits = portraits - account.add(galaxies, batch, work.portraits)
            if asked.is_set():
                raise Stopped("classify was stopped, and nothing is written; run the same command again")
    return account.close(heads, time.monotonic() - began, eyes[0].engines.name, str(out or ""))


class _Work:
    """What is done with a batch of galaxies: looked at in threads, then answered."""

    def __init__(self, eyes: Sequence[Eye], portraits: int) -> None:
        self.eyes = eyes
        self.portraits = portraits  # that are still wanted

    def look(self, chunk: list[Record | Rejected]) -> _Batch:
        """Decode, find and render some galaxies; a bad one becomes its reason."""
        batch = _Batch([], [[] for _ in self.eyes], [[] for _ in self.eyes], {}, [])
        for record in chunk:
            try:
                if isinstance(record, Rejected):
                    raise BadImage(record.reason, record.detail)
                batch.galaxies.append(self._looked(record, batch))
            except BadImage as bad:
                batch.galaxies.append(Galaxy(record.id, reason=str(bad.reason), detail=bad.detail))
        return batch

    def _looked(self, record: Record, batch: _Batch) -> Galaxy:
        cutout = record.cutout()
        known: list[tuple[int, Sight]] = []
        for k, eye in enumerate(self.eyes):
            try:
                known.append((k, seen_as(record, cutout, eye.bands)))
            except BadImage:
                if not known and k == len(self.eyes) - 1:  # no model can see it
                    raise
        first, sight = known[0]
        source: SourceFound | None = None
        try:
            source = find_source(sight.cutout.pixels)
        except BadImage:
            if any(self.eyes[k].display.petrosian for k, _ in known):
                raise
        images = [self.eyes[k].shown(record, one) for k, one in known]
        if len(batch.portraits) < self.portraits:
            batch.portraits[record.id] = portrait(record, sight, source, self.eyes[first].display)
        for (k, _), image in zip(known, images, strict=True):
            batch.seen[k].append(len(batch.galaxies))
            batch.images[k].append(image)
        batch.notes.extend(dict.fromkeys(one.note for _, one in known if one.note))
        galaxy = Galaxy(record.id, ra=cutout.ra, dec=cutout.dec)
        return galaxy if source is None else galaxy.at(sight.stored(source))

    def answer(self, batch: _Batch) -> tuple[list[Galaxy], dict[str, NDArray[np.float32]]]:
        """The galaxies with their answers; and by head the outputs (N, K), NaN where it gives none."""
        galaxies, values = list(batch.galaxies), dict[str, NDArray[np.float32]]()
        shares: dict[int, float] = {}  # by row: of the first encoder that tells
        for eye, rows, images in zip(self.eyes, batch.seen, batch.images, strict=True):
            made: list[NDArray[np.float32]] = [np.zeros((0, len(head.names)), np.float32) for head in eye.heads]
            if rows:
                made, typical = eye.answer(np.stack(images))
                if typical is not None:
                    shares |= {row: one for row, one in zip(rows, typical.tolist(), strict=True) if row not in shares}
            for head, numbers in zip(eye.heads, made, strict=True):
                whole = values[head.name] = np.full((len(galaxies), len(head.names)), np.nan, np.float32)
                whole[rows] = numbers
                for row in rows:
                    if np.isfinite(whole[row]).all():
                        galaxies[row].answers[head.name] = said = head.said(whole[row])
                        if head.has_sets:
                            galaxies[row].likely[head.name] = head.likely(said)
                    else:
                        detail = f"the network '{head.name}' answered with NaN or infinity"
                        galaxies[row] = Galaxy(galaxies[row].id, reason=str(Reason.NOT_FINITE), detail=detail)
        rejected = [row for row, galaxy in enumerate(galaxies) if galaxy.reason]
        for row in rejected:
            galaxies[row].answers.clear()
            galaxies[row].likely.clear()
            for whole in values.values():
                whole[row] = np.nan
        for row, one in shares.items():
            if row not in rejected:
                galaxies[row] = replace(galaxies[row], p_typical=one)
        return galaxies, values


class _Account:
    """Counts what became of the galaxies, and keeps the first."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total, self.progress, self.began = total, progress, time.monotonic()
        self.n, self.reasons, self.kept = 0, dict[str, int](), list[Galaxy]()
        self.portraits, self.notes = dict[str, Portrait](), dict[str, int]()

    def add(self, galaxies: Sequence[Galaxy], batch: _Batch, portraits: int) -> int:
        """One batch, answered; at most so many ``portraits`` of it are kept. Returns how many are now."""
        most = len(self.portraits) + portraits
        self.n += len(galaxies)
        self.kept += galaxies[: KEPT - len(self.kept)]
        for one in galaxies:
            if one.reason:
                self.reasons[one.reason] = self.reasons.get(one.reason, 0) + 1
            elif one.id in batch.portraits and len(self.portraits) < most:
                self.portraits[one.id] = batch.portraits[one.id]
        for note in batch.notes:
            self.notes[note] = self.notes.get(note, 0) + 1
        if self.progress:
            rate = self.n / max(time.monotonic() - self.began, 1e-9)
            self.progress(self.n, self.total, f"{rate:,.0f} galaxies/s, {sum(self.reasons.values())} rejected")
        return len(self.portraits)

    def close(self, heads: tuple[Head, ...], seconds: float, engine: str, out: str) -> Classification:
        """The whole, once every galaxy is accounted for."""
        if self.n != self.total:
            raise BadCatalog(f"{self.total} galaxies were asked for, {self.n} came")
        rejected = sum(self.reasons.values())
        notes = tuple(f"{n:,} of {self.n:,} galaxies: {note}" for note, n in self.notes.items())
        return Classification(
            tuple(self.kept), heads, self.total, self.n - rejected, rejected, seconds, engine, out, notes,
            self.reasons, self.portraits,
        )  # fmt: skip
