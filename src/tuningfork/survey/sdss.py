"""SDSS: colour pictures of the SkyServer, and corrected frames in nanomaggies."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadImage, NetworkError, Reason
from ..galaxy.budget import Budget, inflate
from ..galaxy.cutout import Record
from ..galaxy.fits import read_planes
from ..network import Network, ReplyError
from .placement import Placement, check_scale, cut, headers, placement, upright
from .query import ask
from .service import JPEG, Request, Survey, check_flux, get, middle, picture, stacked

SKYSERVER = "https://skyserver.sdss.org/dr18/"
SCIENCE_ARCHIVE = "https://data.sdss.org/sas/dr17/"
LICENCE = "SDSS data are public; the collaboration asks for its acknowledgement (sdss.org/collaboration/citing-sdss)"
RERUN = 301
KEPT = 10  # frames in memory: the galaxies of one field come one after the other in most catalogues


@dataclass(frozen=True)
class SdssPicture(Survey):
    """Colour JPEG by getjpeg: i, r, g as red, green, blue, with the SkyServer's own asinh stretch, north up.

    Resampled by the server to any pixel scale; 64 to 2048 px a side. Off the footprint it is expected to give a blank
    or placeholder picture with status 200 (unverified); both are NO_COVERAGE here.
    """

    def _take(self, network: Network, asked: Request, roots: tuple[str, ...]) -> Record:
        side = asked.pixels
        wanted = {"ra": asked.ra, "dec": asked.dec, "scale": asked.pixel_scale, "width": side, "height": side}
        fetched = get(network, roots, "SkyServerWS/ImgCutout/getjpeg", wanted, accept=JPEG)
        return picture(asked, fetched.data, fetched.url)


class Frames:
    """The frames decoded last, shared by threads, so that the galaxies of one field cost one download."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}
        self._kept: OrderedDict[str, tuple[NDArray[np.float32], Placement]] = OrderedDict()

    def get(self, network: Network, address: str) -> tuple[NDArray[np.float32], Placement]:
        """The pixels (H, W), nanomaggies, and the placement of the frame at ``address``."""
        with self._guard:
            turn = self._turns.setdefault(address, threading.Lock())
        with turn:
            with self._guard:
                if address in self._kept:
                    self._kept.move_to_end(address)
                    return self._kept[address]
            try:
                frame = _decoded(get(network, (address,), "", accept=(b"BZh",)).data)
            finally:
                with self._guard:
                    self._turns.pop(address, None)
            with self._guard:
                self._kept[address] = frame
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            return frame


def _decoded(data: bytes) -> tuple[NDArray[np.float32], Placement]:
    content = inflate(data, Budget())
    plane = read_planes(content, first=True)[0]
    if plane.pixels.ndim != 2:
        raise BadImage(Reason.WRONG_SHAPE, f"a frame of shape {plane.pixels.shape}")
    return plane.pixels, placement(headers(content)[plane.index], plane.pixels.shape)


@dataclass(frozen=True)
class SdssFrames(Survey):
    """Corrected frames (sky subtracted, nanomaggies), one file for each band and field, cut here by their WCS.

    The field comes from the columns run, camcol and field of the catalogue, or from an SDSS objid (the column objid,
    dr8objid or dr7objid, or the id itself), or else from one SQL query for the nearest primary object. Pixels are
    never resampled: each band is cut at the nearest whole pixel, flipped and turned by quarters so that north is up to
    45 degrees and east to the left; the bands of one galaxy are aligned to a pixel (0.4 arcsec). A galaxy at a frame's
    edge has NaN beyond it, and is NO_COVERAGE where that reaches the middle ninth. The frames decoded last are kept,
    so sort the catalogue by run, camcol and field. The address of the frames, and that run, camcol and field of DR7
    ids hold for them, are as documented by SDSS but unverified here.
    """

    kept: Frames = field(default_factory=Frames, compare=False, repr=False)

    def _take(self, network: Network, asked: Request, roots: tuple[str, ...]) -> Record:
        archive, server = (roots[0], roots[0]) if len(roots) == 1 else roots
        run, camcol, number = _field(asked.columns, asked.id) or _nearest(network, server, asked)
        planes, sources = [], []
        for band in asked.bands:
            path = f"eboss/photoObj/frames/{RERUN}/{run}/{camcol}/frame-{band}-{run:06d}-{camcol}-{number:04d}.fits.bz2"
            pixels, place = self.kept.get(network, archive + path)
            square = cut(pixels, place, asked.ra, asked.dec, asked.pixels)
            _check(square, place, asked, band)
            planes.append(upright(square, place))
            sources.append(archive + path)
        return stacked(asked, planes, asked.bands, sources)


def _check(square: NDArray[np.float32], place: Placement, asked: Request, band: str) -> None:
    check_scale(place, asked)
    check_flux(square, band)
    if not np.isfinite(middle(square)).all():
        raise BadImage(Reason.NO_COVERAGE, f"band {band}: the galaxy lies at the edge of its frame")


def _field(columns: Any, identifier: str) -> tuple[int, int, int] | None:
    """(run, camcol, field) by the catalogue's columns or by an objid; None where neither tells."""
    folded = {str(name).lower(): value for name, value in columns.items()}
    try:
        return int(folded["run"]), int(folded["camcol"]), int(folded["field"])
    except (KeyError, TypeError, ValueError):
        pass
    for text in (*(folded.get(name) for name in ("objid", "dr8objid", "dr7objid")), identifier):
        found = field_of(text)
        if found:
            return found
    return None


def field_of(objid: Any) -> tuple[int, int, int] | None:
    """(run, camcol, field) inside an SDSS objid, or None for what is none.

    From the highest bit: 1 empty, 4 sky version, 11 rerun, 16 run, 3 camcol, 1 first field, 12 field, 16 object
    (the SkyServer's description of ObjID).
    """
    text = str(objid).strip()
    if not (text.isascii() and text.isdigit() and 17 <= len(text) <= 19):
        return None
    number = int(text)
    rerun, run = number >> 48 & 0x7FF, number >> 32 & 0xFFFF
    camcol, chosen = number >> 29 & 0x7, number >> 16 & 0xFFF
    good = number >> 63 == 0 and 1 <= camcol <= 6 and run > 0 and chosen > 0 and 0 < rerun < 1000
    return (run, camcol, chosen) if good else None


def _nearest(network: Network, server: str, asked: Request) -> tuple[int, int, int]:
    """(run, camcol, field) of the nearest primary object within half an arcminute, by SQL."""
    sql = (
        "SELECT TOP 1 p.run, p.camcol, p.field FROM "
        f"dbo.fGetNearestObjEq({asked.ra:.7f},{asked.dec:.7f},0.5) n JOIN PhotoPrimary p ON p.objid = n.objid"
    )
    try:
        rows = ask(network, sql, server).to_pylist()
    except ReplyError:
        raise
    except NetworkError as error:  # words instead of a table: no fault of this galaxy's, so worth another run
        raise BadImage(Reason.UNREACHABLE, str(error)) from error
    if not rows:
        raise BadImage(Reason.NO_COVERAGE, f"SDSS has no object near {asked.ra:.5f} {asked.dec:+.5f}")
    row = {name.lower(): value for name, value in rows[0].items()}
    return int(row["run"]), int(row["camcol"]), int(row["field"])
