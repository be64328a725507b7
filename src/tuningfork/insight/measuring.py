"""Measure: the shape of every galaxy of a source by photutils and statmorph, in processes, to a table."""

from __future__ import annotations

import importlib.metadata
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .. import __version__, disk
from ..errors import BadImage, BandError, MissingExtra, Reason, RecipeError, Stopped
from ..galaxy.cutout import Cutout, Record, Rejected
from ..galaxy.decode import COLOUR, GREY, decode
from ..galaxy.source import Source, open_source
from ..galaxy.tablefile import field as column
from ..galaxy.tablefile import with_metadata, write_table
from ..predict.answertable import check_table
from ..predict.predict import FIRST, wanted_ids
from .morphometry import COLUMNS, LUMINANCE, SUM, Morphometry, measure_image, psf_kernel
from .processes import Lost, in_processes

FORMAT = "tuningfork measures 1"
KEPT = 16  # galaxies that are written to the ledger at once: so many are lost by a kill
HURRY = 20.0  # s after which fewer are
Progress = Callable[[int, int, str], None]

_SCHEMA = pa.schema(
    [
        column("id", pa.string(), "", "as in the source"),
        column("ra", pa.float64(), "deg", "right ascension, ICRS"),
        column("dec", pa.float64(), "deg", "declination, ICRS"),
        column("status", pa.string(), "", "done or rejected"),
        column("reason", pa.string(), "", "why the galaxy was rejected"),
        column("detail", pa.string(), "", "what was seen of it then"),
        column("pixel_scale", pa.float64(), "arcsec", "of one pixel, where it is known"),
        column("band", pa.string(), "", "the plane that was measured"),
        column("stretched", pa.bool_(), "", "of a picture, not of flux: compares with pictures of its stretch alone"),
        column("flag", pa.int16(), "", "statmorph's: 0 good, 1 suspect, 2 bad, 4 nothing could be measured"),
        column("flag_sersic", pa.int16(), "", "likewise, of the Sersic fit"),
        column("warnings", pa.string(), "", "what statmorph and photutils warned of"),
        *(column(name, pa.float64(), unit, told) for name, (unit, told) in COLUMNS.items()),
    ]
)


@dataclass(frozen=True)
class Measures:
    """What became of the galaxies: ``n_in = n_done + n_rejected`` holds by id; flagged ones are done.

    ``n_resumed`` of them came from an earlier run of the same command.
    """

    path: str
    n_in: int
    n_done: int
    n_rejected: int
    n_flagged: int
    n_flagged_sersic: int
    n_resumed: int
    seconds: float
    notes: tuple[str, ...] = ()
    reasons: dict[str, int] = field(default_factory=dict)
    rejected: tuple[Rejected, ...] = ()  # the first of them; all are rows of the table

    def __str__(self) -> str:
        """The account as lines of text: what came in, what was done, flagged, rejected and why."""
        rate = (self.n_in - self.n_resumed) / max(self.seconds, 1e-9)
        account = f"{self.n_in:,} galaxies in = {self.n_done:,} done + {self.n_rejected:,} rejected"
        lines = [f"{account}: '{self.path}' ({rate:.2g}/s)"]
        flagged = f"{self.n_flagged:,} done with flag 2 or 4 (bad), {self.n_flagged_sersic:,} with such a Sersic fit"
        lines += [f"  {flagged}: all are in the table"] if self.n_flagged or self.n_flagged_sersic else []
        lines += [f"  rejected for {reason}: {n:,}" for reason, n in sorted(self.reasons.items())]
        lines += [f"    {one.id}: {one.reason} ({one.detail})" for one in self.rejected]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


@dataclass(frozen=True, eq=False)
class Psf:
    """A point spread function as it was asked for: a width in px, or in arcsec, or a kernel; see :func:`read_psf`."""

    told: str = ""
    width: float | None = None
    arcsec: bool = False
    kernel: NDArray[np.float64] | None = None

    def at(self, pixel_scale: float | None) -> float | NDArray[np.float64] | None:
        """As :func:`measure_image` takes it; raises BadImage (WRONG_SCALE) where the width in px is not known."""
        if self.kernel is not None or self.width is None or not self.arcsec:
            return self.width if self.kernel is None else self.kernel
        if pixel_scale is None:
            raise BadImage(Reason.WRONG_SCALE, "the PSF is in arcsec, but the pixel scale is not known: give it in px")
        return self.width / pixel_scale


def read_psf(text: str) -> Psf:
    """A PSF as the command line takes it: "3.2" or "3.2px", "1.3arcsec" (full width at half maximum), or a FITS file.

    The image of a PSF has one plane with odd sides, its peak in the middle. Raises :class:`RecipeError`.
    """
    number, arcsec = text.strip().removesuffix("px"), text.strip().endswith("arcsec")
    try:
        width = float(number.removesuffix("arcsec"))
    except ValueError:
        width = math.nan
    if math.isfinite(width):
        if not width > 0:
            raise RecipeError(f"--psf is {text!r}; a full width at half maximum is positive")
        if not arcsec:
            psf_kernel(width)
        return Psf(text, width, arcsec)
    if not text:
        return Psf()
    if not Path(text).is_file():
        raise RecipeError(f"--psf is {text!r}, neither a width such as 3.2px or 1.3arcsec nor a file that is there")
    try:
        pixels = decode(Path(text).read_bytes()).pixels
    except (BadImage, OSError) as error:
        raise RecipeError(f"--psf '{text}' cannot be read: {error}") from error
    if pixels.dtype == np.uint8:
        raise RecipeError(f"--psf '{text}' is a stretched picture; a PSF is flux: give a FITS file, or a width in px")
    return Psf(text, kernel=psf_kernel(pixels[0] if len(pixels) == 1 else pixels))


def measure_cutout(cutout: Cutout, band: str = "", psf: Psf | None = None, gain: float | None = None) -> Morphometry:
    """Measure one galaxy as :func:`~tuningfork.insight.morphometry.measure_image` does; raises what that does."""
    kernel = None if psf is None else psf.at(cutout.pixel_scale)
    return measure_image(cutout.pixels, bands=cutout.bands, band=band, psf=kernel, gain=gain)


def measure(
    source: str | Path | Source,
    out: str | Path,
    *,
    ids: Sequence[str] | None = None,
    bands: tuple[str, ...] | None = None,
    band: str = "",
    psf: str = "",
    gain: float | None = None,
    limit: float = 300.0,
    workers: int = 0,
    progress: Progress | None = None,
) -> Measures:
    """Measure every galaxy of ``source`` and write one row each, in the order of the source, to the table ``out``.

    Args:
        source, ids, bands: as for :func:`~tuningfork.predict.predict.predict`.
        out: .parquet .csv .ecsv .fits .vot; written whole at the end.
        band: which plane, see :func:`~tuningfork.insight.morphometry.chosen_plane`. ``psf``: :func:`read_psf`.
        gain: electrons per unit of the band's flux; it needs a ``band``, since sums and pictures have other units.
        limit: seconds by the clock for one galaxy; a slower one is rejected (TOO_SLOW), and so is one whose process
            dies (FAILED).
        workers: processes; 0 = one per core.

    Until the end the measures are kept beside ``out``, in the folder ``<out>.unfinished``: the same call goes on where
    an earlier one stopped, or was killed. Raises :class:`RecipeError`, :class:`BandError` before any work,
    :class:`Stopped` upon SIGTERM, :class:`Locked` where another process works on the same table.
    """
    check_table(out)
    _check(band, gain, limit, workers)
    job = _Job(band, read_psf(psf), gain)
    source = open_source(source, bands=bands) if isinstance(source, str | Path) else source
    known = source.bands
    if band and known is not None and band not in (*known, LUMINANCE if known in (COLOUR, GREY) else SUM):
        raise BandError(f"'{source.path}' has the bands {', '.join(known)}; --band asks for '{band}'")
    wanted = wanted_ids(source, [], ids, None)
    told = _told(source, wanted, job)
    folder = Path(out).with_name(f"{Path(out).name}.unfinished")
    with disk.lock(folder), disk.stop_on_sigterm() as asked:
        kept = _Kept(folder, told, out, len(wanted), progress)
        items = source.records(wanted[kept.n :])
        count = workers or len(os.sched_getaffinity(0))
        for number, came in enumerate(in_processes(job, items, count, limit, asked.is_set), kept.n):
            row = _lost(wanted[number], came) if isinstance(came, Lost) else came
            kept.add(row)
        kept.flush()
        if kept.n < len(wanted):
            raise Stopped(f"{kept.n:,} of {len(wanted):,} galaxies are measured; run the same command again to go on")
        table = pa.concat_tables([_SCHEMA.empty_table(), *kept.tables]).combine_chunks()
        write_table(with_metadata(table, told), out)
        disk.remove_folder(folder)
    return kept.account()


@dataclass(frozen=True, eq=False)
class _Job:
    """What a process does with one galaxy: a row of the table."""

    band: str
    psf: Psf
    gain: float | None

    def __call__(self, item: Record | Rejected) -> dict[str, Any]:
        if isinstance(item, Rejected):
            return _lost(item.id, item)
        try:
            cutout = item.cutout()
            row = measure_cutout(cutout, self.band, self.psf, self.gain).row()
        except BadImage as bad:
            return {**_lost(item.id, bad), "ra": item.ra, "dec": item.dec}
        told = {"id": item.id, "ra": cutout.ra, "dec": cutout.dec, "pixel_scale": cutout.pixel_scale}
        return {**told, "status": "done", **row}


def _lost(name: str, why: Rejected | Lost | BadImage) -> dict[str, Any]:
    return {"id": name, "status": "rejected", "reason": str(why.reason), "detail": why.detail}


class _Kept:
    """The rows so far: in a ledger that outlives this process, and as columns in memory."""

    def __init__(self, folder: Path, told: dict[str, Any], out: str | Path, total: int, progress: Progress | None):
        self.ledger, self.out, self.total, self.progress = disk.Ledger(folder / "rows.jsonl"), str(out), total, progress
        self.tables: list[pa.Table] = []
        self.waiting: list[dict[str, Any]] = []
        self.n = 0
        self.began = self.flushed = time.monotonic()
        self.counts = {"done": 0, "rejected": 0, "flag": 0, "flag_sersic": 0, "stretched": 0}
        self.reasons: dict[str, int] = {}
        self.first: list[Rejected] = []
        entries = self.ledger.read()
        if not entries:
            self.ledger.append(told)
        elif entries[0] != told:
            other = [key for key in told if entries[0].get(key) != told[key]]
            raise RecipeError(
                f"'{folder}' holds measures of another run ({', '.join(other)}): remove it, or name another --out"
            )
        for entry in entries[1:]:
            self._count(entry["rows"])
        self.resumed = self.n

    def add(self, row: dict[str, Any]) -> None:
        """The next galaxy's row."""
        self.waiting.append(row)
        if len(self.waiting) >= KEPT or time.monotonic() - self.flushed > HURRY:
            self.flush()
        if self.progress:
            gone = self.n + len(self.waiting)
            lost = self.counts["rejected"] + sum(one["status"] == "rejected" for one in self.waiting)
            rate = (gone - self.resumed) / max(time.monotonic() - self.began, 1e-9)
            self.progress(gone, self.total, f"{rate:.2g} galaxies/s, {lost} rejected")

    def flush(self) -> None:
        """Bring what waits to the disk."""
        if self.waiting:
            self.ledger.append({"rows": self.waiting})
            self._count(self.waiting)
        self.waiting, self.flushed = [], time.monotonic()

    def _count(self, rows: list[dict[str, Any]]) -> None:
        self.n += len(rows)
        self.tables.append(pa.Table.from_pylist(rows, schema=_SCHEMA))
        for row in rows:
            self.counts[row["status"]] += 1
            for flag in ("flag", "flag_sersic"):
                self.counts[flag] += (row.get(flag) or 0) >= 2
            self.counts["stretched"] += bool(row.get("stretched"))
            if row["status"] == "rejected":
                self.reasons[row["reason"]] = self.reasons.get(row["reason"], 0) + 1
                if len(self.first) < FIRST:
                    self.first.append(Rejected(row["id"], Reason(row["reason"]), row["detail"]))

    def account(self) -> Measures:
        """The summary."""
        pictures = self.counts["stretched"]
        notes = (
            f"{pictures:,} are stretched pictures, not flux (column stretched): their concentration, Gini and Sersic "
            "index are lower than those of the galaxies' flux, and compare among pictures of the same stretch alone",
        )
        return Measures(
            self.out, self.total, self.counts["done"], self.counts["rejected"], self.counts["flag"],
            self.counts["flag_sersic"], self.resumed, time.monotonic() - self.began, notes if pictures else (),
            self.reasons, tuple(self.first),
        )  # fmt: skip


def _check(band: str, gain: float | None, limit: float, workers: int) -> None:
    if gain is not None and not (math.isfinite(gain) and gain > 0):
        raise RecipeError(f"--gain is {gain!r}; it must be a positive number of electrons per unit of the flux")
    if gain is not None and band in ("", SUM, LUMINANCE, *COLOUR, *GREY):
        raise RecipeError("--gain turns the flux of one band into electrons: name that band with --band")
    if not (math.isfinite(limit) and limit > 0):
        raise RecipeError(f"--limit is {limit!r}; it must be a positive number of seconds")
    if workers < 0:
        raise RecipeError(f"--workers is {workers}; it must be 0 (one per core) or more")


def _told(source: Source, wanted: list[str], job: _Job) -> dict[str, Any]:
    """What the measures depend on: with another one of these a run that was begun cannot go on."""
    names = disk.sha256("\0".join(wanted).encode())
    kernel = "" if job.psf.kernel is None else disk.sha256(job.psf.kernel.tobytes())
    told: dict[str, Any] = {
        "format": FORMAT,
        "source": source.path,
        "input_digest": source.digest,
        "ids": names,
        "version": __version__,
    }
    told |= {"band": job.band, "psf": job.psf.told, "psf_digest": kernel, "gain": job.gain}
    return told | {name: _version(name) for name in ("statmorph", "photutils")}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingExtra(name, "insight") from error
