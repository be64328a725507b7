"""The camera of the lens hunters: the CFHT Legacy Survey as Space Warps' volunteers saw it, and its colour picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import BandError, RecipeError
from .picture import picture
from .survey import SURVEYS, SimulatedSurvey

CFHTLS = SimulatedSurvey(
    name="cfhtls",
    bands=("g", "r", "i"),
    size=161,
    pixel_scale=0.186,
    zero_point=30.0,
    # counts, from 5 sigma depths of 25.2, 25.5, 24.9, 24.5, 23.5 mag for stars in an aperture of 2 arcsec across, near
    # those of the Wide survey (Cuillandre et al. 2012); gains from dark skies of 22, 21, 20 mag per square arcsec
    noise={"u": 1.7, "g": 1.32, "r": 2.3, "i": 3.3, "z": 8.3, "Y": 20.0},
    gain={"u": 30.0, "g": 31.0, "r": 26.0, "i": 32.0, "z": 25.0, "Y": 10.0},
    psf_fwhm={"u": 0.85, "g": 0.79, "r": 0.72, "i": 0.65, "z": 0.68, "Y": 0.70},
    psf_scatter=0.09,
    psf_beta=3.4,
    registration=0.0,
    noise_blend=0.12,  # stacking has blended the noise of neighbours
    field=0.0,
    white=1.7,
    magnitudes=(17.0, 21.8),
    slope=0.3,
    crowd=45.0,
    stars=0.15,
    faintest=25.2,
)
"""30 arcsec across at 0.186 arcsec per pixel: the stamps of Space Warps (Marshall et al. 2016, MNRAS 455, 1171)."""

LENS_SURVEYS = ("cfhtls", *SURVEYS)
"""The names that lenses can be simulated for; all at the survey's own pixel scale."""

FIELD = 30.0
"""The side of a stamp in arcsec unless told otherwise."""

WEIGHTS = {"i": 0.5, "r": 0.56, "g": 1.6}
"""How red, green and blue are weighted: nearly the scales of Space Warps' own pictures, under which arcs are blue."""

SOFTENING = 0.2
BLACK = (-0.2, -0.25, -0.3)  # of red, green and blue in deviations of their sky: the pictures cut most of the noise off


def find_lens_survey(name: str | SimulatedSurvey) -> SimulatedSurvey:
    """The survey of this name, at its own pixel scale; one of the user's own passes through likewise.

    Raises RecipeError on an unknown name.
    """
    if isinstance(name, SimulatedSurvey):
        found = name
    elif name == CFHTLS.name:
        found = CFHTLS
    elif name in SURVEYS:
        found = SURVEYS[name]
    else:
        raise RecipeError(f"no survey {name!r} to simulate lenses for: choose one of {', '.join(LENS_SURVEYS)}")
    return replace(found, field=0.0)


def lens_picture(flux: np.ndarray, bands: tuple[str, ...], survey: SimulatedSurvey) -> np.ndarray:
    """Counts (bands, height, width) at the native pixel scale as a colour picture (height, width, 3), uint8.

    For "cfhtls" with the colours, contrast and black sky of Space Warps: Lupton et al. (2004) with the weights
    :data:`WEIGHTS`, each colour cut off at white by itself, so that bright cores are white; for the others as Sloan's
    servers do it. The stretch is absolute: it depends on no other galaxy, nor on what is in the stamp.
    Raises BandError where g, r or i is missing.
    """
    if survey.name != CFHTLS.name:
        return picture(flux, bands, survey, survey.pixel_scale)
    missing = [band for band in WEIGHTS if band not in bands]
    if missing:
        raise BandError(f"a colour picture needs bands g, r and i; {', '.join(missing)} not among {list(bands)}")
    unit = 10 ** (0.4 * (survey.zero_point - 22.5)) * survey.pixel_scale**2  # nanomaggies per square arcsec to counts
    span = np.float32(survey.white * unit)
    planes = [
        np.maximum(flux[bands.index(band)] - black * survey.noise[band], 0) * np.float32(weight) / span
        for black, (band, weight) in zip(BLACK, WEIGHTS.items(), strict=True)
    ]
    colours = np.stack(planes, -1).astype(np.float32)
    intensity = np.maximum(colours.mean(-1, keepdims=True), np.float32(1e-9))
    colours *= np.arcsinh(intensity / SOFTENING) / (np.arcsinh(1 / SOFTENING) * intensity)
    return np.rint(255 * np.minimum(colours, 1)).astype(np.uint8)
