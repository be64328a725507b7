"""What a survey does to a galaxy: bands, pixels, seeing, sky noise, gain, and the sky it was found in."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import BandError, RecipeError

BANDS = ("u", "g", "r", "i", "z", "Y")
"""The filters that the simulator knows, from blue to red."""


@dataclass(frozen=True)
class SimulatedSurvey:
    """One survey's camera and sample.

    ``bands`` and ``size`` (px) are what a stamp has unless told otherwise. Fluxes are counts of which ``zero_point``
    magnitudes (AB) make one: nanomaggies for 22.5. ``noise`` is the sky's standard deviation per native pixel in
    those counts and ``gain`` photo-electrons per count, both by band. ``psf_fwhm`` (arcsec, with the pixel) is the
    median by band, ``psf_scatter`` its spread in ln, ``psf_beta`` the Moffat slope, ``registration`` the arcsec by
    which bands miss each other. ``noise_blend`` is the share a[1] of the kernel (a, 1, a) by which coadding has
    blended the noise of neighbouring pixels. ``field`` is the side of a stamp in Petrosian R90 (0: the native pixel
    scale is kept, whatever the size), ``white`` the brightness in nanomaggies per square arcsec that a picture shows
    as white. ``magnitudes`` (r) and ``slope`` (d log10 N / dm) describe the sample, ``crowd`` the neighbours per
    square arcmin, ``stars`` the share of stars among them and ``faintest`` their last magnitude.
    """

    name: str
    bands: tuple[str, ...]
    size: int
    pixel_scale: float
    zero_point: float
    noise: dict[str, float]
    gain: dict[str, float]
    psf_fwhm: dict[str, float]
    psf_scatter: float
    psf_beta: float
    registration: float
    noise_blend: float
    field: float
    white: float
    magnitudes: tuple[float, float]
    slope: float
    crowd: float
    stars: float
    faintest: float


SDSS = SimulatedSurvey(
    name="sdss",
    bands=("u", "g", "r", "i", "z"),
    size=64,
    pixel_scale=0.396127,
    zero_point=22.5,
    # nanomaggies, from the 5 sigma point-source depths 22.15, 23.13, 22.70, 22.20, 20.71 (sdss.org/dr16/imaging), less
    # a fifth, with which the sky of the pictures agrees with Galaxy Zoo's
    noise={"u": 0.040, "g": 0.017, "r": 0.024, "i": 0.038, "z": 0.136, "Y": 0.240},
    gain={"u": 260.0, "g": 910.0, "r": 860.0, "i": 640.0, "z": 130.0, "Y": 80.0},
    psf_fwhm={"u": 1.46, "g": 1.38, "r": 1.28, "i": 1.22, "z": 1.24, "Y": 1.24},
    psf_scatter=0.10,
    psf_beta=3.2,
    registration=0.045,
    noise_blend=0.0,
    field=5.84,  # 292 pixels of 0.02 R90: the central part of a Galaxy Zoo picture
    white=345.0,
    magnitudes=(13.6, 17.6),
    slope=0.42,
    crowd=14.0,
    stars=0.3,
    faintest=22.8,
)

DES = SimulatedSurvey(
    name="des",
    bands=("g", "r", "i", "z", "Y"),
    size=91,
    pixel_scale=0.263,
    zero_point=30.0,
    # counts of the coadds; medians of the sky in 46 public 91 x 91 cutouts, whose neighbouring pixels correlate by 0.19
    noise={"u": 4.5, "g": 2.82, "r": 3.99, "i": 6.50, "z": 11.7, "Y": 38.0},
    gain={"u": 2.0, "g": 6.0, "r": 5.0, "i": 4.0, "z": 3.0, "Y": 1.0},
    psf_fwhm={"u": 1.25, "g": 1.12, "r": 0.96, "i": 0.88, "z": 0.84, "Y": 0.90},
    psf_scatter=0.06,
    psf_beta=3.6,
    registration=0.02,
    noise_blend=0.0975,
    field=0.0,
    white=110.0,
    magnitudes=(15.5, 21.0),
    slope=0.22,
    crowd=75.0,
    stars=0.18,
    faintest=25.2,
)

SURVEYS: dict[str, SimulatedSurvey] = {"sdss": SDSS, "des": DES}
"""The surveys that can be simulated, by name."""


def find_survey(name: str | SimulatedSurvey) -> SimulatedSurvey:
    """The survey of this name; one of the user's own passes through. Raises RecipeError on an unknown name."""
    if isinstance(name, SimulatedSurvey):
        return name
    if name not in SURVEYS:
        raise RecipeError(f"no survey {name!r} to simulate: choose one of {', '.join(SURVEYS)}")
    return SURVEYS[name]


def check_bands(bands: tuple[str, ...]) -> tuple[str, ...]:
    """Return the bands as they are, or raise BandError if one is unknown, repeated, or there is none."""
    unknown = [band for band in bands if band not in BANDS]
    if unknown or not bands or len(set(bands)) < len(bands):
        raise BandError(f"cannot simulate bands {list(bands)}: take some of {', '.join(BANDS)}, each once")
    return tuple(bands)


def magnitude_offset(band: str, youth: float, redshift: float = 0.0) -> float:
    """The colour (band - r) in mag AB of starlight of a given youth, with a linear K correction.

    ``youth`` runs from 0 (an old, red population: u-r 2.5, g-r 0.76, r-i 0.39) to 1 (young and blue: u-r 0.9, g-r
    0.16, r-i 0.02; as the red sequence and blue cloud of Strateva et al. 2001) and a little beyond for star-forming
    knots. Redshift reddens the old more; beyond 0.6 nothing changes any more.
    """
    old, young = _OLD[band], _YOUNG[band]
    drift_old, drift_young = _DRIFT[band]
    z = min(max(redshift, 0.0), 0.6)
    return (1 - youth) * (old + drift_old * z) + youth * (young + drift_young * z)


_OLD = {"u": 2.50, "g": 0.76, "r": 0.0, "i": -0.39, "z": -0.70, "Y": -0.80}
_YOUNG = {"u": 0.90, "g": 0.16, "r": 0.0, "i": -0.02, "z": 0.02, "Y": 0.04}
_DRIFT = {"u": (1.5, 0.5), "g": (2.3, 0.8), "r": (0.0, 0.0), "i": (-0.6, -0.2), "z": (-0.8, -0.3), "Y": (-0.9, -0.4)}
