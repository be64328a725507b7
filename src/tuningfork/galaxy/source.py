"""Open whatever holds galaxies (store, folder, stack, table, pattern) as one kind of thing: a source."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from ..errors import BadStore, RecipeError
from .catalog import Catalog
from .folder import FORMATS, Folder, image_format, look_through, stem
from .hdf5 import Hdf5Stack
from .imagetable import ImageTable
from .pattern import is_pattern, open_pattern
from .records import Source, refuse_duplicates
from .stack import Stack, holds_stack
from .store import MANIFEST, PLAN, Store

__all__ = ["Source", "open_source", "open_sources"]

_HDF5, _PARQUET = (".h5", ".hdf5", ".hdf", ".he5"), (".parquet", ".pq")


def open_source(
    path: str | Path,
    *,
    bands: tuple[str, ...] | None = None,
    pixel_scale: float | None = None,
    catalog: Catalog | str | Path | None = None,
    stack: bool | None = None,
) -> Source:
    """Open galaxies where they are, without copying them.

    ``path`` is one of: a store; a folder of images (also below it), perhaps sorted into folders named by class; one
    image file; a FITS file of many planes (more than 20, or ``stack=True``, makes it a stack of galaxies; else it is
    one galaxy of several bands); an HDF5 file in Galaxy10's layout; a Parquet file with images, or a folder of such; a
    pattern with ``{id}`` or ``{band}``, such as 'des_{band}.fits'.

    ``bands`` name the planes where the files do not (or choose among those that they name), and order the files of a
    pattern. ``pixel_scale`` (arcsec per pixel) holds for all galaxies and wins over what headers say. ``catalog`` (or
    its path) gives further columns for the same ids, each of which it must have.

    Raises :class:`~tuningfork.errors.BadStore` where there is nothing of this kind (or nothing at all),
    :class:`~tuningfork.errors.DuplicateIds`, and :class:`~tuningfork.errors.Unmatched`.
    """
    if bands is not None and (not bands or len(set(bands)) < len(bands)):
        raise BadStore(f"bands must be names, each once, not {bands!r}")
    if pixel_scale is not None and not 0 < pixel_scale < float("inf"):
        raise BadStore(f"the pixel scale must be a positive number of arcsec per pixel, not {pixel_scale!r}")
    try:
        source = _opened(path, bands, pixel_scale, stack)
    except OSError as error:
        raise BadStore(f"cannot read '{path}': {error.strerror or error}") from error
    if catalog is not None:
        catalog = catalog if isinstance(catalog, Catalog) else Catalog.read(catalog)
        source.with_catalog(catalog.select(source.ids))
    return source


def open_sources(places: str | Path | Sequence[str | Path], bands: tuple[str, ...] | None, what: str) -> list[Source]:
    """The galaxies of files, folders and stores, for those who look at few of them: ids differ over all of them.

    ``what`` is a verb, for the message where none is named (:class:`~tuningfork.errors.RecipeError`).
    """
    names = dict.fromkeys(map(str, [places] if isinstance(places, str | Path) else places))
    if not names:
        raise RecipeError(f"name galaxies to {what}: pictures, a folder of them, or a store")
    opened = [open_source(one, bands=bands) for one in names]
    if len(opened) > 1:
        ids = [one for source in opened for one in source.ids]
        refuse_duplicates(ids, [source.path for source in opened for _ in source.ids], f"{what} them one by one")
    return opened


def _opened(path: str | Path, bands: tuple[str, ...] | None, pixel_scale: float | None, stack: bool | None) -> Source:
    if is_pattern(str(path)):
        return open_pattern(str(path), bands=bands, pixel_scale=pixel_scale)
    place = Path(path)
    if not place.exists():
        raise BadStore(f"'{path}' does not exist{_near(place)}")
    if place.is_dir():
        return _opened_folder(place, bands, pixel_scale)
    suffix = place.suffix.lower()
    if suffix in _HDF5:
        return Hdf5Stack(path, bands=bands, pixel_scale=pixel_scale)
    if suffix in _PARQUET:
        if (place.parent / MANIFEST).exists():
            raise BadStore(f"'{path}' is a part of a store: open the folder '{place.parent}'")
        return ImageTable(path, bands=bands, pixel_scale=pixel_scale)
    if image_format(place.name) == "fits" and (stack or (stack is None and holds_stack(place))):
        return Stack(path, [place], stem(place.name), bands=bands, pixel_scale=pixel_scale)
    if image_format(place.name):
        return Folder(path, bands=bands, pixel_scale=pixel_scale)
    known = ", ".join(f".{name}" for name in FORMATS)
    raise BadStore(
        f"'{path}' is no source of galaxies by its suffix: give a folder, a pattern with {{id}} or {{band}}, "
        f"or a file with one of {known}, {', '.join(_HDF5 + _PARQUET)}"
    )


def _opened_folder(folder: Path, bands: tuple[str, ...] | None, pixel_scale: float | None) -> Source:
    if (folder / MANIFEST).exists() or (folder / PLAN).exists():
        store = Store.open(folder)
        if bands is not None and store.bands != bands:
            raise BadStore(f"'{folder}' is a store of the bands {store.bands}; they cannot be renamed to {bands}")
        return store.with_pixel_scale(pixel_scale) if pixel_scale is not None else store
    files = look_through(folder)
    images = any(image_format(file.path) for file in files)
    if not images and any(file.path.lower().endswith(".parquet") for file in files):
        return ImageTable(folder, bands=bands, pixel_scale=pixel_scale, found=files)
    stacks = [file.path for file in files if file.path.lower().endswith(_HDF5)]
    if not images and stacks:
        raise BadStore(f"'{folder}' has no images, but HDF5 files; open one of them: '{folder / stacks[0]}'")
    return Folder(folder, bands=bands, pixel_scale=pixel_scale, files=files)


def _near(place: Path) -> str:
    folder = place.parent
    if not folder.is_dir():
        return f": there is no folder '{folder}' either"
    near = difflib.get_close_matches(place.name, [entry.name for entry in folder.iterdir()], 1)
    return f"; did you mean '{folder / near[0]}'?" if near else ""
