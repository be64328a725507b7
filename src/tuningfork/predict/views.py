"""Test-time views: the eight ways a square picture of the sky can lie, the winner's sixty, and what mirrors do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import RecipeError
from ..galaxy.mirror import complemented, mirrored
from . import affine
from .affine import SIXTY

VIEWS = 8  # four quarter turns, then their mirror images: the dihedral group D4; from 8 on the sixty of affine.py


def view(images: NDArray[np.uint8], number: int, size: int | None = None) -> NDArray[np.uint8]:
    """View ``number`` of images (N, bands, M, M), as (N, bands, size, size).

    0..7: ``number % 4`` quarter turns, mirrored from 4 on, of images without :func:`margin`; view 0 is the image itself
    and no pixel is interpolated, so that the sky's noise stays what it was. 8..67: ``SIXTY[number - 8]`` of images with
    their margin, about the same centre, by :func:`~tuningfork.predict.affine.moved`; ``size`` is that of the network's
    input (None = M, for images without margin).
    """
    if number >= VIEWS:
        return affine.moved(images, size or images.shape[-1], SIXTY[number - VIEWS])
    if number >= 4:
        images = images[..., ::-1]
    return np.ascontiguousarray(np.rot90(images, number % 4, axes=(2, 3)))


def margin(numbers: Sequence[int], size: int) -> int:
    """How many px beyond each side of a ``size`` px input these views look at: 0 for the eight."""
    return affine.margin(size, tuple(SIXTY[number - VIEWS] for number in numbers if number >= VIEWS))


def chosen_views(count: int) -> tuple[int, ...]:
    """Which views are averaged for ``count`` of them: 1 the image, 2 half turn, 4 quarter turns, 8 all of D4, 60."""
    sixty = tuple(range(VIEWS, VIEWS + len(SIXTY)))
    chosen = {1: (0,), 2: (0, 2), 4: (0, 1, 2, 3), 8: tuple(range(VIEWS)), len(SIXTY): sixty}
    if count not in chosen:
        raise RecipeError(
            f"--views is {count}; it may be 1, 2, 4 (quarter turns), 8 (with mirror images) or 60 (ten turns x three "
            "zooms x mirror)"
        )
    return chosen[count]


def unmirror(answers: NDArray[np.float32], names: tuple[str, ...], number: int) -> NDArray[np.float32]:
    """Answers (N, K) to view ``number`` as answers about the image.

    A mirror swaps clockwise and anticlockwise, and turns EFIGI's rotation of the arms x into 1 - x.
    """
    if not (SIXTY[number - VIEWS].mirror if number >= VIEWS else number >= 4):
        return answers
    seen = answers[:, list(mirrored(names))]
    return np.where(complemented(names), np.float32(1) - seen, seen)
