"""One band of flux from a service's FITS bytes, proven, placed, and not blank."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadImage, Reason
from ..galaxy.decode import check
from ..galaxy.fits import Plane, read_planes
from .placement import TURN, check_placement, headers, placement
from .service import Request, blank, check_flux, check_size

PLACEHOLDER = "{band}"


def bands_of(name: str) -> tuple[str, ...]:
    """The bands of a survey by the name of its one image ("CDS/P/DSS2/red" has "red"); () for a pattern of many."""
    if PLACEHOLDER in name:
        return ()
    last = re.split(r"[\s/]+", name.strip("/ "))[-1]
    return (last,)


def planes_of(data: bytes) -> list[tuple[Plane, Any]]:
    """The images of FITS bytes with their headers; raises BadImage for what is none."""
    found = headers(data)
    return [(plane, found[plane.index]) for plane in read_planes(data)]


def one_band(data: bytes, asked: Request, band: str, turn: float | None = TURN) -> NDArray[np.float32]:
    """The first image of FITS bytes, (H, W) float32, checked in size, signal, scale, centre and orientation."""
    plane, header = planes_of(data)[0]
    if plane.pixels.ndim != 2:
        detail = f"band {band}: an image of shape {plane.pixels.shape}; colour surveys are to be had as pictures"
        raise BadImage(Reason.WRONG_SHAPE, detail)
    proven(plane.pixels, header, asked, band, turn)
    return plane.pixels


def proven(pixels: NDArray[np.float32], header: Any, asked: Request, band: str, turn: float | None = TURN) -> None:
    """Raise BadImage unless a plane (H, W) is what was asked for."""
    check_size(pixels, asked)
    check_placement(placement(header, (asked.pixels, asked.pixels)), asked, turn)
    check_flux(pixels, band)
    try:
        check(pixels[None])
    except BadImage as error:
        raise blank(error) from error
