"""The DESI Legacy Imaging Surveys: FITS with inverse variance and mask, and colour pictures."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadImage, Reason, RecipeError
from ..galaxy.cutout import Record
from ..network import Network
from .flux import planes_of, proven
from .service import FITS, JPEG, Request, Survey, check_size, get, middle, picture, stacked

INVVAR, MASK = "_invvar", "mask"

Planes = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class LegacyFits(Survey):
    """The viewer's fits-cutout: flux in nanomaggies, with inverse variance and mask as further planes.

    The record's bands are, by name, the flux ("g", "r", "i", "z"), its inverse variance ("g_invvar", ..., in
    1/nanomaggy^2) and the bit mask of the pixels ("mask", the sum of the bits of DR10's MASKBITS, exact in float32); a
    display picks the ones it needs by name. The server resamples onto the grid asked for (tangent plane, north up); the
    flag ``subimage``, native pixels, is not used, because it cuts at the edges of bricks and gives no mask. It clips a
    side to 3000 px without a word, which is refused before asking and found afterwards. No overlap comes as text, with
    status 200 or an error, or as zeros with zero inverse variance: NO_COVERAGE. ``layer`` is "ls-dr10" or another of
    the viewer's layers. NERSC, where it lives, is down for maintenance about once a month.
    """

    layer: str = "ls-dr10"

    def of(self, argument: str) -> LegacyFits:
        """Another layer of the viewer, such as legacy:ls-dr9."""
        return dataclasses.replace(self, name=f"{self.name}:{_layer(argument)}", layer=_layer(argument))

    def _take(self, network: Network, asked: Request, roots: tuple[str, ...]) -> Record:
        flux = list(dict.fromkeys(band.removesuffix(INVVAR) for band in asked.bands if band != MASK))
        flux = flux or list(self.bands[:1])
        wanted = _where(asked, self.layer) | {"bands": "".join(flux)}
        if any(band.endswith(INVVAR) for band in asked.bands):
            wanted["invvar"] = ""
        if MASK in asked.bands:
            wanted["maskbits"] = ""
        fetched = get(network, roots, "viewer/fits-cutout", wanted, accept=FITS)
        planes = _by_name(fetched.data, asked, flux)
        lacking = [band for band in asked.bands if band not in planes]
        if lacking:
            raise BadImage(Reason.MISSING_BAND, f"{', '.join(lacking)} did not come; only {', '.join(planes)}")
        for band in flux:
            if f"{band}{INVVAR}" in asked.bands and not middle(planes[f"{band}{INVVAR}"]).any():
                raise BadImage(Reason.NO_COVERAGE, f"band {band} has no weight in the middle")
        return stacked(asked, [planes[band] for band in asked.bands], asked.bands, [fetched.url])


def _by_name(data: bytes, asked: Request, flux: list[str]) -> Planes:
    """The planes of a cutout under the names of the record's bands, each of them proven."""
    planes: Planes = {}
    for plane, header in planes_of(data):
        kind = str(header.get("IMAGETYP", "IMAGE")).strip().upper()
        pixels = plane.pixels[None] if plane.pixels.ndim == 2 else plane.pixels
        check_size(pixels, asked)
        if kind == "MASKBITS":
            planes[MASK] = pixels[0]
            continue
        told = plane.bands if len(plane.bands) == len(pixels) else tuple(flux)
        if len(told) != len(pixels):
            raise BadImage(Reason.MISSING_BAND, f"{len(pixels)} planes for the bands {', '.join(flux)}")
        for band, pixel in zip(told, pixels, strict=True):
            if kind == "INVVAR":
                planes[f"{band}{INVVAR}"] = pixel
            else:
                proven(pixel, header, asked, band)
                planes[band] = pixel
    return planes


def _where(asked: Request, layer: str) -> dict[str, Any]:
    return {"ra": asked.ra, "dec": asked.dec, "layer": layer, "pixscale": asked.pixel_scale, "size": asked.pixels}


def _layer(argument: str) -> str:
    if not argument.strip() or not argument.strip().replace("-", "").replace(".", "").isalnum():
        raise RecipeError(f"'{argument}' is no layer of the Legacy Surveys' viewer, such as ls-dr10 or ls-dr9")
    return argument.strip()


@dataclass(frozen=True)
class LegacyPicture(Survey):
    """The viewer's jpeg-cutout: the colour picture as it came, north up, any pixel scale, 3000 px at most."""

    layer: str = "ls-dr10"

    def of(self, argument: str) -> LegacyPicture:
        """Another layer of the viewer, such as legacy-jpeg:ls-dr9."""
        return dataclasses.replace(self, name=f"{self.name}:{_layer(argument)}", layer=_layer(argument))

    def _take(self, network: Network, asked: Request, roots: tuple[str, ...]) -> Record:
        fetched = get(network, roots, "viewer/jpeg-cutout", _where(asked, self.layer), accept=JPEG)
        return picture(asked, fetched.data, fetched.url)
