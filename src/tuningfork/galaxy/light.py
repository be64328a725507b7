"""The light of a galaxy: one plane of flux, whatever it was seen in, so that one network serves any bands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadImage, Reason
from .cutout import Cutout
from .frame import SourceFound, find_source

LIGHT = ("light",)  # the band of such a plane
SOFTENING = 0.00142  # of SDSS's colour pictures, in shares of white: see simulate/picture.py


def light(flux: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sum of bands (bands, height, width), each less its sky and divided by its noise: float32 (1, height, width).

    One band is itself, whatever its units. Sky and noise are those of :func:`sky_and_noise`; of a band without noise,
    1e-5 of its range stands in. A band of which more than half has no data (not finite), or that is constant, is passed
    over. A pixel without data in some of the others is their sum in the bands that have it; in none, NaN. Raises
    BadImage (NO_COVERAGE) where every band is passed over.
    """
    flux = np.asarray(flux, dtype=np.float32)
    if len(flux) == 1:
        return flux
    total, held = np.zeros(flux.shape[1:], dtype=np.float32), np.zeros(flux.shape[1:], dtype=bool)
    for plane, sky, noise in zip(flux, *sky_and_noise(flux), strict=True):
        known = np.isfinite(plane)
        if known.mean() < 0.5:
            continue
        unit = max(noise, 1e-5 * float(np.ptp(plane[known])))
        if unit > 0:
            total += np.where(known, (plane - np.float32(sky)) / np.float32(unit), np.float32(0))
            held |= known
    if not held.any():
        raise BadImage(Reason.NO_COVERAGE, f"none of {len(flux)} bands has data in half of its pixels, and contrast")
    total[~held] = np.nan
    return total[None]


def unstretched(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The flux that an SDSS picture (bands, height, width) shows: float32 (1, height, width), where white is 1.

    With g the mean of its bands in 0..1 and s = :data:`SOFTENING`, I = s sinh(g asinh(1/s)): what Lupton et al. 2004
    (PASP 116, 133, equation 2) do, undone, but for the rounding to 8 bits (3% of I at white, 4e-5 at black) and for
    what was cut off above white and below black. Of pictures of other stretches it is some monotonic function of flux.
    """
    grey = np.asarray(picture, dtype=np.float32).mean(axis=0, keepdims=True) / np.float32(255)
    return np.asarray(SOFTENING * np.sinh(grey * np.arcsinh(1 / SOFTENING)), dtype=np.float32)


def as_light(cutout: Cutout, *, upside_down: bool = False) -> Cutout:
    """The cutout in the band :data:`LIGHT`: flux by :func:`light`, a picture by :func:`unstretched`.

    ``upside_down`` runs the rows the other way: in FITS files the first is the lowest, in pictures the highest, and
    spirals would wind the other way. Raises BadImage (NO_COVERAGE).
    """
    plane: NDArray[Any] = cutout.pixels
    if cutout.bands != LIGHT:
        plane = unstretched(plane) if cutout.is_picture else light(plane)
    return replace(cutout, pixels=np.ascontiguousarray(plane[:, ::-1] if upside_down else plane), bands=LIGHT)


def find_light(plane: NDArray[Any]) -> SourceFound:
    """The source by which a plane of light (1, height, width) is framed: found in the square root of its flux.

    That is 2 sign(x) (sqrt(1 + |x|) - 1), x the flux above the sky in units of its noise: linear below the noise, and
    above it a power law, so that the radius does not depend on depth. In flux itself Petrosian's ratio falls off behind
    a bright nucleus, and the frame would hold that alone: over 60 galaxies each of Galaxy Zoo 1 and EFIGI the radius in
    flux was 0.38 to 0.85 and 0.07 to 0.88 (5 to 95%) of that in SDSS's picture, this one 0.79 to 1.06 and 0.78 to 1.03.
    Raises what :func:`~tuningfork.galaxy.frame.find_source` does.
    """
    sky, noise = sky_and_noise(plane)
    known = plane[np.isfinite(plane)]
    unit = max(float(noise[0]), 1e-6 * float(np.ptp(known)) if known.size else 0.0) or 1.0
    x = (plane - np.float32(sky[0])) / np.float32(unit)
    return find_source(np.asarray(2 * np.sign(x) * (np.sqrt(1 + np.abs(x)) - 1), dtype=np.float32))


def sky_and_noise(flux: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median, and noise (1.4826 times the median deviation downwards, which galaxies leave alone), of each band.

    Of pixels that are finite; 0 and 0 for a band without any.
    """
    sky, noise = np.zeros(len(flux)), np.zeros(len(flux))
    for band, plane in enumerate(flux):
        finite = plane[np.isfinite(plane)]
        if finite.size:
            sky[band] = np.median(finite)
            noise[band] = 1.4826 * np.median(sky[band] - finite[finite <= sky[band]])
    return sky, noise
