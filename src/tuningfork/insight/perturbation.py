"""Perturbations: the ways in which what a network sees of a galaxy is changed, each by a strength."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ..data.colour import principal_axes, recoloured
from ..data.split import uniform
from ..errors import BadImage, RecipeError
from ..galaxy.cutout import Cutout
from ..galaxy.display import Display, render, stretched

Floats = NDArray[np.float64]
Light = NDArray[np.float32]
Pictures = NDArray[np.uint8]
Change = Callable[[Pictures, slice, float], Pictures]
REDSHIFT = 0.05  # at which "dimming" takes galaxies to be: nearby, with their structure seen
# Of pictures whose stretch is not known: SDSS's show asinh(3 (r + g + b)) / 3 of their light (nw_arcsinh of idlutils,
# by its default; after Lupton et al. 2004, PASP 116, 133), which is Lupton's stretch with this softening.
SOFTENING = 1 / math.sinh(9)
_BORDER = 12  # the sky is sought in a border 1 / 12 of the side wide


@dataclass(frozen=True)
class Perturbation:
    """One way to perturb galaxies.

    ``strength`` says what the number means; ``steps`` are its usual values, from nothing up (none given: 0, 1, ... to
    the number of bands). ``prepare`` looks at all pictures uint8 (N, bands, S, S), their ids and how they were
    displayed, and gives a function of (some of the pictures, which rows of all they are, the strength) to pictures of
    the same shape, which leaves them as they are, bit for bit, at strength 0.
    """

    strength: str
    steps: tuple[float, ...]
    prepare: Callable[[Pictures, Sequence[str], Display], Change]

    def strengths(self, bands: int) -> tuple[float, ...]:
        """Its usual strengths for galaxies of so many ``bands``."""
        return self.steps or tuple(float(k) for k in range(bands + 1))

    @property
    def line(self) -> dict[str, str]:
        """For matplotlib: no line between strengths that are names and no amounts, such as bands."""
        return {} if self.steps else {"linestyle": "none"}


def normal(ids: Sequence[str], purpose: str) -> Floats:
    """A number of the standard normal distribution per id, (N,), by a hash of ``purpose`` and the id.

    It depends neither on the order nor on what other ids there are; ``purpose`` keeps it apart from the hashes by
    which galaxies are split or labels drawn.
    """
    chance = uniform([f"{purpose}:{one}" for one in ids], 0)
    return np.asarray(ndtri(np.clip(chance, 1e-12, 1 - 1e-12)), np.float64)


def grains(ids: Sequence[str], shape: tuple[int, ...], purpose: str) -> Light:
    """White noise of the standard normal distribution, float32 (N, *shape), per id alone as :func:`normal`."""
    seeds = [int.from_bytes(hashlib.sha256(f"{purpose}:{one}".encode()).digest()[:8]) for one in ids]
    return np.stack([np.random.default_rng(seed).standard_normal(shape, np.float32) for seed in seeds])


def turned(images: Pictures, degrees: float) -> Pictures:
    """Pictures (N, C, S, S) turned anticlockwise about their middle; quarter turns move pixels and keep their values.

    Bilinear; what lies outside the picture is its mirror image.
    """
    if degrees % 90 == 0:
        return np.ascontiguousarray(np.rot90(images, round(degrees / 90), axes=(2, 3)))
    angle = math.radians(degrees)
    y, x = _from_centre(images.shape[-1])
    return _eight_bits(
        _sampled(images, x * math.sin(angle) + y * math.cos(angle), x * math.cos(angle) - y * math.sin(angle))
    )


def zoomed(images: NDArray, factor: float) -> Light:
    """Pictures (N, C, S, S) enlarged ``factor`` >= 1 times about their middle, bilinear, float32."""
    y, x = _from_centre(images.shape[-1])
    return _sampled(images, y / factor, x / factor)


def shrink_matrix(size: int, factor: float) -> Light:
    """A (size, size) with which A image A^T is the image shrunk ``factor`` <= 1 times about its middle.

    Exact averages over area: a_ji is the share of output pixel j, 1 / factor wide, that input pixel i covers. Outside
    the shrunken image are zeros. Columns sum to ``factor``, so that the image's sum becomes factor^2 of what it was.
    """
    edges = (np.arange(size + 1) - size / 2) / factor + size / 2  # of the output's pixels, in the input's
    pixel = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return np.asarray(overlap.clip(0) * factor, np.float32)


def distance_ratios(z_from: float, z_to: float) -> tuple[float, float]:
    """How much smaller and how much fainter a galaxy is at redshift ``z_to``: (angle, flux) as ratios to ``z_from``.

    angle = d_A(z_from) / d_A(z_to), flux = (d_L(z_from) / d_L(z_to))^2, in the cosmology of Planck 2018 by astropy. As
    d_L = (1 + z)^2 d_A, surface brightness goes by ((1 + z_from) / (1 + z_to))^4 (Tolman 1930).
    """
    from astropy.cosmology import Planck18  # 0.5 s, which other perturbations are spared

    near, far = (float(Planck18.angular_diameter_distance(z).value) for z in (z_from, z_to))
    return near / far, (near * (1 + z_from) ** 2 / (far * (1 + z_to) ** 2)) ** 2


def dimmed(light: Light, noise: Floats, grain: Light, z_from: float, z_to: float) -> Light:
    """``light`` (N, C, S, S), less its sky, as if its galaxies were at redshift ``z_to`` and not ``z_from``.

    As FERENGI does it (Barden, Jahnke & Haeussler 2008, ApJS 175, 105): shrunk by the ratio of angular diameter
    distances, its sum multiplied by the ratio of fluxes (:func:`distance_ratios`), and as much noise added, ``grain``
    (N, C, S, S) of unit variance, that each pixel has the ``noise`` (N, C) of the survey again: of white noise,
    averaging leaves (A A^T)_jj (A A^T)_kk of the variance. Neither the bandpass's shift, the evolution of galaxies nor
    the point spread, which shrinks with the galaxy here, is corrected for. Raises :class:`RecipeError` for redshifts
    that are not 0 < z_from <= z_to, and where the angle would grow (beyond z = 1.6).
    """
    if not 0 < z_from <= z_to:
        raise RecipeError(f"from redshift {z_from} to {z_to}: a galaxy is dimmed from one above 0 to a larger one")
    angle, flux = distance_ratios(z_from, z_to)
    if angle > 1:
        raise RecipeError(f"at redshift {z_to} a galaxy looks larger than at {z_from}, which dimming does not do")
    matrix = shrink_matrix(light.shape[-1], angle)
    fade = flux / angle**2
    shrunk = np.float32(fade) * (matrix @ light @ matrix.T)
    left = (matrix**2).sum(axis=1)
    missing = np.sqrt((1 - fade**2 * np.outer(left, left)).clip(0)).astype(np.float32)  # (S, S), in noises
    return shrunk + grain * missing * noise[:, :, None, None].astype(np.float32)


def to_light(images: Pictures, display: Display) -> Light:
    """The light that pictures (N, C, S, S) show, in units of what is white: the inverse of the display's stretch.

    Exact where it was not cut off at black or white, but for the rounding to 8 bits. Of pictures (stretch "none") that
    of SDSS's colour pictures is taken (:data:`SOFTENING`).
    """
    shown = images.astype(np.float32) / np.float32(255)
    kind, s = _stretch(display, images.shape[1])
    if kind == "linear":
        return shown
    if kind == "sqrt":
        return shown**2
    if kind == "log":
        return np.float32(s) * np.expm1(shown * np.float32(np.log1p(1 / s)))
    whole = np.float32(np.arcsinh(1 / s))
    if kind == "asinh":
        return np.float32(s) * np.sinh(shown * whole)
    mean = shown.mean(axis=1, keepdims=True)  # lupton: of the bands together
    mean = np.maximum(mean, np.float32(1e-6))
    return shown * (np.float32(s) * np.sinh(mean * whole) / mean)


def from_light(light: Light, display: Display, bands: Sequence[str]) -> Pictures:
    """What the network sees of light (N, C, S, S) from :func:`to_light`.

    Of flux whose display finds its own black and white, these are found again, as they would be for such a galaxy.
    """
    kind, s = _stretch(display, light.shape[1])
    levels = np.zeros(light.shape[1]), np.ones(light.shape[1])
    own = replace(display, size=light.shape[-1], crop=0.0, petrosian=0.0, smooth=0.0, bands=())
    out = np.empty(light.shape, np.uint8)
    for row, one in enumerate(light):
        out[row] = stretched(one, *levels, Display(stretch=kind, softening=s))
        if display.stretch != "none" and not display.limits:
            try:
                out[row] = render(Cutout("", one, tuple(bands)), own)
            except BadImage:
                continue  # no contrast is left: at the levels that it had
    return out


def sky_and_noise(light: Light) -> tuple[Floats, Floats]:
    """Median and standard deviation (1.4826 times the median deviation) of the border of pictures: (N, C) each."""
    side = light.shape[-1]
    edge = np.ones((side, side), bool)
    width = max(1, side // _BORDER)
    edge[width:-width, width:-width] = False
    border = light[:, :, edge].astype(np.float64)
    sky = np.median(border, axis=2)
    return sky, 1.4826 * np.median(np.abs(border - sky[:, :, None]), axis=2)


def _stretch(display: Display, bands: int) -> tuple[str, float]:
    if display.stretch != "none":
        return display.stretch, display.softening
    return ("lupton" if bands == 3 else "asinh"), SOFTENING


def _from_centre(size: int) -> tuple[Floats, Floats]:
    """(y, x) of the pixels' middles from the picture's, (S, S) each."""
    along = np.arange(size) - (size - 1) / 2
    y, x = np.meshgrid(along, along, indexing="ij")
    return y, x


def _sampled(images: NDArray, y: Floats, x: Floats) -> Light:
    """Bilinear values at (y, x) from the middle, (S, S) each; outside, those of the mirror image."""
    size = images.shape[-1]

    def sides(at: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64], Light]:
        at = at + (size - 1) / 2
        first = np.floor(at).astype(np.int64)
        mirror = [np.abs((k + size) % (2 * size) - size + 0.5) - 0.5 for k in (first, first + 1)]
        return mirror[0].astype(np.int64), mirror[1].astype(np.int64), (at - first).astype(np.float32)

    (y0, y1, v), (x0, x1, u) = sides(y), sides(x)
    top = images[:, :, y0, x0] * (1 - u) + images[:, :, y0, x1] * u
    below = images[:, :, y1, x0] * (1 - u) + images[:, :, y1, x1] * u
    return np.asarray(top * (1 - v) + below * v, np.float32)


def _eight_bits(values: NDArray) -> Pictures:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def _colour(images: Pictures, ids: Sequence[str], display: Display) -> Change:
    axis, drawn = principal_axes(images)[-1], normal(ids, "colour")
    return lambda some, rows, strength: recoloured(some, axis, strength * drawn[rows])


def _brightness(images: Pictures, ids: Sequence[str], display: Display) -> Change:
    return lambda some, rows, strength: _eight_bits(some * np.float32(1 + strength))


def _rotation(images: Pictures, ids: Sequence[str], display: Display) -> Change:
    return lambda some, rows, strength: turned(some, strength)


def _zoom(images: Pictures, ids: Sequence[str], display: Display) -> Change:
    def change(some: Pictures, rows: slice, strength: float) -> Pictures:
        if strength < 0:
            raise RecipeError(f"a zoom of {strength} would look past the picture's edge: 0 or more")
        return _eight_bits(zoomed(some, 1 + strength)) if strength else some

    return change


def _blur(images: Pictures, ids: Sequence[str], display: Display) -> Change:
    def change(some: Pictures, rows: slice, strength: float) -> Pictures:
        from scipy.ndimage import gaussian_filter  # 0.2 s, which other perturbations are spared

        if strength < 0:
            raise RecipeError(f"a blur has a sigma of 0 px or more, not {strength}")
        sigma = (0, 0, strength, strength)
        return _eight_bits(gaussian_filter(some.astype(np.float32), sigma, mode="reflect")) if strength else some

    return change


def _noise(images: Pictures, ids: Sequence[str], display: Display) -> Change:
    def change(some: Pictures, rows: slice, strength: float) -> Pictures:
        if not strength:
            return some
        return _eight_bits(some + np.float32(255 * strength) * grains(ids[rows], some.shape[1:], "noise"))

    return change


def _dimming(images: Pictures, ids: Sequence[str], display: Display) -> Change:
    bands = display.bands or tuple(str(k) for k in range(images.shape[1]))

    def change(some: Pictures, rows: slice, strength: float) -> Pictures:
        if not strength:
            return some
        light = to_light(some, display)
        sky, noise = sky_and_noise(light)
        level = sky[:, :, None, None].astype(np.float32)
        grain = grains(ids[rows], some.shape[1:], "dimming")
        far = dimmed(light - level, noise, grain, REDSHIFT, REDSHIFT + strength)
        if display.petrosian:  # a frame of Petrosian radii follows the galaxy
            far = zoomed(far, 1 / distance_ratios(REDSHIFT, REDSHIFT + strength)[0])
        return from_light(far + level, display, bands)

    return change


def _band(images: Pictures, ids: Sequence[str], display: Display) -> Change:
    def change(some: Pictures, rows: slice, strength: float) -> Pictures:
        if strength != round(strength) or not 0 <= strength <= some.shape[1]:
            raise RecipeError(f"band {strength} cannot be removed: 0 (none) or 1 to {some.shape[1]}, counted from 1")
        if not strength:
            return some
        band, out = round(strength) - 1, some.copy()
        sky, _ = sky_and_noise(some[:, band : band + 1].astype(np.float32))
        out[:, band] = _eight_bits(sky)[:, :, None]
        return out

    return change


# "colour" adds to every pixel of a galaxy alpha z sqrt(lambda) p, with z of its own (standard normal), lambda and p the
# largest eigenvalue and its vector of the covariance of these galaxies' bands, alpha the strength (Krizhevsky et al.
# 2012; Dieleman, Willett & Dambre 2015, who trained with alpha = 0.5). "brightness" multiplies by 1 + strength.
# "dimming" is that of dimmed(), of the light that the picture shows. "band" gives a band the level of its sky.
PERTURBATIONS: dict[str, Perturbation] = {
    "colour": Perturbation(
        "colour shift, standard deviations along the principal axis of the bands", (0.0, 0.5, 1.0, 1.5, 2.0), _colour
    ),
    "brightness": Perturbation("brightness added, share of the pixel's own", (0.0, 0.25, 0.5, 0.75, 1.0), _brightness),
    "rotation": Perturbation("turned anticlockwise, degrees", (0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0), _rotation),
    "zoom": Perturbation("enlarged by this share of the size", (0.0, 0.1, 0.25, 0.5, 1.0), _zoom),
    "blur": Perturbation("sigma of a Gaussian, px of the network's input", (0.0, 0.5, 1.0, 2.0, 4.0), _blur),
    "noise": Perturbation("standard deviation of white noise, where 1 is white", (0.0, 0.02, 0.05, 0.1, 0.2), _noise),
    "dimming": Perturbation(
        f"redshift added to {REDSHIFT}, as if the galaxy were farther away", (0.0, 0.025, 0.05, 0.1, 0.2), _dimming
    ),
    "band": Perturbation("band removed, counted from 1 (0: none)", (), _band),
}
