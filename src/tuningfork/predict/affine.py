"""The sixty test-time views of the Galaxy Challenge's winner: ten turns, three zooms, plain and mirrored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Maps = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Affine:
    """One way to look at a picture: mirrored left-right or not, then turned, then enlarged, about its centre."""

    turn: float = 0.0  # degrees, the way numpy.rot90 turns: anticlockwise with rows running down
    zoom: float = 1.0  # above 1 the galaxy becomes larger, below 1 more of the sky is seen
    mirror: bool = False

    def reach(self, size: int) -> float:
        """How far from the centre, px along one axis, the corners of a view of ``size`` px show the picture."""
        angle = math.radians(self.turn)
        return size / 2 / self.zoom * (abs(math.cos(angle)) + abs(math.sin(angle)))


# Dieleman, Willett & Dambre 2015 (MNRAS 450, 1441) averaged these; the first is the picture itself.
SIXTY = tuple(
    Affine(36.0 * turn, zoom, mirror) for mirror in (False, True) for zoom in (1.0, 1.2, 1 / 1.2) for turn in range(10)
)


def margin(size: int, views: tuple[Affine, ...] = SIXTY) -> int:
    """How many px to render beyond each side of a ``size`` px input, so that no view looks past the rendered edge.

    Half a pixel more than :meth:`Affine.reach` feeds the interpolation; 0 where no view looks beyond the input.
    """
    reach = max((one.reach(size) for one in views), default=0.0)
    return math.ceil(reach - size / 2 + 0.5) if reach > size / 2 + 1e-9 else 0


def moved(images: NDArray[np.uint8], size: int, how: Affine) -> NDArray[np.uint8]:
    """The view ``how`` of images (N, bands, M, M), uint8: its central ``size`` px, (N, bands, size, size), uint8.

    Bilinear between the four nearest pixels, in float32, rounded to the nearest level; pixels count about the centre
    of the M px. Where M is less than ``size`` + 2 :func:`margin` the border pixel continues. The plain view and turns
    by multiples of 90 degrees (with M - size even) interpolate nothing: they are exact. One galaxy at a time is held
    as float32.
    """
    n, bands, side, _ = images.shape
    first, right, down = _maps(side, size, how)
    out = np.empty((n, bands, size * size), dtype=np.uint8)
    for galaxy, flat in zip(out, images.reshape(n, bands, side * side), strict=True):
        upper = _between(flat, first, first + 1, right)
        lower = _between(flat, first + side, first + side + 1, right)
        galaxy[:] = np.rint(upper + down * (lower - upper))
    return out.reshape(n, bands, size, size)


def _between(
    flat: NDArray[np.uint8], here: NDArray[np.int64], there: NDArray[np.int64], share: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Planes (bands, M * M) at ``here`` and ``there``, mixed: (bands, S * S)."""
    near = np.take(flat, here, axis=1).astype(np.float32)
    return np.asarray(near + share * (np.take(flat, there, axis=1) - near), dtype=np.float32)


@lru_cache(maxsize=2 * len(SIXTY))
def _maps(side: int, size: int, how: Affine) -> Maps:
    """For each px of a view, by rows: the upper left of its four neighbours, and how far right and down of it it is."""
    line = np.arange(size) - (size - 1) / 2
    down, right = np.meshgrid(line, line, indexing="ij")
    cos, sin = math.cos(math.radians(how.turn)), math.sin(math.radians(how.turn))
    x, y = (right * cos - down * sin) / how.zoom, (right * sin + down * cos) / how.zoom
    centre = (side - 1) / 2
    columns = np.clip(centre + (-x if how.mirror else x), 0, side - 1).ravel()
    rows = np.clip(centre + y, 0, side - 1).ravel()
    left, top = (np.minimum(np.floor(one), side - 2).astype(np.int64) for one in (columns, rows))
    return top * side + left, (columns - left).astype(np.float32), (rows - top).astype(np.float32)
