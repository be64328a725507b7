"""A square of an image in other pixels: where each output pixel lies, bit for bit the same for every margin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow


class Square:
    """Which output pixels of a square lie inside an image, and where.

    The square is ``side`` px wide about ``centre`` (y, x; the image's pixel k covers k .. k + 1); it becomes ``size``
    output pixels, and ``margin`` more on each side. ``shape`` is the image's (height, width).

    The scale (image px per output px), and the centre, are cut to so many binary digits that every edge is exact in the
    float32 numbers that Pillow takes: so an output pixel's weights do not depend on how many others are asked for with
    it.
    """

    def __init__(
        self, shape: tuple[int, ...], centre: tuple[float, float], side: float, size: int, margin: int
    ) -> None:
        fine = 2 ** (23 - max(shape).bit_length())
        self.scale = math.floor(side / size * fine) / fine
        self.centre = (round(centre[0] * fine) / fine, round(centre[1] * fine) / fine)
        self.size, self.margin = size, margin
        self.rows, self.columns = (self._inside(n, c) for n, c in zip(shape, self.centre, strict=True))
        self.shape = (size + 2 * margin,) * 2
        top, bottom = (self.centre[0] + (edge - size / 2) * self.scale for edge in self.rows)
        left, right = (self.centre[1] + (edge - size / 2) * self.scale for edge in self.columns)
        self.box = (left, top, right, bottom)
        self.full = (self.columns[1] - self.columns[0], self.rows[1] - self.rows[0])

    def _inside(self, length: int, centre: float) -> tuple[int, int]:
        """First and one past the last output pixel, counted from the square's first, that the image covers wholly."""
        before, after = centre / self.scale, (length - centre) / self.scale  # output pixels from the centre to the edge
        first = max(-self.margin, math.ceil(self.size / 2 - before))
        return first, min(self.size + self.margin, math.floor(self.size / 2 + after))

    def fill(self, inside: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The resampled pixels in their place, and zeros around them."""
        if inside.shape[1:] == self.shape:
            return np.ascontiguousarray(inside)
        whole = np.zeros((len(inside), *self.shape), dtype=np.uint8)
        rows, columns = (slice(a + self.margin, b + self.margin) for a, b in (self.rows, self.columns))
        whole[:, rows, columns] = inside
        return whole

    def central(self, inside: NDArray[Any]) -> NDArray[Any]:
        """Of the resampled pixels, those in the square without its margin."""
        rows, columns = (slice(max(0, -a), self.size - a) for a in (self.rows[0], self.columns[0]))
        return inside[:, rows, columns]

    def source(self, plane: NDArray[Any]) -> NDArray[Any]:
        """The image's pixels in the square without its margin (those it touches)."""
        half = self.size / 2 * self.scale
        (top, bottom), (left, right) = ((max(0, math.floor(c - half)), math.ceil(c + half)) for c in self.centre)
        return plane[top:bottom, left:right]


def resampled(plane: NDArray[Any], square: Square) -> NDArray[Any]:
    """One plane (height, width) or picture (height, width, 3), resampled to what of the square lies inside the image.

    In two passes, along the rows and then along the columns: left to itself, Pillow takes the cheaper order, which
    changes with the margin, and with the order the rounding. Rows out of reach of the kernel are left away.
    """
    left, top, right, bottom = square.box
    reach = math.ceil(max(square.scale, 1)) + 1  # the kernel's half width, and one more
    first, last = max(0, math.floor(top) - reach), min(len(plane), math.ceil(bottom) + reach)
    width, height = square.full
    picture = Pillow.fromarray(np.ascontiguousarray(plane[first:last]))
    picture = picture.resize((width, last - first), Pillow.Resampling.HAMMING, box=(left, 0, right, last - first))
    picture = picture.resize((width, height), Pillow.Resampling.HAMMING, box=(0, top - first, width, bottom - first))
    return np.asarray(picture)


def resampled_picture(pixels: NDArray[np.uint8], square: Square) -> NDArray[np.uint8]:
    """A picture (bands, height, width), :func:`resampled`; three bands at once."""
    if len(pixels) == 3:
        return np.moveaxis(resampled(np.moveaxis(pixels, 0, -1), square), -1, 0)
    return np.stack([resampled(plane, square) for plane in pixels])
