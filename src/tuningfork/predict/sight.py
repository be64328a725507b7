"""A galaxy as models of pictures can see it: flux becomes the colour picture that they know, flipped where needed."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import BadImage, Reason
from ..galaxy.cutout import COLOUR, GREY, Cutout, Record
from ..galaxy.display import Display, to_picture
from ..galaxy.frame import SourceFound, framed
from ..galaxy.light import LIGHT, as_light, find_light

MOST_UNNAMED = 5  # planes that may be bands though nobody names them; more are as likely so many galaxies
PORTRAIT = 420  # px, the shorter side of a kept picture is averaged down to at most this


@dataclass(frozen=True, eq=False)
class Sight:
    """A cutout in the bands of a model; ``flipped`` where its rows run the other way than they are stored."""

    cutout: Cutout
    flipped: bool = False
    note: str = ""

    def stored(self, source: SourceFound) -> SourceFound:
        """A source that was found in this cutout, in the pixels of the file."""
        return upside_down(source, self.cutout.pixels.shape[1]) if self.flipped else source


@dataclass(frozen=True, eq=False)
class Portrait:
    """A galaxy's picture for people, north of a FITS file up, and what was found in it, in pixels of the file.

    ``picture`` (height, width, 3) is ``factor`` times smaller than the file. ``centre`` (x, y; pixel k is k .. k + 1)
    and ``side`` are those of the square that the network sees.
    """

    picture: NDArray[np.uint8]
    factor: int
    source: SourceFound | None
    centre: tuple[float, float]
    side: float


def upside_down(source: SourceFound, height: int) -> SourceFound:
    """The same source where rows are counted from the other end of a picture of so many rows."""
    return replace(source, y=height - 1 - source.y, position_angle=-source.position_angle % 180)


def seen_as(record: Record, cutout: Cutout, bands: tuple[str, ...]) -> Sight:
    """The cutout in the ``bands`` of a model, by name; or, of flux, the picture of it that the model knows.

    A model of colour pictures sees flux of three bands or more as :func:`~tuningfork.galaxy.display.to_picture` shows
    it to people (of planes that nobody names, at most five), and a model of grey pictures flux of one band. A model of
    light sees flux of any bands as their sum (:func:`~tuningfork.galaxy.light.as_light`), and grey pictures too; of
    colour pictures those of colour know more. In FITS files the first row is the lowest, in pictures the highest: what
    is seen is flipped, or spirals would wind the other way. (A FITS image whose coordinates mirror the sky is not told
    apart.)

    Raises BadImage (MISSING_BAND), with what to do about it.
    """
    missing = [band for band in bands if band not in cutout.bands]
    if not missing:
        return Sight(cutout)
    count = len(cutout.bands)
    unnamed = all(re.fullmatch(r"band\d+", band) for band in cutout.bands)
    if unnamed and count > MOST_UNNAMED and not cutout.is_picture:
        told = (
            f"{count} planes without names: name them with --bands if they are bands; galaxies of a stack, one by one"
        )
        raise BadImage(Reason.MISSING_BAND, told)
    flipped = record.format == "fits"
    if bands == LIGHT and cutout.bands != COLOUR:
        return Sight(as_light(cutout, upside_down=flipped), flipped, _as_light_note(cutout))
    if cutout.is_picture or not ((bands == COLOUR and count >= 3) or (bands == GREY and count == 1)):
        raise BadImage(Reason.MISSING_BAND, _advice(cutout, bands))
    picture = np.moveaxis(to_picture(cutout), 2, 0)[: len(bands)]
    if flipped:
        picture = picture[:, ::-1]
    note = f"flux in {', '.join(cutout.bands)} was turned into {'colour' if bands == COLOUR else 'grey'} pictures"
    if unnamed and bands == COLOUR:
        note += ", blue first: where the planes run otherwise, name them, such as --bands i,r,g"
    return Sight(replace(cutout, pixels=np.ascontiguousarray(picture), bands=bands), flipped, note)


def _as_light_note(cutout: Cutout) -> str:
    """What was done to a galaxy for a model of light, where that is worth telling."""
    if cutout.is_picture:
        return "grey pictures were taken for flux stretched as SDSS's are, and turned back into it"
    return f"the models of flux saw the sum of {', '.join(cutout.bands)}" if len(cutout.bands) > 1 else ""


def _advice(cutout: Cutout, bands: tuple[str, ...]) -> str:
    has = f"it has {', '.join(cutout.bands)}; the model wants {', '.join(bands)}"
    if cutout.is_picture:
        return f"{has}: choose a model of pictures like this one{', or flux (FITS)' if bands != COLOUR else ''}"
    if bands == COLOUR:
        return f"{has}: give three bands in one file, such as --bands g,r,i, or choose a model of one band"
    return f"{has}: if the file names its bands wrongly, tell them with --bands, or choose another model"


def portrait(record: Record, sight: Sight, source: SourceFound | None, display: Display) -> Portrait:
    """The picture of what a model saw, with the source and the square of ``display``; raises nothing."""
    cutout = sight.cutout
    height, width = cutout.pixels.shape[1:]
    picture = to_picture(cutout)
    if record.format == "fits" and not sight.flipped:
        picture, source = picture[::-1], source and upside_down(source, height)
    centre, side = (width / 2, height / 2), float(min(height, width))
    if display.petrosian and source is not None:
        seen = find_light(cutout.pixels) if display.bands == LIGHT else source
        (y, x), side = framed(seen, display.petrosian, (height, width))
        centre = (x, y)
    elif display.crop:
        known = display.pixel_scale and cutout.pixel_scale
        side = display.crop * (display.pixel_scale / cutout.pixel_scale if known and cutout.pixel_scale else 1.0)
    factor = max(1, math.ceil(min(height, width) / PORTRAIT))
    return Portrait(_smaller(picture, factor), factor, source, centre, side)


def _smaller(picture: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """The means of blocks of ``factor`` x ``factor`` pixels; a rest at the right and below is left away."""
    if factor == 1:
        return np.ascontiguousarray(picture)
    height, width = (n // factor for n in picture.shape[:2])
    blocks = picture[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    return np.rint(blocks.mean(axis=(1, 3), dtype=np.float32)).astype(np.uint8)
