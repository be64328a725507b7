"""A Store full of simulated gravitational lenses and of galaxies that look like them, with the truth as catalogue."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import BadImage, BandError, Reason, RecipeError
from ..galaxy.catalog import Catalog
from ..galaxy.cutout import Record, Rejected
from ..galaxy.records import Source
from ..galaxy.store import Store, StoreWriter
from .cfhtls import FIELD, find_lens_survey, lens_picture
from .exposure import Exposure, expose
from .galaxies import position
from .pool import in_order
from .scene import Scene, draw_scene
from .survey import SimulatedSurvey, check_bands

Progress = Callable[[int, int, str], None]
Row = dict[str, str | int | float]

CHUNK = 16  # stamps a worker draws at a time
ALONE = 200  # fewer than this are drawn before worker processes would have started

_NO_IDS = pa.array([], pa.string())

SNR = 25.0
"""The least signal-to-noise (``exposure.visibility``) of a simulated lens's arcs: what cannot be seen is no example."""


@dataclasses.dataclass(frozen=True)
class LensOrder:
    """What a worker needs to draw any of the stamps: the arguments of :func:`simulate_lenses` that decide them."""

    survey: SimulatedSurvey
    bands: tuple[str, ...]
    size: int
    colour: bool
    seed: int
    fraction: float
    snr: float
    painted: bool
    start: int = 0  # of the stamps before it only the truth is wanted


def simulate_lenses(
    n: int,
    out: str | Path,
    *,
    survey: str | SimulatedSurvey = "cfhtls",
    fraction: float = 0.5,
    colour: bool = True,
    bands: tuple[str, ...] | None = None,
    size: int | None = None,
    snr: float = SNR,
    seed: int = 0,
    base: Source | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Store:
    """Simulate ``n`` stamps into a new store ``out``, a share ``fraction`` of them lenses, the rest look-alikes.

    ``survey`` is "cfhtls", "sdss", "des" or a :class:`~tuningfork.simulate.survey.SimulatedSurvey`, at its own pixel
    scale; ``size`` px wide and high (default 30 arcsec: 161 px for "cfhtls"). With ``colour`` each stamp is a JPEG of
    i, r, g, as Space Warps shows them; without, flux in ``bands`` (default the survey's), float32, in its counts.
    Lenses are singular isothermal ellipsoids with external shear: a galaxy or a quasar lensed by a galaxy, or arcs of a
    group. Every lens is visible: where the arcs' signal-to-noise (``exposure.visibility``) is below ``snr``, what is
    lensed is made brighter. Lenses and look-alikes (``lookalikes.LOOKALIKES``) share neighbours, groups, magnitudes,
    seeing and depth. Stamp i is a function of (``seed``, i) and these choices; neither ``n`` nor ``workers`` changes
    it. Scripts that let several ``workers`` draw (default: from 200 stamps on) need ``if __name__ == "__main__":``.

    ``base``, a source of galaxies in flux (not pictures: their stretch cannot be undone) in the survey's counts and
    pixel scale, paints instead on what is there: stamp i is galaxy i (from the first again after the last), with arcs
    about its centre added if it is a lens, else left as it is (flavor "unlensed"). Galaxies that cannot be read or are
    too small are rejected; one process draws.

    The catalogue (``store.catalog``): id "lens-<seed>-<index>", ra, dec (made up, or the base's), class ("lens" or
    "not_lens"), flavor, and the truth of :func:`truth_row`. A killed run continues.

    Raises RecipeError, BandError, BadStore (the folder holds something else), MissingExtra (galsim or lenstronomy).
    """
    order = _order(n, survey, fraction, colour, bands, size, snr, seed, base)
    rows: list[Row] = []
    with StoreWriter(out, plan=_plan(order, n, base)) as writer:
        order = dataclasses.replace(order, start=writer.n_in)
        for index, (made, row) in enumerate(_stamps(order, n, workers, base)):
            if row is not None:
                rows.append(row)
            if index < order.start:
                continue
            if isinstance(made, Record):
                writer.add(made)
            elif made is not None:
                writer.reject(made)
            if progress is not None and ((index + 1) % CHUNK == 0 or index + 1 == n):
                progress(index + 1, n, f"stamp {identifier(seed, index)}")
        columns = {name: pa.array([row[name] for row in rows]) for name in rows[0]} if rows else {"id": _NO_IDS}
        writer.catalog = Catalog(columns)
    return writer.store


def _order(
    n: int,
    survey: str | SimulatedSurvey,
    fraction: float,
    colour: bool,
    bands: tuple[str, ...] | None,
    size: int | None,
    snr: float,
    seed: int,
    base: Source | None,
) -> LensOrder:
    """The order that these arguments make; refuses what cannot be, before anything is written."""
    where = find_lens_survey(survey)
    if base is not None and not len(base):
        raise RecipeError(f"no galaxy in '{base.path}' to paint arcs on")
    if size is None:
        size = round(FIELD / where.pixel_scale) if base is None else _base_size(base)
    if n < 1 or size < 32:
        raise RecipeError(f"cannot simulate {n} stamps of {size} px: there must be at least 1, of at least 32 px")
    if not 0 <= fraction <= 1 or not 0 <= snr <= 1000:
        raise RecipeError(f"fraction={fraction} must lie in 0..1 and snr={snr} in 0..1000")
    chosen = check_bands(tuple(bands or (("g", "r", "i") if colour else where.bands)))
    if colour and set(chosen) != {"g", "r", "i"}:
        raise BandError(
            f"a colour picture shows g, r and i, not {', '.join(chosen)}: for these say colour=False (--no-colour)"
        )
    return LensOrder(where, chosen, size, colour, seed, fraction, snr, base is not None)


def _base_size(base: Source) -> int:
    """The shorter side of the first galaxy that can be read."""
    for record in base.records():
        if isinstance(record, Record):
            try:
                return min(record.cutout().pixels.shape[1:])
            except BadImage:
                continue
    raise RecipeError(f"no galaxy in '{base.path}' can be read: there is nothing to paint arcs on")


def _plan(order: LensOrder, n: int, base: Source | None) -> dict[str, Any]:
    """What the store's folder remembers, by which the same command is known again: plain JSON values."""
    plan = {"command": "simulate lenses", "n": n, "base": base.digest if base else "", **dataclasses.asdict(order)}
    del plan["start"]
    known: dict[str, Any] = json.loads(json.dumps(plan))
    return known


Made = tuple[Record | Rejected | None, Row | None]


def _stamps(order: LensOrder, n: int, workers: int | None, base: Source | None) -> Iterator[Made]:
    """Each stamp and its truth, in order; of those before ``order.start`` the truth alone."""
    if base is not None:
        for index in range(n):
            yield paint(base.ids[index % len(base)], base, index, order)
        return
    chunks = [range(first, min(first + CHUNK, n)) for first in range(0, n, CHUNK)]
    for drawn in in_order(functools.partial(_draw_chunk, order), chunks, workers, n < ALONE):
        yield from drawn


def _draw_chunk(order: LensOrder, chunk: range) -> list[Made]:
    return [draw_stamp(index, order) for index in chunk]


def draw_stamp(index: int, order: LensOrder) -> Made:
    """Draw stamp ``index`` on a simulated sky: its record (None before ``order.start``) and its row of truth."""
    scene = draw_scene(order.seed, index, order.survey, order.fraction)
    full = index >= order.start
    seen = expose(scene, order.bands, order.survey, order.size, snr=order.snr, noise=full, neighbours=full)
    place = position(order.seed, index)
    return _record(scene, seen, order, place) if full else None, truth_row(scene, seen, order.survey, place)


def paint(name: str, base: Source, index: int, order: LensOrder) -> Made:
    """Paint stamp ``index`` on the galaxy ``name`` of a source; a galaxy that cannot serve comes as rejected."""
    identity = identifier(order.seed, index)
    try:
        cutout = base.record(name).cutout()
        backdrop = _backdrop(cutout.pixels, cutout.bands, order)
    except BadImage as error:
        return Rejected(identity, error.reason, f"galaxy '{name}': {error.detail}", base.path), None
    if cutout.pixel_scale is not None and abs(cutout.pixel_scale / order.survey.pixel_scale - 1) > 0.02:
        detail = f"{cutout.pixel_scale:.4f} arcsec per pixel, the survey has {order.survey.pixel_scale:.4f}"
        return Rejected(identity, Reason.WRONG_SCALE, f"galaxy '{name}': {detail}", base.path), None
    scene = draw_scene(order.seed, index, order.survey, order.fraction, painted=True)
    seen = expose(scene, order.bands, order.survey, order.size, snr=order.snr, backdrop=backdrop)
    place = (cutout.ra, cutout.dec) if cutout.ra is not None and cutout.dec is not None else None
    place = place or position(order.seed, index)
    made = _record(scene, seen, order, place) if index >= order.start else None
    return made, truth_row(scene, seen, order.survey, place, name)


def _backdrop(pixels: np.ndarray, bands: tuple[str, ...], order: LensOrder) -> np.ndarray:
    """The middle of a galaxy's flux in the bands of the order, float32; BadImage where it cannot be had."""
    if pixels.dtype == np.uint8:
        raise BadImage(Reason.WRONG_SHAPE, "a picture: arcs are painted on flux, whose stretch need not be undone")
    missing = [band for band in order.bands if band not in bands]
    if missing:
        raise BadImage(Reason.MISSING_BAND, f"no {', '.join(missing)} among {', '.join(bands)}")
    height, width = pixels.shape[1:]
    if min(height, width) < order.size:
        raise BadImage(Reason.TOO_SMALL, f"{width} x {height} px, {order.size} are wanted")
    top, left = (height - order.size) // 2, (width - order.size) // 2
    chosen = pixels[[bands.index(band) for band in order.bands], top : top + order.size, left : left + order.size]
    if not np.isfinite(chosen).all():
        raise BadImage(Reason.NO_COVERAGE, f"{int((~np.isfinite(chosen)).sum())} pixels without a value")
    return chosen.astype(np.float32)


def _record(scene: Scene, seen: Exposure, order: LensOrder, place: tuple[float, float]) -> Record:
    name, scale = identifier(scene.seed, scene.index), order.survey.pixel_scale
    if order.colour:
        return Record.from_picture(name, lens_picture(seen.flux, order.bands, order.survey), scale, *place)
    return Record.from_pixels(name, seen.flux, order.bands, scale, *place)


def identifier(seed: int, index: int) -> str:
    """The id "lens-<seed>-<index>", the index with at least six digits."""
    return f"lens-{seed}-{index:06d}"


def truth_row(
    scene: Scene, seen: Exposure, survey: SimulatedSurvey, place: tuple[float, float], base_id: str = ""
) -> Row:
    """One stamp's truth by column. Lengths in arcsec, angles in degrees (position angles), magnitudes r (AB).

    einstein_radius is that of all halos together (``deflector.ring``), main_halo_radius that of the first alone;
    magnification is total (of the quasar where there is one), n_images the quasar's; arc_snr and arc_pixels those of
    ``exposure.visibility``. source_* is the galaxy behind as it would look without the lens. What a look-alike does
    not have is NaN, or 0 where it is a number of things.
    """
    row: Row = {
        "id": identifier(scene.seed, scene.index),
        "ra": place[0],
        "dec": place[1],
        "class": "lens" if scene.is_lens else "not_lens",
        "flavor": scene.flavor,
        "seed": scene.seed,
        "index": scene.index,
        "base_id": base_id,
        "pixel_scale": survey.pixel_scale,
        "seeing": seen.seeing,
        "group": int(scene.place.group and scene.foreground is not None),
    }
    return row | _deflector_columns(scene) | _source_columns(scene, seen)


def _deflector_columns(scene: Scene) -> Row:
    front, deflector = scene.foreground, scene.deflector
    main = deflector.halos[0] if deflector.halos else None
    return {
        "deflector_redshift": front.redshift if front else scene.place.redshift if main else np.nan,
        "deflector_magnitude": front.magnitude if front else np.nan,
        "deflector_radius": front.half_light if front else np.nan,
        "deflector_axis_ratio": front.axis_ratio if front else np.nan,
        "deflector_position_angle": front.position_angle if front else np.nan,
        "companions": len(front.companions) if front else 0,
        "einstein_radius": scene.einstein_radius,
        "main_halo_radius": main.einstein_radius if main else np.nan,
        "halos": len(deflector.halos),
        "mass_axis_ratio": main.axis_ratio if main else np.nan,
        "mass_position_angle": main.position_angle if main else np.nan,
        "shear": deflector.shear if main else np.nan,
        "shear_angle": deflector.shear_angle if main else np.nan,
    }


def _source_columns(scene: Scene, seen: Exposure) -> Row:
    source = seen.background
    fields = ("redshift", "magnitude", "x", "y", "radius", "axis_ratio", "position_angle", "index", "youth")
    quasar = np.nan if source is None or source.quasar_magnitude is None else source.quasar_magnitude
    return {
        "magnification": seen.magnification if source else np.nan,
        "n_images": seen.n_images,
        "arc_snr": seen.snr if source else np.nan,
        "arc_pixels": seen.arc_pixels,
        **{f"source_{name}": getattr(source, name) if source else np.nan for name in fields},
        "source_clumps": len(source.clumps) if source else 0,
        "quasar_magnitude": quasar,
    }
