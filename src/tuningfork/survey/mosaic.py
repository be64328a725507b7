"""Mosaic: cutouts at native pixels from the user's own tiles, found by their world coordinates, each tile read once."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .. import disk
from ..errors import BadImage, Reason, RecipeError
from ..galaxy.budget import Budget
from ..galaxy.cutout import Record
from ..galaxy.decode import check
from ..galaxy.fits import read_planes
from ..galaxy.records import digest_of
from .service import Request, check_flux, middle
from .tiles import IMAGE, WEIGHT, Tile, find_tiles

LARGE = Budget(pixels=1 << 30, inflated=8 << 30, ratio=1000)  # the user's own files may be large
Job = tuple[Request, Callable[[], Record]]
Box = tuple[int, int, int]  # first row, first column, side


@dataclass(frozen=True)
class Place:
    """Where one galaxy's cutout lies: on which tile (-1: none), its box there, and px from the galaxy to the edge."""

    tile: int
    box: Box
    distance: float
    whole: bool


class Mosaic:
    """The user's own tiles as an origin of cutouts.

    ``images`` is a pattern such as 'tile*.fits', or 'tile*_{band}.fits' for one file a band; ``weights`` and ``masks``
    are patterns whose stars stand for the same text: their planes come with the galaxy's, as bands "<band>_weight" and
    "<band>_mask" ("weight" and "mask" where the pattern has no ``{band}``). Cutouts have the tile's own pixels, not
    resampled and not turned; their side is the width by the pixel scale, rounded, and their centre is within half a
    pixel of the galaxy. Where tiles overlap, the one is taken on which the galaxy is farthest from the edge.

    A galaxy whose cutout is not wholly inside any tile is rejected (no_coverage), or with ``partial`` filled with NaN
    (weights with 0) where its own position is on a tile. So is one without data, or without weight, in the middle.
    Of the tiles only headers are read at first; then one tile after the other, once. Memory: three times the largest
    file, and the cutouts that lie on one tile. Raises :class:`~tuningfork.errors.BadStore` for tiles that cannot be
    used, naming them.
    """

    name = "mosaic"

    def __init__(
        self,
        images: str,
        *,
        bands: tuple[str, ...] | None = None,
        weights: str | None = None,
        masks: str | None = None,
        partial: bool = False,
    ) -> None:
        self.partial = partial
        self._patterns = [images, weights, masks]
        self.tiles = find_tiles(images, weights, masks, bands)
        self.bands = self.tiles[0].bands

    def plan(self) -> dict[str, Any]:
        """The files by name, size and time of change, and what is made of them."""
        files = [sheet.path for tile in self.tiles for sheet in tile.sheets]
        status = [(str(file), file.stat()) for file in files]
        digest = digest_of(f"{name}\n{found.st_size}\n{found.st_mtime_ns}" for name, found in status)
        return {"survey": "mosaic", "tiles": digest, "images": self._patterns, "partial": self.partial}

    def check(self, request: Request) -> None:
        """Refuse other pixels than the tiles', and bands that they do not have."""
        if request.pixels:
            raise RecipeError("survey 'mosaic' gives the tiles' own pixels: leave the number of pixels out")
        strange = [band for band in request.bands if band not in self.bands]
        if strange:
            raise RecipeError(f"the tiles have the bands {', '.join(self.bands)}, not {', '.join(strange)}")

    def notes(self) -> tuple[str, ...]:
        """The pixel scale and units of the tiles."""
        scales = sorted({round(tile.pixel_scale, 6) for tile in self.tiles})
        units = sorted({tile.units or "units that no header tells" for tile in self.tiles})
        shown = f"{scales[0]:g}" if len(scales) == 1 else f"{scales[0]:g} to {scales[-1]:g}"
        return (f"{len(self.tiles)} tiles of {shown} arcsec/px, bands {', '.join(self.bands)}, in {', '.join(units)}",)

    def close(self) -> None:
        """Nothing is open."""

    def jobs(self, requests: Iterable[Request]) -> Iterator[Job]:
        """Galaxies by tile, so that each tile is read once; those on no tile first."""
        asked = list(requests)
        if not asked:
            return
        places = self.places(asked)
        by_tile: dict[int, list[int]] = {}
        for number, place in enumerate(places):
            by_tile.setdefault(place.tile, []).append(number)
        for number in by_tile.pop(-1, []):
            yield asked[number], functools.partial(_refuse, places[number], asked[number])
        for tile in sorted(by_tile):
            chosen = by_tile[tile]
            cuts = self._cut(self.tiles[tile], [places[number].box for number in chosen])
            for number, planes in zip(chosen, cuts, strict=True):
                box = places[number].box
                yield asked[number], functools.partial(_record, asked[number], self.tiles[tile], box, planes)

    # --- where --------------------------------------------------------------------------------------------------------

    def places(self, requests: list[Request]) -> list[Place]:
        """For each galaxy the tile where it is farthest from the edge; tiles that hold all of it come first."""
        best = [Place(-1, (0, 0, 0), -math.inf, False)] * len(requests)
        sky = SkyCoord([r.ra for r in requests], [r.dec for r in requests], unit="deg")
        directions = np.moveaxis(sky.cartesian.xyz.value, 0, 1)
        galaxies = cKDTree(directions)
        for number, tile in enumerate(self.tiles):
            near = galaxies.query_ball_point(tile.direction, tile.radius)
            if not near:
                continue
            x, y = tile.pixel(sky[near])
            for row, column, line in zip(near, x.tolist(), y.tolist(), strict=True):
                place = self._place(number, tile, column, line, requests[row].width_arcsec)
                if place is not None and (place.whole, place.distance) > (best[row].whole, best[row].distance):
                    best[row] = place
        return best

    def _place(self, number: int, tile: Tile, x: float, y: float, width: float) -> Place | None:
        if not (math.isfinite(x) and math.isfinite(y)):
            return None
        height, breadth = tile.shape
        side = max(1, round(width / tile.pixel_scale))
        x, y = round(x, 4), round(y, 4)  # so that no last digit decides where a galaxy between two pixels goes
        left, bottom = math.ceil(x - side / 2), math.ceil(y - side / 2)
        distance = min(x + 0.5, y + 0.5, breadth - 0.5 - x, height - 0.5 - y)
        if distance < 0:
            return None
        whole = left >= 0 and bottom >= 0 and left + side <= breadth and bottom + side <= height
        return Place(number if whole or self.partial else -1, (bottom, left, side), distance, whole)

    # --- what ---------------------------------------------------------------------------------------------------------

    def _cut(self, tile: Tile, boxes: list[Box]) -> list[BadImage | list[NDArray[np.float32]]]:
        """For each box its planes, of a tile of which one file at a time is in memory; or why there are none."""
        cuts: list[list[NDArray[np.float32]]] = [[] for _ in boxes]
        for sheet in tile.sheets:
            try:
                plane = next(one for one in read_planes(sheet.path.read_bytes(), LARGE) if one.index == sheet.index)
                cube = plane.pixels[None] if plane.pixels.ndim == 2 else plane.pixels
                if cube.shape[1:] != tile.shape or len(cube) <= max(sheet.planes):
                    raise BadImage(Reason.WRONG_SHAPE, f"its header said otherwise than {cube.shape}")
            except (BadImage, OSError, StopIteration) as error:
                reason = error.reason if isinstance(error, BadImage) else Reason.UNREADABLE
                return [BadImage(reason, f"tile '{sheet.path}': {error}")] * len(boxes)
            fill = 0.0 if sheet.kind == WEIGHT else np.nan
            for cut, box in zip(cuts, boxes, strict=True):
                cut += [crop(cube[number], box, fill) for number in sheet.planes]
        return list(cuts)


def crop(plane: NDArray[np.float32], box: Box, fill: float) -> NDArray[np.float32]:
    """A copy of the square ``box`` (first row, first column, side) of a plane (H, W); ``fill`` beyond its edge."""
    bottom, left, side = box
    height, width = plane.shape
    cut = np.full((side, side), fill, dtype=np.float32)
    rows = slice(max(bottom, 0), min(bottom + side, height))
    columns = slice(max(left, 0), min(left + side, width))
    if rows.start < rows.stop and columns.start < columns.stop:
        to_rows = slice(rows.start - bottom, rows.stop - bottom)
        cut[to_rows, columns.start - left : columns.stop - left] = plane[rows, columns]
    return cut


def _refuse(place: Place, request: Request) -> Record:
    """No cutout: the galaxy is on no tile, or too near to an edge."""
    if place.distance < 0:
        raise BadImage(Reason.NO_COVERAGE, f"ra {request.ra:.6f}, dec {request.dec:.6f} is on no tile")
    detail = f"its {place.box[2]} x {place.box[2]} px reach over the edge of every tile ({place.distance:.0f} px away)"
    raise BadImage(Reason.NO_COVERAGE, detail)


def _record(request: Request, tile: Tile, box: Box, planes: BadImage | list[NDArray[np.float32]]) -> Record:
    """The record of one galaxy, or the reason why its pixels are none."""
    if isinstance(planes, BadImage):
        raise BadImage(planes.reason, planes.detail)
    kinds = [sheet.kind for sheet in tile.sheets for _ in sheet.names]
    names = tuple(name for sheet in tile.sheets for name in sheet.names)
    for kind, name, plane in zip(kinds, names, planes, strict=True):
        if kind == IMAGE:
            check_flux(plane, name)
        elif kind == WEIGHT and not np.nan_to_num(middle(plane)).any():
            raise BadImage(Reason.NO_COVERAGE, f"{name} is 0 in the middle")
    pixels = np.stack(planes)
    check(pixels[[kind == IMAGE for kind in kinds]])
    bottom, left, side = box
    section = f"[{left + 1}:{left + side},{bottom + 1}:{bottom + side}]"  # as FITS sections are written
    source = " ".join(f"{sheet.path.name}{section}" for sheet in tile.sheets)
    record = Record.from_pixels(request.id, pixels, names, tile.pixel_scale, request.ra, request.dec, source)
    return dataclasses.replace(record, sha256=disk.sha256(record.data))
