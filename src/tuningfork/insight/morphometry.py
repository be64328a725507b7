"""Morphometry: the shape of one galaxy in numbers by photutils and statmorph, an independent check beside a network.

Measures and their sources (statmorph, Rodriguez-Gomez et al. 2019, MNRAS 483, 4140, with its defaults):

* Gini and M20: Lotz, Primack & Madau 2004, AJ 128, 163, equations 6 and 8; F(G, M20) for bulge and merger: Snyder et
  al. 2015, MNRAS 454, 1886;
* concentration, asymmetry, smoothness (CAS): Conselice 2003, ApJS 147, 1, equations 10, 11 and 14;
* multimode, intensity, deviation (MID): Freeman et al. 2013, MNRAS 434, 282;
* shape asymmetry: Pawlik et al. 2016, MNRAS 456, 3032; outer asymmetry: Wen, Zheng & An 2014, ApJ 787, 130;
* Sersic's profile I(r) = I_e exp(-b_n ((r / R_e)^(1/n) - 1)), least squares over the pixels of the stamp; drawn at the
  middles of pixels, so that without a PSF the nucleus of a steep profile is missed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..errors import BadImage, MissingExtra, Reason, RecipeError
from ..galaxy.decode import COLOUR, GREY
from ..galaxy.light import light
from ..galaxy.steadydraws import steady_draws
from .morphometryplots import draw
from .segmentation import GALAXY, Segmentation, segment

LUMA = (0.299, 0.587, 0.114)  # of red, green, blue: ITU-R BT.601, that of JPEG itself
LUMINANCE, SUM = "luminance", "sum"
REDDISH = ("r", "rp", "rband", "rmag", "f606w", "f625w", "f622w", "vis")  # names of bands at about 620 nm, lower case
MISSING = -99.0  # what statmorph writes where it has no value

# name -> (unit, what it is); of those with the unit "px" the pixels are the source's, x from 0, rows as they are stored
COLUMNS: dict[str, tuple[str, str]] = {
    "x": ("pix", "column of the centre of least asymmetry, from 0"),
    "y": ("pix", "row of the centre of least asymmetry, from 0"),
    "ellipticity": ("", "1 - short by long axis, of the second moments"),
    "orientation": ("deg", "of the long axis, from x towards growing y"),
    "rpetro_circ": ("pix", "Petrosian radius in circles"),
    "rpetro_ellip": ("pix", "Petrosian half axis in ellipses"),
    "rhalf_circ": ("pix", "radius of half the light in circles"),
    "rhalf_ellip": ("pix", "half axis of half the light in ellipses"),
    "r20": ("pix", "radius of 20% of the light within 1.5 Petrosian radii"),
    "r50": ("pix", "radius of 50% of it"),
    "r80": ("pix", "radius of 80% of it"),
    "flux_ellip": ("", "light within 2 Petrosian half axes, in the plane's units"),
    "gini": ("", "Gini coefficient of the pixels"),
    "m20": ("", "log of the second moment of the brightest 20% of the light by that of all"),
    "gini_m20_bulge": ("", "F(G, M20), higher for bulges"),
    "gini_m20_merger": ("", "S(G, M20), above 0 for mergers"),
    "concentration": ("", "5 log10(r80 / r20)"),
    "asymmetry": ("", "against half a turn, less that of the sky"),
    "smoothness": ("", "light in small structures, less that of the sky: clumpiness"),
    "multimode": ("", "second by first region of light"),
    "intensity": ("", "second by first peak"),
    "deviation": ("", "distance of the brightest peak from the centroid"),
    "outer_asymmetry": ("", "asymmetry outside of half the light"),
    "shape_asymmetry": ("", "asymmetry of the outline"),
    "sn_per_pixel": ("", "mean light by noise of the galaxy's pixels"),
    "sersic_n": ("", "Sersic index"),
    "sersic_rhalf": ("pix", "half-light half axis of the Sersic model"),
    "sersic_amplitude": ("", "brightness of the Sersic model there, in the plane's units"),
    "sersic_x": ("pix", "column of its centre, from 0"),
    "sersic_y": ("pix", "row of its centre, from 0"),
    "sersic_ellip": ("", "its ellipticity"),
    "sersic_theta": ("deg", "its orientation, from x towards growing y"),
    "sersic_chi2_dof": ("", "chi squared by degrees of freedom; 1 where noise is all that is left"),
    "sky": ("", "level of the sky, in the plane's units"),
    "noise": ("", "standard deviation of the sky, in the plane's units"),
}
_OTHERWISE = {
    "x": "xc_asymmetry",
    "y": "yc_asymmetry",
    "ellipticity": "ellipticity_asymmetry",
    "orientation": "orientation_asymmetry",
    "sersic_x": "sersic_xc",
    "sersic_y": "sersic_yc",
}
_ANGLES, _FLUXES = ("orientation", "sersic_theta"), ("flux_ellip", "sersic_amplitude")


@dataclass(frozen=True, eq=False)
class Morphometry:
    """The measures of one galaxy, what they were made of, and what their makers warned of.

    ``values`` has the names of :data:`COLUMNS`; NaN where the library had none. ``flag`` is statmorph's: 0 good, 1
    suspect, 2 bad, 4 nothing could be measured; ``flag_sersic`` likewise of the fit alone. ``warnings`` are the
    libraries' own words, each once. ``band`` says which plane was measured; ``stretched``: of a picture, not of flux,
    so that only measures of pictures of the same stretch compare. ``segmentation`` has the pixels; ``psf`` is the
    kernel (odd, odd) of the fit, or None.
    """

    values: dict[str, float]
    flag: int
    flag_sersic: int
    warnings: tuple[str, ...]
    band: str
    stretched: bool
    segmentation: Segmentation
    psf: NDArray[np.float64] | None = None

    def row(self) -> dict[str, float | int | str | bool | None]:
        """One row of a table: band, stretched, flags, warnings, then :data:`COLUMNS`; None where there is no value."""
        told = "; ".join(self.warnings)
        first: dict[str, float | int | str | bool | None] = {
            "band": self.band,
            "stretched": self.stretched,
            "flag": self.flag,
            "flag_sersic": self.flag_sersic,
        }
        numbers = {name: self.values[name] if math.isfinite(self.values[name]) else None for name in COLUMNS}
        return {**first, "warnings": told or None, **numbers}

    def __str__(self) -> str:
        """The measures as one line of text."""
        named = (("G", "gini"), ("M20", "m20"), ("C", "concentration"), ("A", "asymmetry"), ("S", "smoothness"))
        shape = ", ".join(f"{short} {_number(self.values[name])}" for short, name in named)
        fit = f"Sersic n {_number(self.values['sersic_n'])}, R_e {_number(self.values['sersic_rhalf'])} px"
        flags = f"flag {self.flag}, flag_sersic {self.flag_sersic}"
        seen = f"{self.band}{', a stretched picture' if self.stretched else ''}"
        return f"{shape}; {fit}; ellipticity {_number(self.values['ellipticity'])}; {flags} ({seen})"

    def model(self) -> NDArray[np.float64]:
        """The Sersic model (height, width) in the plane's units, convolved with the PSF; NaN where there is no fit."""
        from astropy.modeling.models import Sersic2D

        shape = self.segmentation.light.shape
        chosen = ("amplitude", "rhalf", "n", "x", "y", "ellip", "theta")
        amplitude, radius, n, x, y, ellip, theta = (self.values[f"sersic_{one}"] for one in chosen)
        if not math.isfinite(n):
            return np.full(shape, np.nan)
        rows, columns = np.indices(shape, np.float64)
        drawn = Sersic2D(amplitude, radius, n, x, y, ellip, math.radians(theta))(columns, rows)
        if self.psf is not None:
            import scipy.signal

            drawn = scipy.signal.fftconvolve(drawn, self.psf / self.psf.sum(), mode="same")
        return np.asarray(drawn, np.float64)

    def figure(self) -> Figure:
        """The plane, the segmentation, the Sersic model and what it leaves, as four panels over one line of text."""
        return draw(self.segmentation, self.model(), self.values, self.band, self.stretched, str(self))


def measure_image(
    pixels: NDArray[Any],
    *,
    bands: Sequence[str] = (),
    band: str = "",
    psf: float | NDArray[Any] | None = None,
    gain: float | None = None,
) -> Morphometry:
    """Measure the galaxy nearest the middle of an image.

    Args:
        pixels: (height, width), or (bands, height, width); uint8 are a stretched picture, all else is flux, in which
            what is not finite has no data.
        bands: names of the planes. ``band``: which is measured, see :func:`chosen_plane`.
        psf: full width at half maximum in px, of a Gaussian, or a kernel (odd, odd), with which the Sersic model is
            convolved. None: the model is that of the picture as it is, seeing and all.
        gain: electrons per unit of the plane: the noise is then sqrt(sky noise^2 + |light| / gain); else that of the
            sky alone, everywhere.

    All measures but the fluxes are those of the plane divided by its noise, so that units do not matter. The random
    starts of MID have a fixed seed. Raises BadImage: what :func:`segment` does, MISSING_BAND, and FAILED where
    statmorph fails; :class:`RecipeError` for a psf or gain that cannot be; :class:`MissingExtra`.
    """
    plane, name, stretched = chosen_plane(pixels, bands, band)
    kernel = psf_kernel(psf)
    if gain is not None and not (math.isfinite(gain) and gain > 0):
        raise RecipeError(f"the gain is {gain!r}; it must be a positive number of electrons per unit of the image")
    parts = segment(plane)
    found, told = _statmorph(parts, kernel, gain)
    values = {one: _value(found, one) for one in COLUMNS if one not in ("sky", "noise")}
    for one in _FLUXES:
        values[one] *= parts.noise
    for one in _ANGLES:
        values[one] = math.degrees(values[one]) % 180
    values |= {"sky": parts.sky, "noise": parts.noise}
    told += _odd_fit(values)
    if not parts.found.whole:
        told.append("the light has not fallen off where the picture ends")
    return Morphometry(values, int(found.flag), int(found.flag_sersic), tuple(told), name, stretched, parts, kernel)


def chosen_plane(pixels: NDArray[Any], bands: Sequence[str] = (), band: str = "") -> tuple[NDArray[Any], str, bool]:
    """The plane to measure (height, width), its name, and whether it is a stretched picture.

    ``band`` "" means: of a colour picture its luminance (0.299 red + 0.587 green + 0.114 blue); of flux the one band,
    or the one named like r, or else the sum ("sum") of all, each less its sky and divided by its noise
    (:func:`~tuningfork.galaxy.light.light`). Raises BadImage (MISSING_BAND, WRONG_SHAPE).
    """
    planes = pixels[None] if pixels.ndim == 2 else pixels
    if planes.ndim != 3:
        raise BadImage(Reason.WRONG_SHAPE, f"not (height, width) or (bands, height, width) but {pixels.shape}")
    stretched = planes.dtype == np.uint8
    usual = GREY if len(planes) == 1 else COLOUR if stretched and len(planes) == 3 else ()
    names = tuple(bands) or (usual if stretched else tuple(f"band{n}" for n in range(len(planes))))
    if len(names) != len(planes):
        raise BadImage(Reason.WRONG_SHAPE, f"{len(planes)} planes, but the bands {', '.join(names) or 'have no names'}")
    if band in names:
        return planes[names.index(band)], band, stretched
    if stretched and band in ("", LUMINANCE):
        if len(planes) == 1:
            return planes[0], names[0], True
        if names == COLOUR:
            grey = np.tensordot(np.array(LUMA, np.float32), planes.astype(np.float32), 1)
            return np.rint(grey).astype(np.uint8), LUMINANCE, True
    if not stretched and band in ("", SUM):
        reddish = [one for one in names if one.lower() in REDDISH]
        if not band and (len(names) == 1 or reddish):
            chosen = names[0] if len(names) == 1 else reddish[0]
            return planes[names.index(chosen)], chosen, False
        return light(np.asarray(planes, np.float32))[0], SUM, False
    kinds = LUMINANCE if stretched else SUM
    raise BadImage(Reason.MISSING_BAND, f"no band '{band}': it has {', '.join(names)}, and {kinds}")


def _odd_fit(values: Mapping[str, float]) -> list[str]:
    """What speaks against a Sersic fit that ended as it should: a centre elsewhere, or another size than the galaxy's.

    By a quarter of the radius of half the light and at least 2 px, and by a factor of two: a smooth galaxy's fit
    misses its centre by a fraction of a pixel, and its size by less than a half (wings beyond the aperture).
    """
    half, size = values["r50"], values["sersic_rhalf"]
    off = math.hypot(values["sersic_x"] - values["x"], values["sersic_y"] - values["y"])
    told = []
    if off > max(2.0, half / 4):
        told.append(f"the Sersic model's centre is {off:.1f} px from the galaxy's")
    if size > 2 * half or size < half / 2:
        told.append(f"the Sersic model's half-light half axis is {size / half:.2g} times the radius of half the light")
    return told


def psf_kernel(psf: float | NDArray[Any] | None) -> NDArray[np.float64] | None:
    """A point spread function as a kernel (odd, odd) that sums to 1: of a Gaussian's FWHM in px, or as it is given."""
    if psf is None:
        return None
    if np.ndim(psf) == 0:
        width = float(np.asarray(psf))
        if not (math.isfinite(width) and 0.1 <= width <= 100):
            raise RecipeError(f"the PSF's full width at half maximum is {width:g} px; it may be 0.1 to 100")
        sigma, reach = width / 2.3548, math.ceil(2.5 * width)
        line = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        kernel = np.outer(line, line)
    else:
        kernel = np.asarray(psf, np.float64)
    if kernel.ndim != 2 or kernel.shape[0] % 2 == 0 or kernel.shape[1] % 2 == 0:
        raise RecipeError(f"a PSF's image has one plane with odd sides, its peak in the middle, not {kernel.shape}")
    if not np.isfinite(kernel).all() or not kernel.sum() > 0:
        raise RecipeError("the PSF's image must be finite, with a positive sum")
    return kernel / kernel.sum()


def _statmorph(parts: Segmentation, kernel: NDArray[np.float64] | None, gain: float | None) -> tuple[Any, list[str]]:
    """statmorph's measures of the plane in units of its noise, and what was warned of."""
    try:
        from statmorph import SourceMorphology
    except ImportError as error:
        raise MissingExtra("statmorph", "insight") from error
    image = parts.light / parts.noise
    sigma = np.ones_like(image) if gain is None else np.sqrt(1 + np.abs(image) / (gain * parts.noise))
    with warnings.catch_warnings(record=True) as heard, steady_draws():
        warnings.simplefilter("always")
        try:
            found = SourceMorphology(image, parts.labels, GALAXY, mask=parts.masked, weightmap=sigma, psf=kernel)
        except Exception as error:  # assertions and index errors of odd shapes: one galaxy's, not the run's
            detail = f"statmorph: {type(error).__name__}: {error}"
            raise BadImage(Reason.FAILED, detail) from error
    # numpy's own warnings are left out: what came of them stands in the flags
    texts = [str(one.message) for one in heard if not issubclass(one.category, RuntimeWarning)]
    return found, list(dict.fromkeys(texts))


def _value(found: Any, name: str) -> float:
    value = float(getattr(found, _OTHERWISE.get(name, name)))
    return value if math.isfinite(value) and value != MISSING else math.nan


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "none"
