"""A Store full of simulated galaxies, with their truth and the votes of simulated volunteers as its catalogue."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import BandError, RecipeError
from ..galaxy.catalog import Catalog
from ..galaxy.cutout import Record
from ..galaxy.store import Store, StoreWriter
from ..galaxy.tree import Tree
from .camera import draw, stamp_scale
from .picture import picture
from .pool import in_order
from .survey import SimulatedSurvey, check_bands, find_survey
from .truth import Galaxy, class_shares, draw_population
from .volunteers import VOLUNTEERS, expected_fractions, visibility, vote

Progress = Callable[[int, int, str], None]

CHUNK = 32  # galaxies a worker draws at a time
ALONE = 400  # fewer than this are drawn before worker processes would have started


@dataclasses.dataclass(frozen=True)
class Order:
    """What a worker needs to draw any of the galaxies: the arguments of :func:`simulate_galaxies` that decide them."""

    survey: SimulatedSurvey
    bands: tuple[str, ...]
    size: int
    colour: bool
    seed: int
    class_weights: Mapping[str, float] | None


def simulate_galaxies(
    n: int,
    out: str | Path,
    *,
    survey: str | SimulatedSurvey = "sdss",
    bands: tuple[str, ...] | None = None,
    size: int | None = None,
    colour: bool = True,
    seed: int = 0,
    class_weights: Mapping[str, float] | None = None,
    volunteers: float = VOLUNTEERS,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Store:
    """Simulate ``n`` galaxies into a new store ``out``: images, truth, and the votes of simulated volunteers.

    Images are ``size`` px wide and high (default 64 for "sdss", 91 for "des").
    With ``colour`` each is a JPEG of i, r, g as red, green, blue, as Galaxy Zoo shows them; without, flux in ``bands``
    (default all of the survey's), float32, in the survey's counts per pixel (see ``camera.draw``).
    Galaxy i is a function of (``seed``, i), the survey, the size and ``class_weights`` (shares by the names of
    ``truth.CLASSES``); neither ``n`` nor ``workers`` changes it. ``workers`` processes draw (default: one per core, and
    none for fewer than 400 galaxies); scripts that let them need the usual ``if __name__ == "__main__":``.

    The catalogue (``store.catalog``): id "sim-<seed>-<index>", ra, dec (a made-up place), class (names of Galaxy
    Zoo 1), every field of the truth, visibility, and for each column of the tree "gz2" the votes ``*_count`` of
    about ``volunteers`` people and the share ``*_fraction`` that infinitely many would give. A killed run continues.

    Raises RecipeError, BandError, BadStore (the folder holds something else), MissingExtra (no GalSim).
    """
    where = find_survey(survey)
    size = where.size if size is None else size
    if n < 1 or size < 16:
        raise RecipeError(f"cannot simulate {n} galaxies of {size} px: there must be at least 1, of at least 16 px")
    class_shares(class_weights)
    chosen = check_bands(tuple(bands or (("g", "r", "i") if colour else where.bands)))
    if colour and set(chosen) != {"g", "r", "i"}:
        raise BandError(
            f"a colour picture shows g, r and i, not {', '.join(chosen)}: for these say colour=False (--no-colour)"
        )
    order = Order(where, chosen, size, colour, seed, None if class_weights is None else dict(class_weights))
    with StoreWriter(out, plan=_plan(order, n, volunteers)) as writer:
        start = writer.n_in
        for done, record in enumerate(_records(order, start, n, workers), start + 1):
            writer.add(record)
            if progress is not None and (done % CHUNK == 0 or done == n):
                progress(done, n, f"galaxy {record.id}")
        writer.catalog = truth_catalog(draw_population(seed, n, where, class_weights), where, size, volunteers)
    return writer.store


def _plan(order: Order, n: int, volunteers: float) -> dict[str, Any]:
    """What the store's folder remembers, by which the same command is known again: plain JSON values."""
    plan = {"command": "simulate galaxies", "n": n, "volunteers": volunteers, **dataclasses.asdict(order)}
    known: dict[str, Any] = json.loads(json.dumps(plan))
    return known


def _records(order: Order, start: int, n: int, workers: int | None) -> Iterator[Record]:
    chunks = [range(first, min(first + CHUNK, n)) for first in range(start, n, CHUNK)]
    for records in in_order(functools.partial(_draw_chunk, order), chunks, workers, alone=n - start < ALONE):
        yield from records


def _draw_chunk(order: Order, chunk: range) -> list[Record]:
    population = draw_population(order.seed, chunk.stop, order.survey, order.class_weights, start=chunk.start)
    return [draw_record(galaxy, order) for galaxy in population]


def draw_record(galaxy: Galaxy, order: Order) -> Record:
    """Draw one galaxy as a record of a store: a JPEG, or flux as npy."""
    flux = draw(galaxy, order.bands, order.survey, order.size)
    scale = stamp_scale(galaxy, order.survey, order.size)
    ra, dec = position(galaxy.seed, galaxy.index)
    name = identifier(galaxy)
    if order.colour:
        return Record.from_picture(name, picture(flux, order.bands, order.survey, scale), scale, ra, dec)
    return Record.from_pixels(name, flux, order.bands, scale, ra, dec)


def identifier(galaxy: Galaxy) -> str:
    """The id "sim-<seed>-<index>", the index with at least six digits."""
    return f"sim-{galaxy.seed}-{galaxy.index:06d}"


def position(seed: int, index: int) -> tuple[float, float]:
    """A place on the sky (ra, dec in degrees): right ascensions 120..240, declinations -10..60, evenly by area.

    The points of one seed are a lattice rule (the R2 sequence of Roberts 2018), so that a million of them keep more
    than 10 arcsec apart; a seed shifts all of its points.
    """
    offset = np.random.default_rng(abs(seed)).random(2)
    u, v = (offset + (index + 1) * np.array([0.7548776662466927, 0.5698402909980532])) % 1.0
    low, high = np.sin(np.radians([-10.0, 60.0]))
    return float(120 + 120 * u), float(np.degrees(np.arcsin(low + (high - low) * v)))


def truth_catalog(
    population: Iterator[Galaxy], survey: str | SimulatedSurvey, size: int, volunteers: float = VOLUNTEERS
) -> Catalog:
    """The catalogue of simulated galaxies: one row each with position, class, truth, votes and expected fractions."""
    where, tree = find_survey(survey), Tree.load("gz2")
    rows, counts, fractions = [], [], []
    for galaxy in population:
        expected = expected_fractions(galaxy, where, tree)
        rows.append(truth_row(galaxy, where, size))
        counts.append(vote(galaxy, expected, tree, volunteers))
        fractions.append(expected)
    columns: dict[str, object] = {name: pa.array([row[name] for row in rows]) for name in rows[0]}
    for number, name in enumerate(tree.columns):
        columns[f"{name}_count"] = np.array([votes[number] for votes in counts], np.int64)
    for number, name in enumerate(tree.columns):
        columns[f"{name}_fraction"] = np.array([shares[number] for shares in fractions], np.float32)
    return Catalog(columns)


def truth_row(galaxy: Galaxy, survey: SimulatedSurvey, size: int) -> dict[str, str | int | float | bool]:
    """One galaxy's truth by column: its fields (companions as number, distance and flux ratio) and what follows."""
    ra, dec = position(galaxy.seed, galaxy.index)
    row: dict[str, str | int | float | bool] = {"id": identifier(galaxy), "ra": ra, "dec": dec, "class": galaxy.label}
    row |= {
        field.name: getattr(galaxy, field.name) for field in dataclasses.fields(galaxy) if field.name != "companions"
    }
    first = galaxy.companions[0] if galaxy.companions else None
    distance = np.hypot(first.dx - galaxy.dx, first.dy - galaxy.dy) if first else 0.0
    return row | {
        "companions": len(galaxy.companions),
        "companion_distance": float(distance),
        "companion_flux_ratio": float(10 ** (0.4 * (galaxy.magnitude - first.magnitude))) if first else 0.0,
        "half_light": galaxy.half_light,
        "axis_ratio": galaxy.axis_ratio,
        "petrosian_r90": galaxy.petrosian(survey.psf_fwhm["r"]),
        "pixel_scale": stamp_scale(galaxy, survey, size),
        "visibility": visibility(galaxy, survey),
    }
