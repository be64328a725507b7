"""Light profiles and point-spread functions as Fourier transforms, their tables taken from GalSim."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import scipy.fft

from ..errors import MissingExtra

INDICES = (0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)
"""The grid of Sersic indices: one table each, made once; other indices are drawn with the nearest."""

_TABLE_STEP = 0.02
_TABLE_TOP = 260.0  # k times the half-light radius, beyond which a profile's transform counts as zero


def _galsim() -> ModuleType:
    try:
        import galsim
    except ImportError as error:
        raise MissingExtra("galsim", "simulate") from error
    return galsim


@dataclass(frozen=True, eq=False)
class Canvas:
    """The grid on which a stamp is drawn: finer than the stamp where the point-spread function asks for it, and wider.

    ``size`` is the stamp's side in its own pixels of ``pixel_scale`` arcsec; each is ``oversample`` fine pixels across.
    ``side`` is the canvas in fine pixels, its margin keeping the periodic transforms' wrap outside the stamp. ``x``
    (to the right, west when north is up) and ``y`` (up) are fine-pixel centres in arcsec from the stamp's centre,
    float32, shapes (1, side) and (side, 1); row 0 is the top. ``kx``, ``ky`` are the matching angular frequencies in
    radians per arcsec, shapes (1, side // 2 + 1) and (side, 1).
    """

    size: int
    pixel_scale: float
    oversample: int
    side: int
    x: np.ndarray
    y: np.ndarray
    kx: np.ndarray
    ky: np.ndarray

    @property
    def step(self) -> float:
        """The side of a fine pixel in arcsec."""
        return self.pixel_scale / self.oversample

    def image(self, transform: np.ndarray) -> np.ndarray:
        """The real image (side, side) float32 whose transform about the canvas's centre this is; pixels hold flux."""
        return scipy.fft.irfft2(transform * self._turn.conj(), s=(self.side, self.side)).astype(np.float32)

    def transform(self, image: np.ndarray) -> np.ndarray:
        """The transform (side, side // 2 + 1) complex64 of an image (side, side), about the canvas's centre."""
        return scipy.fft.rfft2(image) * self._turn

    def stamp(self, image: np.ndarray) -> np.ndarray:
        """Cut the stamp out of a canvas (side, side) and sum its fine pixels: (size, size) float32, flux per pixel."""
        width = self.size * self.oversample
        start = (self.side - width) // 2
        cut = image[start : start + width, start : start + width]
        return cut.reshape(self.size, self.oversample, self.size, self.oversample).sum((1, 3), dtype=np.float32)

    @functools.cached_property
    def _turn(self) -> np.ndarray:
        centre = 0.5 * (self.side - 1) * self.step
        return (np.exp(1j * centre * self.kx) * np.exp(-1j * centre * self.ky)).astype(np.complex64)


@functools.lru_cache(maxsize=32)
def canvas(size: int, pixel_scale: float, finest: float) -> Canvas:
    """The canvas for a stamp of ``size`` px of ``pixel_scale`` arcsec, its fine pixels at most ``finest`` arcsec."""
    oversample = max(1, int(np.ceil(pixel_scale / finest - 1e-6)))
    width = size * oversample
    side = width + max(16, width // 5)
    while (side - width) % 2 or scipy.fft.next_fast_len(side, real=True) != side:
        side += 1
    step = pixel_scale / oversample
    axis = ((np.arange(side) - 0.5 * (side - 1)) * step).astype(np.float32)
    kx = (2 * np.pi * scipy.fft.rfftfreq(side, step)).astype(np.float32)[None, :]
    ky = (-2 * np.pi * scipy.fft.fftfreq(side, step)).astype(np.float32)[:, None]
    return Canvas(size, pixel_scale, oversample, side, axis[None, :], -axis[:, None], kx, ky)


def nearest_index(index: float) -> float:
    """The Sersic index of :data:`INDICES` nearest to ``index``."""
    return min(INDICES, key=lambda known: abs(known - index))


@functools.lru_cache(maxsize=32)
def _sersic_table(index: float) -> np.ndarray:
    """The transform of a circular Sersic profile of unit flux and half-light radius, at steps of arcsinh(8 k)."""
    profile = _galsim().Sersic(n=index, half_light_radius=1.0)
    steps = np.arange(0.0, np.arcsinh(8 * _TABLE_TOP) + _TABLE_STEP, _TABLE_STEP)
    return np.array([profile.kValue(k, 0.0).real for k in np.sinh(steps) / 8], np.float32)


@functools.lru_cache(maxsize=64)
def _psf_table(beta: float) -> tuple[np.ndarray, np.ndarray]:
    """Steps of k times the FWHM, and the transform there of a Moffat profile of unit flux."""
    profile = _galsim().Moffat(beta=beta, fwhm=1.0)
    k = np.linspace(0.0, 30.0, 601)
    return k.astype(np.float32), np.array([profile.kValue(value, 0.0).real for value in k], np.float32)


def psf(grid: Canvas, fwhm: float, beta: float) -> np.ndarray:
    """The transform of a Moffat point-spread function (Moffat 1969; Trujillo et al. 2001) of unit flux.

    ``fwhm`` in arcsec includes the native pixel; ``beta`` is the slope of the wings.
    The last quarter below the grid's Nyquist frequency is tapered, lest bright stars ring. Float32, of
    shape (side, side // 2 + 1).
    """
    k, values = _psf_table(beta)
    along = np.sqrt(grid.kx**2 + grid.ky**2)
    rest = np.clip((np.pi / grid.step - along) * (4 * grid.step / np.pi), 0, 1)
    return (np.interp(along * np.float32(fwhm), k, values, right=0.0) * rest * rest * (3 - 2 * rest)).astype(np.float32)


def shift(grid: Canvas, x: float, y: float) -> np.ndarray:
    """The transform of a point of unit flux at (x, y) arcsec from the stamp's centre, complex64."""
    return (np.exp(-1j * x * grid.kx) * np.exp(-1j * y * grid.ky)).astype(np.complex64)


def _along(grid: Canvas, position_angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies along the major and the minor axis; the position angle runs from north (up) through east (left)."""
    angle = np.radians(position_angle)
    sine, cosine = np.float32(np.sin(angle)), np.float32(np.cos(angle))
    return -sine * grid.kx + cosine * grid.ky, -cosine * grid.kx - sine * grid.ky


def sersic(grid: Canvas, index: float, radius: float, axis_ratio: float, position_angle: float) -> np.ndarray:
    """The transform of a Sersic (1963) profile of unit flux, I(R) ~ exp(-b_n ((R / Re)^(1/n) - 1)), on ellipses.

    ``radius`` is the half-light radius along the major axis in arcsec, ``axis_ratio`` minor over major in (0, 1],
    ``position_angle`` in degrees from north (up) through east (left). The index is taken to the nearest of
    :data:`INDICES`. Returns float32 (side, side // 2 + 1); raises MissingExtra without GalSim.
    """
    major, minor = _along(grid, position_angle)
    table = _sersic_table(nearest_index(index))
    k = np.sqrt((radius * major) ** 2 + (radius * axis_ratio * minor) ** 2)
    place = np.arcsinh(8 * k) * np.float32(1 / _TABLE_STEP)
    low = np.minimum(place.astype(np.int32), len(table) - 2)
    part = np.minimum(place - low, 1)
    return table[low] * (1 - part) + table[low + 1] * part


def thick(grid: Canvas, height: float, inclination: float, position_angle: float) -> np.ndarray:
    """The vertical thickness of a disk as a factor on its transform: u / sinh(u), u = pi/2 hz k_minor sin(i).

    This is the transform of sech^2(z / hz) (van der Kruit & Searle 1981) seen at ``inclination`` degrees; ``height`` is
    hz in arcsec. Float32.
    """
    _, minor = _along(grid, position_angle)
    u = np.maximum(np.abs(0.5 * np.pi * height * np.sin(np.radians(inclination)) * minor), 1e-3)
    return (u / np.sinh(np.minimum(u, 60))).astype(np.float32)


def disk(grid: Canvas, radius: float, inclination: float, height: float, position_angle: float) -> np.ndarray:
    """The transform of an inclined exponential disk of unit flux and half-light radius ``radius`` = 1.678 h in arcsec.

    (1 + h^2 (k_major^2 + k_minor^2 cos^2 i))^(-3/2) times :func:`thick`: the model of ``galsim.InclinedExponential``.
    """
    major, minor = _along(grid, position_angle)
    h = radius / 1.6783469900166605
    flat = major**2 + (np.cos(np.radians(inclination)) * minor) ** 2
    return ((1 + h * h * flat) ** -1.5 * thick(grid, height, inclination, position_angle)).astype(np.float32)
