"""The user's own tiles: which files belong together, and where on the sky each lies, by their headers alone."""

from __future__ import annotations

import glob
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame
from numpy.typing import NDArray

from ..errors import BadImage, BadStore
from ..galaxy.fits import told_bands
from ..galaxy.strict import locked, strictly
from ..galaxy.wcs import WIDEST

IMAGE, WEIGHT, MASK = "image", "weight", "mask"
_SAME = 0.1  # px by which the world coordinates of a tile's files may differ


@dataclass(frozen=True)
class Sheet:
    """One file of a tile: its image is HDU ``index``, of which ``planes`` are wanted, under ``names``."""

    path: Path
    kind: str
    index: int
    planes: tuple[int, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Tile:
    """One part of the sky: its files, the shape (height, width) that they share, and where it lies.

    ``pixel_scale`` is that of its centre, arcsec; ``direction`` the unit vector (3,) of its centre, ICRS; ``radius``
    the length of the chord from there to its farthest corner.
    """

    name: str
    sheets: tuple[Sheet, ...]
    shape: tuple[int, int]
    pixel_scale: float
    units: str
    wcs: WCS
    direction: NDArray[np.float64]
    radius: float

    @property
    def bands(self) -> tuple[str, ...]:
        """The names of the planes of the images, without weights and masks."""
        return tuple(name for sheet in self.sheets if sheet.kind == IMAGE for name in sheet.names)

    def pixel(self, sky: SkyCoord) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(x, y) of positions, float64 (N,), from 0 at the first pixel's centre; NaN where there is none."""
        with locked(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = sky.transform_to(wcs_to_celestial_frame(self.wcs)).spherical
            lon, lat = frame.lon.deg, frame.lat.deg
            first, second = (lon, lat) if self.wcs.wcs.lng == 0 else (lat, lon)
            x, y = self.wcs.all_world2pix(first, second, 0, quiet=True)
        return x, y


def find_tiles(
    images: str, weights: str | None = None, masks: str | None = None, bands: tuple[str, ...] | None = None
) -> list[Tile]:
    """The tiles that patterns name, by name; ``*`` stands for a tile's name, ``{band}`` for a band's.

    Files of ``weights`` and ``masks`` belong to the image whose stars stand for the same text; the pattern of the
    images never takes them. ``bands`` choose among those that file names or headers tell, else name the planes.
    Raises :class:`~tuningfork.errors.BadStore` where nothing fits, a file is missing, is no image with world
    coordinates, or lies otherwise than the others of its tile.
    """
    found: dict[str, dict[tuple[str, str], Path]] = {}
    taken: set[Path] = set()
    for kind, pattern in ((MASK, masks), (WEIGHT, weights), (IMAGE, images)):
        for name, band, path in _matches(pattern, bands) if pattern else ():
            if path not in taken:
                taken.add(path)
                found.setdefault(name, {})[kind, band] = path
    chosen = {name: files for name, files in sorted(found.items()) if any(kind == IMAGE for kind, _ in files)}
    if not chosen:
        raise BadStore(f"no file fits '{images}'; * stands for anything in a name, {{band}} for the name of a band")
    told = sorted({band for files in chosen.values() for kind, band in files if kind == IMAGE})
    order = [band for band in bands if band in told] if bands and told != [""] else told
    wanted = [(IMAGE, band) for band in order]
    for kind, pattern in ((WEIGHT, weights), (MASK, masks)):
        wanted += [(kind, band) for band in (order if pattern and "{band}" in pattern else [""] if pattern else [])]
    return [_tile(name, {key: _file(files, key, name) for key in wanted}, bands) for name, files in chosen.items()]


def _file(files: dict[tuple[str, str], Path], key: tuple[str, str], name: str) -> Path:
    if key not in files:
        kind, band = key
        what = f"{kind} of band '{band}'" if band else kind
        there = ", ".join(str(path) for path in files.values())
        raise BadStore(f"tile '{name}' has no {what}; there is {there}")
    return files[key]


def _matches(pattern: str, bands: tuple[str, ...] | None) -> Iterator[tuple[str, str, Path]]:
    """(what the stars stand for, band, path) of every file that fits a pattern."""
    letters = "|".join(map(re.escape, bands)) if bands else "[A-Za-z0-9]+"
    expression, seen = "", False
    for piece in re.split(r"(\*|\{band\})", os.path.normpath(pattern)):
        if piece == "{band}":
            expression += "(?P=band)" if seen else f"(?P<band>{letters})"
            seen = True
        else:
            expression += "([^/]*)" if piece == "*" else re.escape(piece)
    wild = glob.escape(os.path.normpath(pattern)).replace("[*]", "*").replace("{band}", "*")
    for path in sorted(glob.glob(wild)):
        match = re.fullmatch(expression, path)
        if match and os.path.isfile(path):
            band = match.groupdict().get("band", "")
            stars = [text for number, text in enumerate(match.groups(), 1) if number != match.re.groupindex.get("band")]
            yield "*".join(stars), band, Path(path)


def _tile(name: str, files: dict[tuple[str, str], Path], bands: tuple[str, ...] | None) -> Tile:
    """One tile by the headers of its files, which have to lie alike."""
    sheets: list[Sheet] = []
    first: Tile | None = None
    for (kind, band), path in files.items():
        index, header, shape, primary = _header(path)
        count = shape[0] if len(shape) == 3 else 1
        sheets.append(Sheet(path, kind, index, *_names(kind, band, count, header, primary, bands, path)))
        if first is None:
            first = _placed(name, path, header, shape[-2:])
        elif shape[-2:] != first.shape or not _alike(first, header):
            raise BadStore(
                f"'{path}' has {shape[-1]} x {shape[-2]} px, or lies elsewhere, than the other files of its tile: "
                "bring them to one grid first, or gather them apart"
            )
    assert first is not None
    names = [one for sheet in sheets for one in sheet.names]
    if len(set(names)) < len(names):
        raise BadStore(f"the files of '{sheets[0].path}' give two planes of one name: {', '.join(names)}")
    return Tile(**vars(first) | {"sheets": tuple(sheets)})


def _header(path: Path) -> tuple[int, Any, tuple[int, ...], Any]:
    """(HDU, its header, its shape, primary header) of the first image, preferably one with a place on the sky."""
    try:
        with (
            strictly("FITS"),
            open(path, "rb") as file,
            fits.open(file) as hdus,
        ):  # headers only; pixels come through the door
            images = [
                (number, hdu.header, tuple(side for side in hdu.shape if side > 1))
                for number, hdu in enumerate(hdus)
                if isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU) and len(hdu.shape) >= 2
            ]
            primary = hdus[0].header
    except (BadImage, OSError) as error:
        raise BadStore(f"the tile '{path}' cannot be read: {error}") from error
    images = [image for image in images if len(image[2]) in (2, 3)]
    if not images:
        raise BadStore(f"the tile '{path}' holds no image of two or three axes")
    index, header, shape = next((image for image in images if _wcs(image[1]) is not None), images[0])
    return index, header, shape, primary


def _names(
    kind: str, band: str, count: int, header: Any, primary: Any, bands: tuple[str, ...] | None, path: Path
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """(planes wanted, their names) of one file."""
    told = (band,) if band else told_bands(header, primary, count) if kind == IMAGE else ()
    suffix = "" if kind == IMAGE else f"_{kind}"
    if band and count == 1:
        return (0,), (band + suffix,)
    if kind != IMAGE:
        numbered = tuple(kind if count == 1 else f"{bands[plane] if bands and len(bands) == count else plane}{suffix}"
                         for plane in range(count))  # fmt: skip
        return tuple(range(count)), numbered
    if told and len(told) == count and (bands is None or set(bands) <= set(told)):
        return tuple(told.index(one) for one in bands or told), tuple(bands or told)
    if bands is not None and len(bands) == count and not told:
        return tuple(range(count)), bands
    said = f"tells the bands {', '.join(told)}" if told else "does not tell their names"
    raise BadStore(f"the tile '{path}' has {count} plane(s) and {said}: name the bands with --bands (or {{band}})")


def _wcs(header: Any) -> WCS | None:
    """The world coordinates of a header that tells all it needs; wcslib would put 0 for what is missing."""
    told = all(isinstance(header.get(f"{word}{axis}"), int | float) for word in ("CRVAL", "CRPIX") for axis in (1, 2))
    if not told or not all(str(header.get(f"CTYPE{axis}", "")).strip() for axis in (1, 2)):
        return None
    try:
        with locked(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if "A_ORDER" in header and not str(header["CTYPE1"]).strip().endswith("-SIP"):
                header = header.copy()  # without -SIP the coefficients are void: see galaxy/wcs.py
                for keyword in ("A_ORDER", "B_ORDER", "AP_ORDER", "BP_ORDER"):
                    header.remove(keyword, ignore_missing=True)
            wcs = WCS(header, naxis=2)
            return wcs if wcs.has_celestial else None
    except Exception:  # of which wcslib has a dozen
        return None


def _placed(name: str, path: Path, header: Any, shape: tuple[int, ...]) -> Tile:
    """The tile without its files; the pixel scale is the root of the area of its central pixel."""
    wcs, (height, width) = _wcs(header), shape
    if wcs is not None:
        x, y = (width - 1) / 2, (height - 1) / 2
        around = np.array([[x, y], [x - 0.5, y], [x + 0.5, y], [x, y - 0.5], [x, y + 0.5]])
        centre, left, right, below, above = _directions(wcs, around)
        scale = 3600 * np.degrees(np.sqrt(np.linalg.norm(np.cross(right - left, above - below))))
        reach = np.linalg.norm(_directions(wcs, _corners(height, width)) - centre, axis=1).max()
        if 0 < scale < WIDEST and np.isfinite(reach):  # WIDEST: a header without a scale means a degree a pixel
            units = str(header.get("BUNIT", "")).strip()
            return Tile(name, (), (height, width), float(scale), units, wcs, centre, float(reach) * 1.01)
    raise BadStore(f"the tile '{path}' has no usable world coordinates (CTYPE, CRVAL, CRPIX, CD or CDELT)")


def _corners(height: int, width: int) -> NDArray[np.float64]:
    return np.array([[-0.5, -0.5], [width - 0.5, -0.5], [-0.5, height - 0.5], [width - 0.5, height - 0.5]])


def _directions(wcs: WCS, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors (N, 3), ICRS, of pixel positions (N, 2) that count from 0."""
    with locked(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        world = wcs.all_pix2world(pixels, 0)
        lon, lat = world.T if wcs.wcs.lng == 0 else world.T[::-1]
        sky = SkyCoord(lon, lat, unit="deg", frame=wcs_to_celestial_frame(wcs)).icrs
    return np.moveaxis(sky.cartesian.xyz.value, 0, 1)


def _alike(tile: Tile, header: Any) -> bool:
    """Whether another file of the tile lies where the first does; one that tells no place is believed to."""
    wcs = _wcs(header)
    if wcs is None:
        return True
    corners = _corners(*tile.shape)
    apart = np.linalg.norm(_directions(tile.wcs, corners) - _directions(wcs, corners), axis=1).max()
    return bool(np.degrees(apart) * 3600 <= _SAME * tile.pixel_scale)
