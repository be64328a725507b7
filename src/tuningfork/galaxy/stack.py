"""Stacks of galaxies in FITS files of many planes, one file for all bands or one for each, read a slab at a time."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadImage, BadStore, Reason
from .cutout import Record
from .fits import BLOCK, CARD, MOST_BANDS, is_fits, read_planes
from .folder import read_file
from .records import Source, digest_of

SLAB_BYTES = 16 << 20  # how much of a stack is read, and held, at a time
_SIZES = re.compile(rb"(BITPIX|NAXIS\d{0,3}) *= *(-?\d{1,18}) *(?:/|$)")
_SCALING = re.compile(rb"(BSCALE|BZERO|BLANK) *=")
_LONGEST_HEADER = 1000 * BLOCK


class Slabs:
    """Rows of a long array, read many at a time where they are asked for in order, one at a time where they are not.

    ``read(start, stop)`` gives an array whose first axis are those rows; ``rows`` says how many make a slab.
    """

    def __init__(self, read: Callable[[int, int], NDArray[Any]], length: int, rows: int) -> None:
        self._read, self._length, self._rows = read, length, max(1, rows)
        self._start, self._slab = 0, np.empty(0)
        self._next = 0
        self._guard = threading.Lock()

    def __getitem__(self, row: int) -> NDArray[Any]:
        with self._guard:
            if self._start <= row < self._start + len(self._slab):
                self._next = row + 1
                return self._slab[row - self._start]
            if row != self._next:
                self._next = row + 1
                return self._read(row, row + 1)[0]
            start = row - row % self._rows
            self._slab = self._read(start, min(start + self._rows, self._length))
            self._start, self._next = start, row + 1
            return self._slab[row - start]


class FitsStack:
    """One FITS file whose first image is (galaxies, height, width) or (galaxies, bands, height, width).

    Where the primary HDU holds it uncompressed, a slab of galaxies is read at a time, however long the file is. Any
    other file (gz, bz2, tile-compressed, image in an extension) is read whole, within decode's budget.
    Raises :class:`~tuningfork.errors.BadStore` for a file that holds no such image.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            header = _primary_header(path)
            size = path.stat().st_size
        except OSError as error:
            raise BadStore(f"cannot read '{path}': {error.strerror or error}") from error
        sizes = _sizes(header)
        shape = tuple(sizes.get(b"NAXIS%d" % axis, 0) for axis in range(sizes.get(b"NAXIS", 0), 0, -1))
        if len(shape) in (3, 4) and min(shape) > 0 and sizes.get(b"BITPIX") in (8, 16, 32, 64, -32, -64):
            self._offset, self._bitpix = len(header), sizes[b"BITPIX"]
            self._scaling = [card for card in _cards(header) if _SCALING.match(card)]
            one = math.prod(shape[1:]) * abs(self._bitpix) // 8
            if size < self._offset + one * shape[0]:
                detail = f"its header promises {one * shape[0]:,} bytes of pixels, {size - self._offset:,} are there"
                raise BadStore(f"'{path}' is cut: {detail}")
            read, rows = self._read_slab, SLAB_BYTES // one
        else:
            try:
                whole = read_planes(read_file(path), first=True)[0].pixels
            except BadImage as error:
                raise BadStore(f"'{path}' is no stack of galaxies: {error}") from error
            shape = whole.shape
            if len(shape) != 3:
                raise BadStore(f"'{path}' is no stack of galaxies: its first image has the shape {shape}")
            read, rows = lambda start, stop: whole[start:stop, None], 1
        self.shape = shape if len(shape) == 4 else (shape[0], 1, *shape[1:])  # (galaxies, bands, height, width)
        self._slabs = Slabs(read, shape[0], rows)

    def __len__(self) -> int:
        return self.shape[0]

    def galaxy(self, row: int) -> NDArray[np.float32]:
        """The pixels (bands, height, width) of one galaxy; raises :class:`~tuningfork.errors.BadImage`."""
        return self._slabs[row]

    def _read_slab(self, start: int, stop: int) -> NDArray[np.float32]:
        """Some galaxies, through the door for images: their bytes behind a small header of their own."""
        shape = (stop - start, *self.shape[1:])
        one = math.prod(shape[1:]) * abs(self._bitpix) // 8
        try:
            with open(self.path, "rb") as file:
                file.seek(self._offset + start * one)
                data = file.read((stop - start) * one)
        except OSError as error:
            raise BadImage(Reason.UNREADABLE, str(error.strerror or error)) from error
        if len(data) < (stop - start) * one:
            raise BadImage(Reason.TRUNCATED, f"the file ends within galaxy {start + len(data) // one}")
        sizes = {
            "BITPIX": self._bitpix,
            "NAXIS": 3,
            "NAXIS1": shape[3],
            "NAXIS2": shape[2],
            "NAXIS3": shape[0] * shape[1],
        }
        cards = [b"SIMPLE  =                    T", *(b"%-8s= %20d" % (k.encode(), v) for k, v in sizes.items())]
        header = b"".join(card.ljust(CARD) for card in [*cards, *self._scaling, b"END"])
        content = header.ljust(-(-len(header) // BLOCK) * BLOCK) + data
        content = content.ljust(-(-len(content) // BLOCK) * BLOCK, b"\0")
        return read_planes(content, first=True)[0].pixels.reshape(shape)


def _primary_header(path: Path) -> bytes:
    """The primary header with its padding; b"" where the file does not begin as FITS does, or its header has no end."""
    header = b""
    with open(path, "rb") as file:
        while len(header) < _LONGEST_HEADER:
            block = file.read(BLOCK)
            header += block
            if len(block) < BLOCK or not is_fits(header):
                return b""
            if any(block[start : start + CARD].rstrip() == b"END" for start in range(0, BLOCK, CARD)):
                return header
    return b""


def _cards(header: bytes) -> list[bytes]:
    return [header[start : start + CARD] for start in range(0, len(header), CARD)]


def _sizes(header: bytes) -> dict[bytes, int]:
    found = (_SIZES.match(card) for card in _cards(header))
    return {match[1]: int(match[2]) for match in found if match}


def _primary_sides(path: Path) -> list[int]:
    """NAXIS1, NAXIS2, ... of the primary image; [] for what is no FITS file."""
    sizes = _sizes(_primary_header(path))
    return [sizes.get(b"NAXIS%d" % axis, 0) for axis in range(1, sizes.get(b"NAXIS", 0) + 1)]


def holds_planes(path: Path) -> bool:
    """True where the primary image of a FITS file has more than two axes longer than 1."""
    return sum(side > 1 for side in _primary_sides(path)) > 2


def holds_stack(path: Path) -> bool:
    """True where the primary image of a FITS file has more planes than a galaxy has bands, or four axes."""
    sides = _primary_sides(path)
    colours_last = len(sides) == 3 and 3 <= sides[0] <= 5 and sides[1] > MOST_BANDS
    return (len(sides) == 3 and sides[2] > MOST_BANDS and not colours_last) or (len(sides) == 4 and sides[3] > 1)


class Stack(Source):
    """Galaxies of one FITS stack with all bands, or of one FITS stack for each band; galaxy i is ``<stem>_<i:05d>``.

    ``bands`` name the file's bands, or say which file is which. Records are of format "npy", float32.
    Raises :class:`~tuningfork.errors.BadStore` where the files do not agree on the number and size of galaxies, or
    where the bands are not as many as the planes.
    """

    kind = "FITS stack"

    def __init__(
        self,
        path: str | Path,
        files: Sequence[Path],
        prefix: str,
        *,
        bands: tuple[str, ...] | None = None,
        pixel_scale: float | None = None,
    ) -> None:
        self._stacks = [FitsStack(file) for file in files]
        shapes = {stack.path.name: stack.shape for stack in self._stacks}
        if len(set(shapes.values())) > 1:
            told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise BadStore(f"the files of '{path}' do not fit together (galaxies, bands, height, width): {told}")
        planes = sum(stack.shape[1] for stack in self._stacks)
        if bands and len(bands) != planes:
            raise BadStore(f"'{path}' has {planes} bands a galaxy, {len(bands)} are named ({', '.join(bands)})")
        self._bands = bands or tuple(f"band{plane}" for plane in range(planes))
        self._names = ", ".join(file.name for file in files)
        ids = [f"{prefix}_{row:05d}" for row in range(len(self._stacks[0]))]
        status = [(file.name, file.stat()) for file in files]
        digest = digest_of(f"{name}\n{stat.st_size}\n{stat.st_mtime_ns}" for name, stat in status)
        super().__init__(path, ids, digest, bands=self._bands, pixel_scale=pixel_scale)

    def _where(self, row: int) -> str:
        return f"{self._names} [{row}]"

    def _read(self, row: int) -> Record:
        pixels = np.concatenate([stack.galaxy(row) for stack in self._stacks])
        return Record.from_pixels(self.ids[row], pixels, self._bands, self.pixel_scale, source=self._where(row))
