"""The pages of an atlas: one large image of galaxies, cut into tiles, with a page that zooms into it."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from .. import disk
from ..errors import BadImage, BadStore, RecipeError, Stopped
from ..galaxy.cutout import COLOUR, Cutout, Record, Rejected
from ..galaxy.display import Display, render, to_picture
from ..galaxy.source import Source
from ..predict.ahead import ahead
from .atlas import Atlas, Progress

Pixels = NDArray[np.uint8]

TILE = 512  # px
QUALITY = 85
SMALLEST_CELL, LARGEST_CELL = 16, 256  # px
LONGEST = 65_500  # px, of a JPEG's side
ROOM = 4e9  # bytes of the image in memory
SKY = (16, 18, 22)  # of a cell without a picture
IMAGES = (".jpg", ".jpeg", ".png")
BATCH = 32


@dataclass(frozen=True)
class Written:
    """What was written: ``n_in = n_shown + n_left_out + n_rejected``; ``rejected`` has features but no picture, or
    neither."""

    path: str
    n_in: int
    n_shown: int
    n_left_out: int
    rejected: tuple[Rejected, ...]
    size: tuple[int, int]  # of the image, width and height in px
    tiles: int

    @property
    def n_rejected(self) -> int:
        """How many galaxies were rejected."""
        return len(self.rejected)

    def text(self) -> str:
        """The account, and each reason with the galaxies it befell, for people."""
        lines = [
            f"{self.n_in:,} galaxies in = {self.n_shown:,} shown + {self.n_left_out:,} left out + "
            f"{self.n_rejected:,} rejected: '{self.path}' ({self.size[0]:,} x {self.size[1]:,} px)"
        ]
        for reason in dict.fromkeys(one.reason for one in self.rejected):
            ids = [one.id for one in self.rejected if one.reason == reason]
            lines.append(f"  {reason}: {len(ids):,} ({', '.join(ids[:5])}{', ...' if len(ids) > 5 else ''})")
        return "\n".join(lines)


def check_page(path: str | Path, cell: int, image: str | Path | None = None, n: int = 0) -> None:
    """Raise :class:`RecipeError` for a page or an image that cannot be written, of ``n`` galaxies, before any work."""
    if Path(path).suffix.lower() not in (".html", ".htm") or Path(path).is_dir():
        raise RecipeError(f"'{path}': an atlas is a page, so name a file that ends in .html")
    if image is not None and (Path(image).suffix.lower() not in IMAGES or Path(image).is_dir()):
        raise RecipeError(f"'{image}': the image's suffix may be {', '.join(IMAGES)}")
    if not SMALLEST_CELL <= cell <= LARGEST_CELL:
        raise RecipeError(f"--cell is {cell}; a galaxy takes {SMALLEST_CELL} to {LARGEST_CELL} px a side")
    side = math.ceil(math.sqrt(n)) * cell
    if side > LONGEST or 3 * side**2 > ROOM:
        raise RecipeError(
            f"{n:,} galaxies of {cell} px are an image of {side:,} x {side:,} px, {3e-9 * side**2:.1f} GB in memory: "
            f"take a smaller --cell or a smaller --n (at most {ROOM / 1e9:.0f} GB and {LONGEST:,} px)"
        )


def write_page(
    atlas: Atlas,
    path: str | Path,
    *,
    galaxies: str | Path | Source | None = None,
    cell: int = 96,
    image: str | Path | None = None,
    threads: int = 0,
    progress: Progress | None = None,
) -> Written:
    """Write an atlas as a page that zooms, ``path``, with its tiles in ``<name>_files`` and ``<name>.dzi`` beside it.

    Each galaxy is shown as the model saw it (its crop, or its Petrosian frame), where that is known and can be had for
    it, else as its picture's central square, in a cell of ``cell`` px. The tiles are a Deep Zoom pyramid: JPEG of 512
    px, each level half as large as the next, so that other viewers open the .dzi. The page needs no server and no
    network. ``image`` is the whole as one .jpg or .png, with the colours as frames.

    Pictures are read in the order of the source and kept at the size of their cells only: 3 cell^2 bytes for each
    galaxy, 280 MB for 10,000 of 96 px. One that cannot be read leaves its cell empty and is among the rejected. Raises
    :class:`RecipeError` as :func:`check_page`, and what opening the source raises.
    """
    check_page(path, cell, image, len(atlas.ids))
    source = atlas.source(galaxies)
    whole, bad = _mosaic(atlas, source, cell, threads, progress)
    shown = len(atlas.ids) - len(bad)
    if not shown:
        raise BadStore(
            f"not one of the {len(atlas.ids):,} galaxies has a picture in '{source.path}' ({bad[0].id}: "
            f"{bad[0].reason}): name where they are with --galaxies"
        )
    path = Path(path)
    folder = path.with_name(f"{path.stem}_files")
    height, width = whole.shape[:2]
    written = set()
    for name, pixels in _tiles(whole):
        disk.write_bytes(folder / name, _jpeg(pixels))
        written.add(name)
    for old in folder.glob("*/*.jpg"):  # of an earlier, larger atlas of this name
        name = old.relative_to(folder).as_posix()
        if name not in written and re.fullmatch(r"\d+/\d+_\d+\.jpg", name):
            disk.remove(old)
    disk.write_text(path.with_name(f"{path.stem}.dzi"), _descriptor(width, height))
    disk.write_text(path, _page(atlas, bad, cell, (width, height), folder.name))
    if image is not None:
        _frame(whole, atlas, cell)
        _write_image(whole, image)
    rejected = (*atlas.rejected, *bad)
    return Written(str(path), atlas.n_in, shown, len(atlas.left_out), rejected, (width, height), len(written))


def portrait(record: Record, cell: int, display: Display | None) -> Pixels:
    """A galaxy's picture (cell, cell, 3), uint8, framed as the ``display`` does it; raises :class:`BadImage`.

    Where the frame cannot be had (no source stands out, the picture is smaller than the crop), and where there is no
    display, it is the central square. FITS images have their first row below, as they are on the sky.
    """
    picture = to_picture(_decoded(record, cell, display))
    if record.format == "fits":
        picture = picture[::-1]
    cutout = Cutout(record.id, np.ascontiguousarray(np.moveaxis(picture, -1, 0)), COLOUR, record.pixel_scale)
    whole = Display(size=cell, bands=COLOUR)
    if display is not None and (display.crop or display.petrosian):
        framed = replace(whole, crop=display.crop, pixel_scale=display.pixel_scale, petrosian=display.petrosian)
        try:
            return np.ascontiguousarray(np.moveaxis(render(cutout, framed), 0, -1))
        except BadImage:  # the model had other bands, or rejects it: people may still look at it
            pass
    return np.ascontiguousarray(np.moveaxis(render(cutout, whole), 0, -1))


def _decoded(record: Record, cell: int, display: Display | None) -> Cutout:
    """The cutout, of a JPEG that is shown whole no larger than needed."""
    if record.format == "jpeg" and (display is None or not (display.crop or display.petrosian)):
        return record.cutout(max(1.0, min(record.size()) / cell))
    return record.cutout()


def _portraits(
    chunk: list[Record | Rejected], cell: int, display: Display | None
) -> list[tuple[str, Pixels | Rejected]]:
    made: list[tuple[str, Pixels | Rejected]] = []
    for one in chunk:
        if isinstance(one, Rejected):
            made.append((one.id, one))
            continue
        try:
            made.append((one.id, portrait(one, cell, display)))
        except BadImage as bad:
            made.append((one.id, Rejected(one.id, bad.reason, bad.detail, one.source)))
    return made


def _mosaic(
    atlas: Atlas, source: Source, cell: int, threads: int, progress: Progress | None
) -> tuple[Pixels, tuple[Rejected, ...]]:
    """The large image (rows * cell, columns * cell, 3), and the galaxies that have no picture."""
    rows, columns = atlas.shape
    whole = np.empty((rows * cell, columns * cell, 3), np.uint8)
    whole[:] = SKY
    place = dict(zip(atlas.ids, atlas.places.tolist(), strict=True))
    wanted = [one for one in source.ids if one in place]
    known = set(wanted)
    wanted += [one for one in atlas.ids if one not in known]  # which the source reports as missing
    bad: list[Rejected] = []
    cores = threads or len(os.sched_getaffinity(0))
    look, done = partial(_portraits, cell=cell, display=atlas.display), 0
    with ThreadPoolExecutor(cores) as pool, disk.stop_on_sigterm() as asked:
        for batch in ahead(pool, look, source.records(wanted), BATCH, 2 * cores + 1):
            for name, made in batch:
                if isinstance(made, Rejected):
                    bad.append(made)
                    continue
                row, column = place[name]
                whole[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = made
            done += len(batch)
            if progress is not None:
                progress(done, len(wanted), "pictures")
            if asked.is_set():
                raise Stopped("the atlas is not written; run the same command again")
    return whole, tuple(bad)


def _tiles(whole: Pixels) -> Iterator[tuple[str, Pixels]]:
    """The tiles of a Deep Zoom pyramid: level/column_row.jpg and its pixels, the finest level first."""
    level = math.ceil(math.log2(max(whole.shape[:2])))
    while True:
        for row in range(0, whole.shape[0], TILE):
            for column in range(0, whole.shape[1], TILE):
                name = f"{level}/{column // TILE}_{row // TILE}.jpg"
                yield name, np.ascontiguousarray(whole[row : row + TILE, column : column + TILE])
        if level == 0:
            return
        whole, level = _half(whole), level - 1


def _half(whole: Pixels) -> Pixels:
    """An image of half the size, rounded up: the means of blocks of 2 x 2 px."""
    height, width = whole.shape[:2]
    made = np.empty((-(-height // 2), -(-width // 2), 3), np.uint8)
    for top in range(0, height, 2 * TILE):  # strip by strip, so that the sums stay small
        strip = whole[top : top + 2 * TILE]
        edges = ((0, strip.shape[0] % 2), (0, width % 2), (0, 0))
        strip = np.pad(strip, edges, mode="edge").astype(np.uint16)
        sums = strip[::2, ::2] + strip[1::2, ::2] + strip[::2, 1::2] + strip[1::2, 1::2]
        made[top // 2 : top // 2 + len(sums)] = (sums + 2) // 4
    return made


def _jpeg(pixels: Pixels) -> bytes:
    return Record.from_picture("", pixels, quality=QUALITY).data


def _descriptor(width: int, height: int) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="jpg" Overlap="0" TileSize="{TILE}">'
        f'<Size Width="{width}" Height="{height}"/></Image>\n'
    )


def _frame(whole: Pixels, atlas: Atlas, cell: int) -> None:
    """Frames in the colours of the legend, drawn into the image."""
    if atlas.colours is None:
        return
    width = max(1, cell // 32)
    hues = [tuple(bytes.fromhex(one[1:])) for one in atlas.colours.colours]
    for (row, column), group in zip(atlas.places.tolist(), atlas.colours.group.tolist(), strict=True):
        if group < 0:
            continue
        square = whole[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
        for edge in (square[:width], square[-width:], square[:, :width], square[:, -width:]):
            edge[:] = hues[group]


def _write_image(whole: Pixels, path: str | Path) -> None:
    if Path(path).suffix.lower() != ".png":
        disk.write_bytes(path, _jpeg(whole))
        return
    with disk.atomic(path) as part:
        Image.fromarray(whole).save(part)


def _page(atlas: Atlas, bad: Sequence[Rejected], cell: int, size: tuple[int, int], folder: str) -> str:
    """The page: its data stand in it as JSON in which no tag can begin or end."""
    why = {one.id: f"no picture: {one.reason}" for one in bad}
    colours = atlas.colours
    data: dict[str, Any] = {
        "width": size[0], "height": size[1], "cell": cell, "tile": TILE, "folder": folder,
        "rows": atlas.shape[0], "columns": atlas.shape[1],
        "level": math.ceil(math.log2(max(size))),
        "ids": atlas.ids,
        "at": (atlas.places[:, 0] * atlas.shape[1] + atlas.places[:, 1]).tolist(),
        "says": [why.get(one, said) for one, said in zip(atlas.ids, atlas.says, strict=True)],
        "colours": None,
    }  # fmt: skip
    if colours is not None:
        data["colours"] = {
            "name": colours.name, "labels": colours.labels, "colours": colours.colours,
            "group": colours.group.tolist(), "words": colours.words,
        }  # fmt: skip
    packed = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c").replace("\u2028", "\\u2028")
    environment = jinja2.Environment(loader=jinja2.PackageLoader("tuningfork", "insight"), autoescape=True)
    script = environment.loader.get_source(environment, "atlas.js")[0] if environment.loader else ""
    rejected = [*atlas.rejected, *bad]
    return environment.get_template("atlas.html").render(
        title=atlas.title,
        lines=atlas.text().splitlines()[1:],
        rejected=[(one.id, str(one.reason), one.detail) for one in rejected],
        data=Markup(packed), script=Markup(script),
    )  # fmt: skip
