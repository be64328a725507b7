"""Predict: every galaxy of a source through one model or several, to a Votes file, in constant memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__, disk, recipe
from ..errors import BadCatalog, BadImage, BadWeights, BandError, Reason, RecipeError, Stopped
from ..galaxy.catalog import Catalog
from ..galaxy.cutout import Record, Rejected
from ..galaxy.display import Display, render_record
from ..galaxy.light import LIGHT
from ..galaxy.source import Source, open_source
from ..galaxy.tree import Tree
from ..galaxy.votes import VotesWriter
from ..model.card import Card, find_model
from .ahead import ahead
from .answers import Head, averaged, certain
from .engine import Engine, open_engine
from .views import chosen_views, margin, unmirror, view

Progress = Callable[[int, int, str], None]
FIRST = 5  # rejected galaxies that the summary names


@dataclass(frozen=True)
class Prediction:
    """What became of the galaxies: ``n_in = n_done + n_rejected`` holds by id."""

    path: str
    n_in: int
    n_done: int
    n_rejected: int
    seconds: float
    engine: str
    notes: tuple[str, ...] = ()
    reasons: dict[str, int] = field(default_factory=dict)
    rejected: tuple[Rejected, ...] = ()  # the first of them; all are rows of the votes

    def __str__(self) -> str:
        """The account as lines of text: what came in, what was done, what was rejected and why."""
        rate = self.n_in / max(self.seconds, 1e-9)
        account = f"{self.n_in:,} galaxies in = {self.n_done:,} done + {self.n_rejected:,} rejected"
        lines = [f"{account}: '{self.path}' ({rate:,.0f}/s with {self.engine})"]
        lines += [f"  rejected for {reason}: {n:,}" for reason, n in sorted(self.reasons.items())]
        lines += [f"    {one.id}: {one.reason} ({one.detail})" for one in self.rejected]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


@dataclass(frozen=True)
class _Model:
    card: Card
    engine: Engine
    display: Display


@dataclass(frozen=True)
class Batch:
    """Galaxies in the order of the source: ``images`` holds those of ``ids`` that are not in ``rejected``."""

    ids: list[str]
    positions: list[tuple[float | None, float | None]]
    images: list[NDArray[np.uint8]]  # one array (n done, bands, M, M) per display; M = S but for views that zoom
    rejected: list[Rejected]


def predict(
    source: str | Path | Source,
    model: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    ids: Sequence[str] | None = None,
    part: str | None = None,
    bands: tuple[str, ...] | None = None,
    views: int = 1,
    batch: int = 64,
    engine: str = "auto",
    threads: int = 0,
    progress: Progress | None = None,
) -> Prediction:
    """Predict the morphology of every galaxy of ``source`` and write them to the Votes file ``out``.

    Args:
        source: whatever :func:`~tuningfork.galaxy.source.open_source` opens: a store, a folder of pictures, a stack.
        model: the folder of a run or a model; several are an ensemble, whose answers are averaged.
        out: the Votes file (Parquet): one row per galaxy asked for, in the order of the source.
        ids: these galaxies only. ``part``: those that the model's run kept apart ("test", "validation", "train").
        bands: names of the source's bands, where its files do not tell.
        views: average over 1 image, 2 half turns, 4 quarter turns, 8 with mirror images, or 60 that turn and zoom
            (see :mod:`~tuningfork.predict.affine`).
        batch: galaxies per call of the network. ``threads``: for decoding and for the network; 0 = all cores.

    Probabilities and fractions are averaged arithmetically over views and models. Of a Dirichlet head the expected
    fractions a/A are, and the concentration A (per question) is the mean of the models' and views'. Where the card of
    the model has intervals of attributes, the columns ``<attribute>_low`` and ``_high`` follow those of the votes; of
    an ensemble none were fitted.

    Decoding runs in threads, at most a few batches ahead of the network, so that memory does not grow with the number
    of galaxies. A galaxy that cannot be used becomes a row with ``status`` "rejected" and its reason. Raises
    :class:`BandError` before any work where the source lacks a band of the model, and :class:`Stopped` upon SIGTERM.
    """
    _check_choices(out, batch, threads)
    cores = threads or len(os.sched_getaffinity(0))
    numbers = chosen_views(views)
    source = open_source(source, bands=bands) if isinstance(source, (str, Path)) else source
    folders = [find_model(one) for one in ([model] if isinstance(model, (str, Path)) else model)]
    models = [_open(folder, engine, threads) for folder in folders]
    tree = _agreed([one.card for one in models]).load_tree()
    wanted = wanted_ids(source, folders, ids, part)
    notes = _check_bands(source, models)
    account = Account(len(wanted), progress)
    head = _head([one.card for one in models], tree)
    displays = list({one.display: None for one in models})
    margins = [margin(numbers, display.size) for display in displays]
    render = partial(render_chunk, displays=displays, margins=margins)
    with (
        _writer(out, head, _provenance(models, source, views, part)) as writer,
        ThreadPoolExecutor(cores) as pool,
        disk.stop_on_sigterm() as asked,
    ):
        for done in ahead(pool, render, source.records(wanted), batch, 2 * cores + 1):
            values = _answers(models, displays, done.images, numbers, tree) if len(done.images[0]) else None
            account.add(_write(writer, head, done, values), len(done.ids))
            if asked.is_set():
                raise Stopped(f"'{out}' is not written, since it would not be whole; run the same command again")
    return account.close(str(out), models[0].engine.name, tuple(notes))


def _writer(out: str | Path, head: Head, told: dict[str, Any]) -> VotesWriter:
    return VotesWriter(out, head.kind, head.names, head.tree, told, head.interval_columns(), head.layout.costs)


def _head(cards: Sequence[Card], tree: Tree | None) -> Head:
    """What the answers mean: of an ensemble nothing is calibrated, and costs are those on which all agree."""
    first = cards[0]
    costs = first.costs if all(one.costs == first.costs for one in cards) else {}
    return Head(first.name, first.head, first.names, tree, first.calibration if len(cards) == 1 else {}, costs=costs)


class Account:
    """Counts what became of the galaxies, and tells it while it goes on."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total, self.progress, self.began = total, progress, time.monotonic()
        self.n_done, self.n_rejected, self.reasons = 0, 0, dict[str, int]()
        self.first: list[Rejected] = []

    def add(self, rejected: list[Rejected], n: int) -> None:
        """One batch of ``n`` galaxies, of which some were rejected."""
        self.n_done, self.n_rejected = self.n_done + n - len(rejected), self.n_rejected + len(rejected)
        self.first += rejected[: FIRST - len(self.first)]
        for one in rejected:
            self.reasons[str(one.reason)] = self.reasons.get(str(one.reason), 0) + 1
        if self.progress:
            gone = self.n_done + self.n_rejected
            rate = gone / max(time.monotonic() - self.began, 1e-9)
            self.progress(gone, self.total, f"{rate:,.0f} galaxies/s, {self.n_rejected} rejected")

    def close(self, path: str, engine: str, notes: tuple[str, ...]) -> Prediction:
        """The summary, once every galaxy is accounted for."""
        if self.n_done + self.n_rejected != self.total:
            raise BadCatalog(
                f"{self.total} galaxies were asked for, {self.n_done} done + {self.n_rejected} rejected came"
            )
        seconds = time.monotonic() - self.began
        return Prediction(
            path, self.total, self.n_done, self.n_rejected, seconds, engine, notes, self.reasons, tuple(self.first)
        )


def _open(folder: Path, engine: str, threads: int) -> _Model:
    card = Card.load(folder)
    return _Model(card, open_engine(folder, engine, threads), recipe.from_mapping(Display, card.display))


def _check_choices(out: str | Path, batch: int, threads: int) -> None:
    for flag, value, least in (("--batch", batch, 1), ("--threads", threads, 0)):
        if value < least:
            raise RecipeError(f"{flag} is {value}; it must be {least} or more")
    if Path(out).suffix != ".parquet":
        raise RecipeError(
            f"'{out}': votes are written as Parquet, so name a file that ends in .parquet; tuningfork export turns it "
            "into FITS, VOTable, ECSV or CSV"
        )
    if Path(out).is_dir():
        raise RecipeError(f"'{out}' is a folder; name the file of votes to write")


def _agreed(cards: Sequence[Card]) -> Card:
    """The first card, once all of an ensemble are known to answer the same questions in the same columns."""
    first = cards[0]
    for other in cards[1:]:
        if (other.head, other.names, other.tree_digest) != (first.head, first.names, first.tree_digest):
            raise BadWeights(
                f"'{first.name}' and '{other.name}' do not answer the same: {first.head} {first.names} against "
                f"{other.head} {other.names}; an ensemble needs models with one set of answers"
            )
    return first


def wanted_ids(source: Source, folders: Sequence[Path], ids: Sequence[str] | None, part: str | None) -> list[str]:
    """The ids to predict, in the order of the source; an id that it does not have is an error."""
    if part is None and ids is None:
        return list(source.ids)
    chosen = None if ids is None else set(ids)
    if part is not None:
        kept = set.intersection(*(_part(folder, part) for folder in folders))  # for an ensemble: apart from all of it
        if not kept:
            raise RecipeError(f"no galaxy is in the part '{part}' of every model of the ensemble: their splits differ")
        chosen = kept if chosen is None else chosen & kept
    assert chosen is not None
    wanted = [one for one in source.ids if one in chosen]
    if len(wanted) < len(chosen):
        missing = sorted(chosen - set(wanted))
        raise BadCatalog(f"{len(missing)} of the galaxies asked for are not in '{source.path}': {missing[:5]} ...")
    return wanted


def _part(folder: Path, part: str) -> set[str]:
    """The ids of one part of the split that a model's run kept."""
    table = folder.parent / "split.parquet"
    if not table.exists() and folder.parent.name == "models":  # of a run that made several
        table = folder.parent.parent / "split.parquet"
    if not table.exists():
        raise RecipeError(f"--part {part} needs the split of the run, but '{table}' is not there")
    split = Catalog.read(table)
    parts = split["part"]
    if part not in set(parts):
        raise RecipeError(f"the run's split has no part '{part}'; it has: {', '.join(sorted(set(parts)))}")
    return {one for one, its in zip(split.ids, parts, strict=True) if its == part}


def _check_bands(source: Source, models: Sequence[_Model]) -> list[str]:
    notes = []
    for one in models:
        needs = one.card.bands
        if source.bands is not None and needs != LIGHT and not set(needs) <= set(source.bands):
            raise BandError(
                f"'{source.path}' has the bands {', '.join(source.bands)}; the model '{one.card.name}' was trained on "
                f"{', '.join(needs)}: choose a model of these bands, or, if the files tell their bands wrongly, --bands"
            )
        if one.display.pixel_scale and one.display.crop and source.pixel_scale is None:
            notes.append(
                f"the pixel scale of '{source.path}' is not known: taken to be the model's, "
                f"{one.display.pixel_scale:g} arcsec"
            )
    return list(dict.fromkeys(notes))


def _provenance(models: Sequence[_Model], source: Source, views: int, part: str | None) -> dict[str, Any]:
    cards = [one.card for one in models]
    told = {"part": part} if part else {}
    return told | {
        "model": {"name": " + ".join(c.name for c in cards), "digest": " ".join(c.digest for c in cards)},
        "card": recipe.to_mapping(cards[0]),
        "source": source.path,
        "input_digest": source.digest,
        "views": views,
        "version": __version__,
    }


def render_chunk(chunk: list[Record | Rejected], displays: list[Display], margins: list[int]) -> Batch:
    """Decode and render one batch, with the margins that the views need; a bad galaxy becomes its reason."""
    images: list[list[NDArray[np.uint8]]] = [[] for _ in displays]
    rejected: list[Rejected] = []
    positions: list[tuple[float | None, float | None]] = []
    for record in chunk:
        if isinstance(record, Rejected):
            rejected.append(record)
            positions.append((None, None))
            continue
        positions.append((record.ra, record.dec))
        try:
            rendered = [render_record(record, one, edge) for one, edge in zip(displays, margins, strict=True)]
        except BadImage as bad:
            rejected.append(Rejected(record.id, bad.reason, bad.detail, record.source))
            continue
        for kept, one in zip(images, rendered, strict=True):
            kept.append(one)
    arrays = [
        np.stack(kept) if kept else np.zeros((0, len(d.bands), d.size, d.size), np.uint8)
        for kept, d in zip(images, displays, strict=True)
    ]
    return Batch([record.id for record in chunk], positions, arrays, rejected)


def _answers(
    models: Sequence[_Model],
    displays: list[Display],
    images: list[NDArray[np.uint8]],
    numbers: Sequence[int],
    tree: Tree | None,
) -> NDArray[np.float32]:
    """The mean answers (N, K) over models and views; see :func:`predict` for what a mean is."""
    answers = []
    for one in models:
        shown = images[displays.index(one.display)]
        seen = [
            unmirror(one.engine.run(view(shown, number, one.display.size)), one.card.names, number)
            for number in numbers
        ]
        answers.append(certain(averaged(np.stack(seen), one.card.head, tree), one.card.calibration, tree))
    return averaged(np.stack(answers), models[0].card.head, tree)


def _write(writer: VotesWriter, head: Head, done: Batch, values: NDArray[np.float32] | None) -> list[Rejected]:
    """Write one batch; answers that are not finite reject their galaxy. Returns all that were rejected."""
    rejected = list(done.rejected)
    if values is not None:
        finite: NDArray[np.bool_] = np.asarray(np.isfinite(values).all(axis=1))
        if not finite.all():
            refused = {one.id for one in rejected}
            kept = [one for one in done.ids if one not in refused]
            rejected += [
                Rejected(one, Reason.NOT_FINITE, "the network answered with NaN or infinity")
                for one, good in zip(kept, finite.tolist(), strict=True)
                if not good
            ]
            values = values[finite]
    ra, dec = zip(*done.positions, strict=True)
    writer.write(done.ids, ra, dec, values, rejected, _ends(head, values))
    return rejected


def _ends(head: Head, values: NDArray[np.float32] | None) -> dict[str, NDArray[np.float64]]:
    """The further columns of one batch: the intervals of its attributes."""
    if values is None or not head.with_intervals:
        return {}
    said = dict(zip(head.names, head.on_scale(values).T, strict=True))
    return {one.name: ends for one, ends in zip(head.interval_columns(), head.ends(said).values(), strict=True)}
