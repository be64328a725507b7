"""Which galaxies to show, the best, the worst and the most uncertain, and their pictures as the page needs them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import BadImage, BadStore, BandError
from ..galaxy.cutout import Record
from ..galaxy.display import to_picture
from ..galaxy.records import Source
from .bootstrap import Floats, Ints
from .plots import Picture

SHOWN = 12
SIDE = 160  # px of a picture on the page


@dataclass(frozen=True)
class Exhibit:
    """One galaxy on the wall: its id, its picture (None with the reason in ``missing``), and lines of caption."""

    id: str
    picture: Picture | None
    missing: str
    lines: tuple[str, ...]


def in_turn(score: Floats, group: Ints, shown: int = SHOWN) -> Ints:
    """Indices of the highest scores, taking the best of every group in turn, so that no group fills the wall.

    ``score`` and ``group`` have shape (N,); equal scores keep their order. NaN scores are not shown.
    """
    order = np.argsort(-score, kind="stable")
    order = order[np.isfinite(score[order])]
    place = np.zeros(len(order), np.int64)
    seen: dict[int, int] = {}
    for position, index in enumerate(order):
        key = int(group[index])
        place[position] = seen.get(key, 0)
        seen[key] = int(place[position]) + 1
    turn = np.lexsort((-score[order], place))
    return order[turn][:shown]


def highest(score: Floats, shown: int = SHOWN) -> Ints:
    """Indices of the highest finite scores, highest first."""
    return in_turn(score, np.zeros(len(score), np.int64), shown)


def thumbnail(pixels: NDArray[np.uint8], side: int = SIDE) -> str:
    """A picture (height, width, 3), uint8, as the data address of a JPEG with at most ``side`` px a side.

    The central square is shown; small pictures are enlarged by whole numbers of pixels, so that nothing is invented.
    """
    height, width = pixels.shape[:2]
    square = min(height, width)
    top, left = (height - square) // 2, (width - square) // 2
    pixels = np.ascontiguousarray(pixels[top : top + square, left : left + square])
    if square > side:
        pixels = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX))
    else:
        pixels = pixels.repeat(side // square, axis=0).repeat(side // square, axis=1)
    data = Record.from_picture("", pixels, quality=88).data
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def exhibits(
    ids: Sequence[str], captions: Sequence[tuple[str, ...]], images: Source | None, why_not: str = ""
) -> list[Exhibit]:
    """The pictures of these galaxies, each with its caption; a galaxy whose picture cannot be had says why."""
    shown = []
    for name, lines in zip(ids, captions, strict=True):
        picture, missing = (None, why_not) if images is None else _picture(name, lines, images)
        shown.append(Exhibit(name, picture, missing, lines))
    return shown


def _picture(name: str, lines: tuple[str, ...], images: Source) -> tuple[Picture | None, str]:
    try:
        address = thumbnail(to_picture(images.record(name).cutout()))
    except (BadImage, BadStore, BandError) as error:
        return None, str(error)
    return Picture(address, f"Galaxy {name}: {'; '.join(lines)}", SIDE), ""
