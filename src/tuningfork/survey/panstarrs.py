"""Pan-STARRS1: stacked images of the 3 pi survey, cut from skycells at the Space Telescope Science Institute."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import BadImage, Reason
from ..galaxy.cutout import Record
from ..network import Network
from .flux import planes_of, proven
from .service import FITS, Request, Survey, get, stacked

ASINH = 2.5 / math.log(10)  # 1.0857


@dataclass(frozen=True)
class PanStarrs(Survey):
    """ps1filenames.py tells the stack image of each band, fitscut.cgi cuts from it: native pixels of 0.25 arcsec.

    The cut is never resampled; its columns follow the skycell, which near the poles turns away from north. Units are
    counts of the stack, AB zero point 25 + 2.5 log10(EXPTIME); masked pixels are NaN. Where the header has BSOFTEN and
    BOFFSET the counts C are compressed, and become L = BOFFSET + BSOFTEN (e^(C/a) - e^(-C/a)), a = 2.5 / ln 10
    (documentation of the PS1 stack images). A position near a skycell's edge gets the neighbour's pixels or none, as
    fitscut has them.
    """

    def _take(self, network: Network, asked: Request, roots: tuple[str, ...]) -> Record:
        where: dict[str, str | int | float] = {"ra": asked.ra, "dec": asked.dec}
        listed = get(
            network,
            roots,
            "cgi-bin/ps1filenames.py",
            {**where, "filters": "".join(asked.bands), "type": "stack"},
            check=lambda data: b"filename" in data.split(b"\n", 1)[0],
        )
        names = files(listed.data)
        planes, sources = [], []
        for band in asked.bands:
            if band not in names:
                raise BadImage(Reason.NO_COVERAGE, f"Pan-STARRS has no {band} image of {asked.ra:.5f} {asked.dec:+.5f}")
            wanted = {**where, "size": asked.pixels, "format": "fits", "red": names[band]}
            fetched = get(network, roots, "cgi-bin/fitscut.cgi", wanted, accept=FITS)
            plane, header = planes_of(fetched.data)[0]
            pixels = plane.pixels
            if pixels.ndim != 2:
                raise BadImage(Reason.WRONG_SHAPE, f"band {band}: an image of shape {pixels.shape}")
            if "BSOFTEN" in header and "BOFFSET" in header:
                with np.errstate(over="ignore"):
                    linear = header["BOFFSET"] + header["BSOFTEN"] * 2 * np.sinh(pixels.astype(np.float64) / ASINH)
                pixels = np.where(np.isfinite(linear), linear, np.nan).astype(np.float32)
            proven(pixels, header, asked, band, turn=None)
            planes.append(pixels)
            sources.append(fetched.url)
        return stacked(asked, planes, asked.bands, sources)


def files(table: bytes) -> dict[str, str]:
    """Band -> file name of the first row of each band in a reply of ps1filenames.py (words split by spaces).

    The header row alone means that there is nothing at this position. Raises CORRUPT for rows that do not fit it.
    """
    lines = [line.split() for line in table.decode("utf-8", "replace").splitlines() if line.strip()]
    names = lines[0] if lines else []
    if not {"filter", "filename"} <= set(names):
        raise BadImage(Reason.CORRUPT, f"ps1filenames.py said: {table[:120]!r}")
    found: dict[str, str] = {}
    for line in lines[1:]:
        if len(line) != len(names):
            raise BadImage(Reason.CORRUPT, f"a row of ps1filenames.py has {len(line)} of {len(names)} words")
        row = dict(zip(names, line, strict=True))
        found.setdefault(row["filter"], row["filename"])
    return found
