"""Where an image lies on the sky by its header, whether that is what was asked for, and how to cut from it."""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame
from numpy.typing import NDArray

from ..errors import BadImage, Reason
from ..galaxy.budget import Budget
from ..galaxy.fits import check_headers
from ..galaxy.strict import locked, strictly
from .service import Request

CENTRE = 1.0  # arcsec that the centre may be off, or half a pixel along each axis where that is more
SCALE = 0.01  # relative error of the pixel scale, along each axis
TURN = 1.0  # degrees between the columns and north
ARCSEC = 3600 * 180 / math.pi


@dataclass(frozen=True, eq=False)
class Placement:
    """The celestial coordinates of one image of (height, width) pixels; pixels count from 0 at their centres.

    ``ra`` and ``dec`` are the middle of the image in ICRS degrees. ``jacobian`` (2, 2) is there how far east and north
    (rows, arcsec) one pixel along x and y (columns) leads.
    """

    sky: WCS
    shape: tuple[int, int]
    ra: float
    dec: float
    jacobian: NDArray[np.float64]

    @property
    def scales(self) -> tuple[float, float]:
        """arcsec per pixel along x and along y."""
        along_x, along_y = np.hypot(*self.jacobian)
        return float(along_x), float(along_y)

    @property
    def mirrored(self) -> bool:
        """True where east lies to the right of north, so that a spiral winds the other way round than on the sky."""
        return bool(np.linalg.det(self.jacobian) > 0)

    @property
    def turn(self) -> float:
        """Degrees from north, through east, to the direction of growing y."""
        east, north = self.jacobian[:, 1]
        return math.degrees(math.atan2(east, north))

    def pixel(self, ra: float, dec: float) -> tuple[float, float]:
        """(x, y) of a position in ICRS degrees; NaN where the projection does not reach it."""
        where = SkyCoord(ra, dec, unit="deg", frame="icrs")
        with locked(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                x, y = self.sky.world_to_pixel(where)
            except Exception:  # wcslib: a distortion whose inverse does not converge, a point behind the tangent plane
                return math.nan, math.nan
        return float(x), float(y)


def headers(data: bytes) -> list[Any]:
    """The headers (astropy) of FITS bytes, one for each HDU; raises BadImage for what is no sound FITS file."""
    check_headers(data, Budget())
    with strictly("FITS"), fits.open(io.BytesIO(data), memmap=False, lazy_load_hdus=False) as hdus:
        return [hdu.header for hdu in hdus]


def placement(header: Any, shape: tuple[int, int] | None = None) -> Placement:
    """The placement of an image of ``shape`` (default: NAXIS2, NAXIS1) by its header; raises WRONG_POSITION if none."""
    try:
        size = shape or (int(header["NAXIS2"]), int(header["NAXIS1"]))
        with locked(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sky = WCS(_cleaned(header), naxis=2)
            if not sky.has_celestial or any(f"CRVAL{axis}" not in header for axis in (1, 2)):
                raise ValueError("no celestial axes")
            return _placed(sky, size)
    except Exception as error:  # astropy raises a dozen types here
        raise BadImage(Reason.WRONG_POSITION, f"the image does not say where it lies: {error}") from error


def _cleaned(header: Any) -> Any:
    """Without the distortion of raw frames that resampled images drag along: without -SIP in CTYPE it is void."""
    if "A_ORDER" not in header or str(header.get("CTYPE1", "")).strip().endswith("-SIP"):
        return header
    header = header.copy()
    for keyword in ("A_ORDER", "B_ORDER", "AP_ORDER", "BP_ORDER"):
        header.remove(keyword, ignore_missing=True)
    return header


def _placed(sky: WCS, shape: tuple[int, int]) -> Placement:
    height, width = shape
    x, y = (width - 1) / 2, (height - 1) / 2
    around = np.array([[x, y], [x - 0.5, y], [x + 0.5, y], [x, y - 0.5], [x, y + 0.5]])
    lon, lat = sky.all_pix2world(around, 0).T[:: 1 if sky.wcs.lng == 0 else -1]
    frame = wcs_to_celestial_frame(sky)
    if frame.name not in ("icrs", "fk5"):  # FK5 at J2000 is ICRS to 0.03 arcsec
        turned = SkyCoord(lon, lat, unit="deg", frame=frame).icrs
        lon, lat = turned.ra.deg, turned.dec.deg
    points = _vectors(lon, lat)
    east, north = _axes(float(lon[0]), float(lat[0]))
    along = (np.stack([points[2] - points[1], points[4] - points[3]], axis=1)) * ARCSEC  # (3, 2)
    jacobian = np.stack([east @ along, north @ along])
    if not (np.isfinite(jacobian).all() and abs(np.linalg.det(jacobian)) > 0):
        raise ValueError("its coordinates are not finite")
    return Placement(sky, shape, float(lon[0]) % 360, float(lat[0]), jacobian)


def _vectors(ra: Any, dec: Any) -> NDArray[np.float64]:
    """Unit vectors (..., 3) of positions in degrees."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def _axes(ra: float, dec: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The unit vectors towards east and north at a position."""
    ra, dec = math.radians(ra), math.radians(dec)
    east = np.array([-math.sin(ra), math.cos(ra), 0.0])
    north = np.array([-math.sin(dec) * math.cos(ra), -math.sin(dec) * math.sin(ra), math.cos(dec)])
    return east, north


def check_placement(place: Placement, asked: Request, turn: float | None = TURN) -> None:
    """Raise WRONG_POSITION or WRONG_SCALE unless an image lies where, and is as wide as, it was asked to.

    The centre may be off by 1 arcsec, or by half a pixel along both axes (an image of even width has no middle pixel);
    the scale by 1% along each axis; the columns may point ``turn`` degrees away from north (None: anywhere). A
    mirrored image is refused, because spirals would wind the wrong way.
    """
    check_scale(place, asked)
    aim = _vectors(asked.ra, asked.dec)
    off = aim - _vectors(place.ra, place.dec)
    distance = 2 * math.asin(min(1.0, float(np.linalg.norm(off)) / 2)) * ARCSEC
    east, north = _axes(place.ra, place.dec)
    pixels = np.abs(np.linalg.solve(place.jacobian, np.array([off @ east, off @ north]) * ARCSEC))
    if distance > CENTRE + 1e-3 and not (distance < 600 and (pixels < 0.505).all()):
        where = (
            f"centred on {place.ra:.5f} {place.dec:+.5f}, {distance:.4g} arcsec from {asked.ra:.5f} {asked.dec:+.5f}"
        )
        raise BadImage(Reason.WRONG_POSITION, where)
    if place.mirrored:
        raise BadImage(Reason.WRONG_POSITION, "the image is mirrored: east lies to the right of north")
    if turn is not None and abs(place.turn) > turn:
        raise BadImage(Reason.WRONG_POSITION, f"the image is turned by {place.turn:.3g} degrees from north")


def check_scale(place: Placement, asked: Request) -> None:
    """Raise WRONG_SCALE unless the pixels are as wide along both axes, to 1%, as those asked for."""
    for axis, scale in zip("xy", place.scales, strict=True):
        if abs(scale / asked.pixel_scale - 1) > SCALE:
            detail = f"{scale:.5g} arcsec per pixel along {axis} where {asked.pixel_scale:.5g} were asked for"
            raise BadImage(Reason.WRONG_SCALE, detail)


def upright(pixels: NDArray[Any], place: Placement) -> NDArray[Any]:
    """The last two axes flipped and turned by quarters, so that north is up to 45 degrees and east is to its left.

    No pixel is resampled. "Up" is growing y, the last row of the array, as in FITS.
    """
    jacobian = place.jacobian
    if place.mirrored:
        pixels, jacobian = pixels[..., ::-1], jacobian * np.array([-1.0, 1.0])
    turn = math.degrees(math.atan2(jacobian[0, 1], jacobian[1, 1]))
    quarters = round(turn / 90) % 4
    return np.rot90(
        pixels, k=-quarters, axes=(-2, -1)
    )  # rot90 turns to the left with row 0 on top; here y grows upwards


def cut(plane: NDArray[Any], place: Placement, ra: float, dec: float, side: int) -> NDArray[np.float32]:
    """The (side, side) pixels of a plane (H, W) around a position, whole pixels, NaN beyond its edge.

    The position lies within half a pixel of the square's middle. Raises NO_COVERAGE where the position is off the
    plane.
    """
    height, width = plane.shape
    x, y = place.pixel(ra, dec)
    if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
        raise BadImage(Reason.NO_COVERAGE, f"{ra:.5f} {dec:+.5f} lies off the image")
    left, low = round(x - (side - 1) / 2), round(y - (side - 1) / 2)
    square = np.full((side, side), np.nan, np.float32)
    x0, x1, y0, y1 = max(left, 0), min(left + side, width), max(low, 0), min(low + side, height)
    square[y0 - low : y1 - low, x0 - left : x1 - left] = plane[y0:y1, x0:x1]
    return square
