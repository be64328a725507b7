"""Galaxies in several bands from the user's FITS files: one file per galaxy and band, cubes, or a stack per band."""

from __future__ import annotations

from pathlib import Path

from ...errors import BadStore
from ...galaxy.catalog import Catalog
from ...galaxy.labels import find_votes
from ...galaxy.source import Source, open_source
from ...galaxy.store import Store
from ...galaxy.tree import Tree
from .choices import Choice
from .desk import Desk

SDSS_BANDS = ("u", "g", "r", "i", "z")
DES_BANDS = ("g", "r", "i", "z", "Y")
DES_SCALE = 0.263  # arcsec per px of DES coadds; the stacks' headers do not tell
# how a galaxy's five files may be called, below the folder of the data; {id} is what the table of votes calls it
PATTERNS = ("{id}_{band}.fits", "{id}_{band}.fits.gz", "{id}_SDSS{band}.fits", "{band}/{id}.fits")
TABLES = ("gz2_hart16.csv", "gz2_hart16.csv.gz", "zoo2MainSpecz.csv", "zoo2MainSpecz.csv.gz")
FIVE_BANDS = (
    f"fits/ with one FITS file per galaxy and band ({', '.join(PATTERNS)}, bands {', '.join(SDSS_BANDS)}) or one cube "
    f"of five planes per galaxy, <id>.fits, beside {TABLES[0]} or one other CSV with Galaxy Zoo 2's votes by these ids"
)
DES_STACK = "fits/des_<band>.fits, stacks of the same galaxies in g, r, i, z and Y"


def five_bands(desk: Desk[Choice], name: str = "five-band", bands: tuple[str, ...] = SDSS_BANDS) -> Store | None:
    """The user's galaxies in u, g, r, i, z as a store with Galaxy Zoo 2's votes; None where there are none.

    The layout is :data:`FIVE_BANDS`. A galaxy that lacks a band, or whose cube has fewer planes, becomes a rejected row
    (missing_band) that says so; galaxies without a row in the table are left out and counted in the notes. Raises
    :class:`~tuningfork.errors.BadStore` where there are FITS files but several tables, none of them by its usual name,
    :class:`~tuningfork.errors.LabelError` for a table without Galaxy Zoo 2's votes, and what ingest raises.
    """
    source = _galaxies(desk, bands)
    table = None if source is None else _table(desk)
    if source is None or table is None:
        return None
    votes = Catalog.read(table)
    find_votes(votes, Tree.load("gz2"))  # a table that cannot label them is refused before hours of reading
    store = desk.ingest(source, name, labels=votes, unmatched="drop")
    left_out = len(source) - len(store) - len(store.rejected)
    if left_out:
        desk.notes.append(f"{name}: {left_out:,} of {len(source):,} galaxies have no row in '{table}' and are left out")
    return store


def des_stack(desk: Desk[Choice], name: str = "des") -> Store | None:
    """The stacks of DES cutouts, des_g.fits ... des_Y.fits, as a store of five bands without labels; or None."""
    place = desk.place("fits/des_g.fits", "des_g.fits")
    if place is None:
        return None
    source = open_source(str(place.parent / "des_{band}.fits"), bands=DES_BANDS, pixel_scale=DES_SCALE)
    return desk.ingest(source, name)


def _galaxies(desk: Desk[Choice], bands: tuple[str, ...]) -> Source | None:
    """The FITS files of the user's galaxies, by whichever layout fits them; None where there are none."""
    folder = desk.place("fits")
    if folder is None:
        return None
    for pattern in PATTERNS:
        found = next((band for band in bands if any(folder.glob(_wild(pattern, band)))), None)
        if found is not None:
            return open_source(str(folder / pattern), bands=bands)
    return open_source(folder, bands=bands) if any(folder.rglob("*.fits*")) else None


def _wild(pattern: str, band: str) -> str:
    return pattern.replace("{id}", "*").replace("{band}", band)


def _table(desk: Desk[Choice]) -> Path | None:
    """The table of votes: one of :data:`TABLES`, or the only CSV of the data folder; None where it holds none."""
    found = desk.place(*TABLES)
    if found is not None or desk.data is None:
        return found
    others = sorted([*desk.data.glob("*.csv"), *desk.data.glob("*.csv.gz")])
    if len(others) > 1:
        listed = ", ".join(path.name for path in others[:8])
        raise BadStore(
            f"'{desk.data}' has several tables ({listed}) and none is called {TABLES[0]}: keep the one with Galaxy Zoo "
            "2's votes of the galaxies in fits/, or give it that name"
        )
    return others[0] if others else None
