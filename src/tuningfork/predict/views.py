"""Test-time views: the eight ways a square picture of the sky can lie, and what mirroring does to the answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import RecipeError
from ..galaxy.mirror import mirrored

VIEWS = 8  # four quarter turns, then their mirror images: the dihedral group D4


def view(images: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """View ``number`` (0..7) of images (N, bands, S, S): ``number % 4`` quarter turns, mirrored from 4 on.

    View 0 is the image itself. No pixel is interpolated, so that the sky's noise stays what it was.
    """
    if number >= 4:
        images = images[..., ::-1]
    return np.ascontiguousarray(np.rot90(images, number % 4, axes=(2, 3)))


def chosen_views(count: int) -> tuple[int, ...]:
    """Which views are averaged for ``count`` of them: 1 the image, 2 half turn, 4 quarter turns, 8 all."""
    chosen = {1: (0,), 2: (0, 2), 4: (0, 1, 2, 3), 8: tuple(range(VIEWS))}
    if count not in chosen:
        raise RecipeError(f"--views is {count}; it may be 1, 2, 4 (quarter turns) or 8 (with mirror images)")
    return chosen[count]


def unmirror(answers: NDArray[np.float32], names: tuple[str, ...], number: int) -> NDArray[np.float32]:
    """Answers (N, K) to view ``number`` as answers about the image: a mirror swaps clockwise and anticlockwise."""
    return answers[:, list(mirrored(names))] if number >= 4 else answers
