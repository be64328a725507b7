"""What lies behind and is lensed: a clumpy young galaxy, perhaps with a quasar in it, and its light as seen through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.special

from .camera import Layer
from .deflector import Deflector, images, to_source
from .profiles import Canvas, shift


@dataclass(frozen=True)
class Clump:
    """A knot of star formation: a Gaussian of width ``sigma`` at (x, y) from the galaxy's centre, arcsec."""

    x: float
    y: float
    sigma: float
    share: float  # of the galaxy's r light


@dataclass(frozen=True)
class Background:
    """A galaxy behind the deflector, as it would look without it. Lengths in arcsec, angles in degrees.

    ``magnitude`` is its total r (AB) without a quasar; ``quasar_magnitude`` that of the quasar in its middle (None
    where there is none). (``x``, ``y``) is its place behind the stamp's centre, ``radius`` the half-light radius along
    the major axis of a Sersic profile of ``index``. ``youth`` sets its colours as in ``survey.magnitude_offset``, at
    redshift 0: galaxies that form stars are as blue at redshifts 1 to 3.
    """

    redshift: float = 1.5
    magnitude: float = 24.0
    x: float = 0.0
    y: float = 0.0
    radius: float = 0.3
    axis_ratio: float = 0.7
    position_angle: float = 0.0
    index: float = 1.0
    youth: float = 1.0
    clumps: tuple[Clump, ...] = ()
    quasar_magnitude: float | None = None
    quasar_youth: float = 1.0


def smooth(source: Background, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The Sersic (1963) surface brightness at (x, y) behind the deflector, per square arcsec, of total flux 1.

    I(R) = exp(-b (R / Re)^(1/n)) b^(2n) / (2 pi n Gamma(2n) Re^2 q) on ellipses, b from Gamma(2n, b) = Gamma(2n) / 2.
    """
    n = source.index
    b = float(scipy.special.gammaincinv(2 * n, 0.5))
    angle = np.radians(source.position_angle)
    dx, dy = x - source.x, y - source.y
    major = (-np.sin(angle) * dx + np.cos(angle) * dy) / source.radius
    minor = (-np.cos(angle) * dx - np.sin(angle) * dy) / (source.radius * source.axis_ratio)
    whole = 2 * np.pi * n * scipy.special.gamma(2 * n) * b ** (-2 * n) * source.radius**2 * source.axis_ratio
    return np.exp(-b * (major**2 + minor**2) ** (0.5 / n)) / whole


def knots(source: Background, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The surface brightness of all clumps at (x, y), per square arcsec, of total flux 1 (0 where there are none)."""
    total = np.zeros(np.broadcast_shapes(np.shape(x), np.shape(y)))
    whole = sum(clump.share for clump in source.clumps)
    for clump in source.clumps:
        square = (x - source.x - clump.x) ** 2 + (y - source.y - clump.y) ** 2
        total += clump.share / whole / (2 * np.pi * clump.sigma**2) * np.exp(-0.5 * square / clump.sigma**2)
    return total


@dataclass(frozen=True, eq=False)
class Lensed:
    """A background as it is seen: layers to expose, and by how much it is magnified.

    ``magnification`` is the flux seen over the flux without the deflector, of the quasar where there is one, else of
    the galaxy; ``n_images`` counts the quasar's images (0 without one).
    """

    layers: tuple[Layer, ...]
    magnification: float
    n_images: int


def lensed(grid: Canvas, deflector: Deflector, source: Background) -> Lensed:
    """Look at the background through the deflector on the whole canvas, before the point-spread function.

    Surface brightness is conserved: each ray carries that of the place it comes from. Rays are shot on a mesh of at
    most 0.05 arcsec (0.08 where the deflector is cluster-sized) and averaged over the canvas's pixels.
    """
    clumped = sum(clump.share for clump in source.clumps)
    body, spots, box = np.zeros((grid.side, grid.side), np.float32), None, _box(grid, deflector, source)
    x, y, times = _mesh(grid, box, 0.05 if deflector.reach < 4 else 0.08)
    beta_x, beta_y = to_source(deflector, x, y)
    parts = [smooth(source, beta_x, beta_y)] + ([knots(source, beta_x, beta_y)] if clumped else [])
    seen = [_binned(part, times) * grid.step**2 for part in parts]
    body[box] = seen[0]
    layers = [(source.magnitude - 2.5 * np.log10(1 - clumped), source.youth, 0.0, grid.transform(body))]
    magnification = float(seen[0].sum()) * (1 - clumped)
    if clumped:
        spots = np.zeros_like(body)
        spots[box] = seen[1]
        magnification += float(seen[1].sum()) * clumped
        young = min(source.youth + 0.15, 1.4)
        layers.append((source.magnitude - 2.5 * np.log10(clumped), young, 0.0, grid.transform(spots)))
    number = 0
    if source.quasar_magnitude is not None:
        places = images(deflector, source.x, source.y)
        number, magnification = len(places[0]), float(np.abs(places[2]).sum())
        points = sum(abs(bright) * shift(grid, seen_x, seen_y) for seen_x, seen_y, bright in zip(*places, strict=True))
        if number:
            layers.append((source.quasar_magnitude, source.quasar_youth, 0.0, np.asarray(points, np.complex64)))
    return Lensed(tuple(layers), magnification, number)


def _box(grid: Canvas, deflector: Deflector, source: Background) -> tuple[slice, slice]:
    """The rows and columns of the canvas outside which no light of the source can be seen."""
    extent = max(5 * source.radius * max(source.index, 0.7), 0.5)
    reach = (deflector.reach + np.hypot(source.x, source.y) + extent) / (1 - min(abs(deflector.shear), 0.5))
    half = min(int(np.ceil(reach / grid.step)) + 1, grid.side // 2)
    middle = grid.side // 2
    side = slice(max(middle - half, 0), min(middle + half + grid.side % 2, grid.side))
    return side, side


def _mesh(grid: Canvas, box: tuple[slice, slice], finest: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Ray positions: ``times`` to each side of a canvas pixel in the box, x as a row and y as a column."""
    times = max(1, int(np.ceil(grid.step / finest)))
    offsets = ((np.arange(times) - 0.5 * (times - 1)) / times * grid.step).astype(np.float64)
    x = (grid.x[0, box[1]].astype(np.float64)[:, None] + offsets).reshape(1, -1)
    y = (grid.y[box[0], 0].astype(np.float64)[:, None] - offsets).reshape(-1, 1)
    return x, y, times


def _binned(fine: np.ndarray, times: int) -> np.ndarray:
    height, width = fine.shape
    return fine.reshape(height // times, times, width // times, times).mean((1, 3)).astype(np.float32)
