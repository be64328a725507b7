"""Stacks of galaxies in HDF5, in the layout of Galaxy10 (images, ans, ra, dec, pxscale), read a slab at a time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import BadImage, BadStore, Reason
from .budget import Budget
from .catalog import ID_NAMES, Catalog
from .cutout import COLOUR, GREY, Record
from .fits import MOST_BANDS
from .folder import text
from .records import Source, digest_of
from .stack import SLAB_BYTES, Slabs

# The classes 0..9 as https://astronn.readthedocs.io/en/latest/galaxy10.html and galaxy10sdss.html name them
# (Leung & Bovy); which of the two lists holds is told by the side of the images.
GALAXY10 = {
    256: (
        "Disturbed Galaxies",
        "Merging Galaxies",
        "Round Smooth Galaxies",
        "In-between Round Smooth Galaxies",
        "Cigar Shaped Smooth Galaxies",
        "Barred Spiral Galaxies",
        "Unbarred Tight Spiral Galaxies",
        "Unbarred Loose Spiral Galaxies",
        "Edge-on Galaxies without Bulge",
        "Edge-on Galaxies with Bulge",
    ),
    69: (
        "Disk, Face-on, No Spiral",
        "Smooth, Completely round",
        "Smooth, in-between round",
        "Smooth, Cigar shaped",
        "Disk, Edge-on, Rounded Bulge",
        "Disk, Edge-on, Boxy Bulge",
        "Disk, Edge-on, No Bulge",
        "Disk, Face-on, Tight Spiral",
        "Disk, Face-on, Medium Spiral",
        "Disk, Face-on, Loose Spiral",
    ),
}


class Hdf5Stack(Source):
    """Galaxies of an HDF5 file: ``images`` (N, height, width[, 3]) or (N, bands, height, width), and N values a column.

    Ids come from a column that names them (id, objid, ...), else they are ``<stem>_<row:05d>``. Every other column of N
    numbers or texts goes into ``catalog``. Labels ``ans`` become the column ``class`` too: as the names of Galaxy10
    (:data:`GALAXY10`) where the labels are exactly 0..9 and the images have that data set's side, else as the number in
    text. ``ra``, ``dec`` (degrees) and ``pxscale`` (arcsec per pixel) go into the records. uint8 stays a picture,
    anything else becomes float32. Links to other files are not followed.
    Raises :class:`~tuningfork.errors.BadStore` for any other layout.
    """

    kind = "HDF5 stack"

    def __init__(
        self, path: str | Path, *, bands: tuple[str, ...] | None = None, pixel_scale: float | None = None
    ) -> None:
        file = Path(path)
        try:
            self._file = h5py.File(file, "r")
            images = _images(self._file, path)
            columns = _columns(self._file, len(images))
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            raise BadStore(f"'{path}' cannot be read as HDF5: {error}") from error
        shape = images.shape
        self._last = len(shape) == 4 and shape[3] <= 5 and shape[1] > MOST_BANDS  # (N, height, width, bands)
        planes = 1 if len(shape) == 3 else shape[3] if self._last else shape[1]
        picture = images.dtype == np.uint8 and planes in (1, 3)
        told = (GREY if planes == 1 else COLOUR) if picture else tuple(f"band{plane}" for plane in range(planes))
        if bands and len(bands) != planes:
            raise BadStore(f"'{path}' has {planes} bands a galaxy, {len(bands)} are named ({', '.join(bands)})")
        table = _table(columns, len(images), text(file.stem), shape[2])
        catalog = Catalog(table, table.column_names[0], name=f"'{path}'")
        status = file.stat()
        digest = digest_of([file.name, str(status.st_size), str(status.st_mtime_ns)])
        super().__init__(path, catalog.ids, digest, bands=bands or told, pixel_scale=pixel_scale, catalog=catalog)
        self._bands = bands or told
        self._scales = columns.get("pxscale") if pixel_scale is None else None
        self.with_catalog(catalog)
        self._images = images
        one = math.prod(shape[1:]) * images.dtype.itemsize
        self._slabs = Slabs(self._read_slab, len(images), max(SLAB_BYTES // one, (images.chunks or (1,))[0]))

    def _read_slab(self, start: int, stop: int) -> NDArray[Any]:
        try:
            slab = self._images[start:stop]
        except Exception as error:  # h5py raises OSError, RuntimeError, KeyError, ... on damaged chunks
            raise BadImage(Reason.CORRUPT, f"HDF5: {error}") from error
        return slab if slab.dtype == np.uint8 else slab.astype(np.float32)

    def _where(self, row: int) -> str:
        return f"{Path(self.path).name} [{row}]"

    def _read(self, row: int) -> Record:
        pixels = self._slabs[row]
        pixels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0) if self._last else pixels
        scale = self.pixel_scale
        if self._scales is not None and np.isfinite(self._scales[row]) and self._scales[row] > 0:
            scale = float(self._scales[row])
        return Record.from_pixels(self.ids[row], pixels, self._bands, scale, source=self._where(row))


def _images(file: h5py.File, path: str | Path) -> h5py.Dataset:
    """The dataset of images, within the budget, and in this very file."""
    names = ", ".join(list(file)[:10])
    if not isinstance(file.get("images", getlink=True), h5py.HardLink) or not isinstance(file["images"], h5py.Dataset):
        raise BadStore(f"'{path}' has no dataset 'images', as Galaxy10 has; it has {names or 'nothing'}")
    images: h5py.Dataset = file["images"]
    if images.is_virtual or images.external:
        raise BadStore(f"the images of '{path}' lie in other files, which are not followed")
    if len(images.shape) not in (3, 4) or images.dtype.kind not in "iuf" or 0 in images.shape:
        raise BadStore(
            f"the images of '{path}' are {images.dtype} of shape {images.shape}; they must be numbers "
            "(N, height, width), (N, height, width, 3) or (N, bands, height, width), N at least 1"
        )
    budget, stored = Budget(), images.id.get_storage_size()
    chunk = math.prod(images.chunks or (1,)) * images.dtype.itemsize
    if math.prod(images.shape[1:]) > budget.pixels or chunk > budget.inflated or images.nbytes > budget.allowed(stored):
        raise BadStore(f"the images of '{path}' claim shape {images.shape} in {stored:,} bytes, beyond what is read")
    return images


def _columns(file: h5py.File, length: int) -> dict[str, Any]:
    """Every further dataset of ``length`` numbers or texts."""
    columns: dict[str, Any] = {}
    for name in file:
        item = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
        if name == "images" or not isinstance(item, h5py.Dataset) or item.shape != (length,):
            continue
        if item.is_virtual or item.external:
            continue
        if h5py.check_string_dtype(item.dtype) is not None:
            columns[name] = item.asstr("utf-8", "replace")[:]
        elif item.dtype.kind in "iufb":
            columns[name] = item[:]
    return columns


def _table(columns: dict[str, Any], length: int, prefix: str, side: int) -> pa.Table:
    """The catalogue's columns, the ids first."""
    id_name = next((name for wanted in ID_NAMES for name in columns if name.casefold() == wanted), None)
    ordered: dict[str, Any] = {}
    if id_name is None:
        ordered["id"] = [f"{prefix}_{row:05d}" for row in range(length)]
    else:
        ordered[id_name] = columns[id_name]
    ordered |= {name: values for name, values in columns.items() if name != id_name}
    labels = columns.get("ans")
    if labels is not None and labels.dtype.kind in "iu" and "class" not in columns:
        names = GALAXY10.get(side) if set(labels.tolist()) == set(range(10)) else None
        ordered["class"] = [names[label] if names else str(label) for label in labels.tolist()]
    return pa.table({name: pa.array(values) for name, values in ordered.items()})
