"""Folders of image files as a source of galaxies: one file each, named by its stem, perhaps sorted into classes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from ..errors import BadImage, BadStore, Reason
from .catalog import Catalog
from .cutout import Record
from .records import Source, digest_of, refuse_duplicates

FORMATS = {
    "jpg": "jpeg", "jpeg": "jpeg", "jpe": "jpeg", "png": "png", "tif": "tiff", "tiff": "tiff", "webp": "webp",
    "fits": "fits", "fit": "fits", "fts": "fits", "npy": "npy",
}  # fmt: skip
LARGEST_FILE = 1 << 30  # bytes; one galaxy is never as large as this
_SUFFIX = re.compile(rf"\.({'|'.join(FORMATS)})(\.gz|\.bz2|\.fz)?$", re.IGNORECASE)
_ADVICE = (
    "an id is a file's name without its folder and suffix: rename the files, or take the folders one by one "
    "(tuningfork ingest FOLDER/a ...)"
)


class Found(NamedTuple):
    """One file of a folder: its path below the folder (with '/'), its size in bytes and its time of change in ns."""

    path: str
    size: int
    changed: int


def image_format(name: str) -> str:
    """The format that a file's name promises ("jpeg", "fits", ...), or "" where it promises no image."""
    match = _SUFFIX.search(name)
    return FORMATS[match[1].lower()] if match else ""


def stem(name: str) -> str:
    """The id of a file: its name without folder and image suffix, as text that any table can hold."""
    return text(_SUFFIX.sub("", os.path.basename(name)))


def text(name: str) -> str:
    r"""A file's name with bytes that are no UTF-8 spelled out, as ``\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def read_file(path: Path) -> bytes:
    """The bytes of one galaxy's file; raises :class:`~tuningfork.errors.BadImage` where they cannot be had."""
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise BadImage(Reason.TOO_LARGE, f"a file of {size:,} bytes; one galaxy has at most {LARGEST_FILE:,}")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BadImage(Reason.MISSING, "the file is not there") from error
    except OSError as error:
        raise BadImage(Reason.UNREADABLE, str(error.strerror or error)) from error


def look_through(folder: Path) -> list[Found]:
    """All files below ``folder``, sorted by path; hidden files and folders, and links to folders, are passed by.

    Raises :class:`~tuningfork.errors.BadStore` for a folder that may not be read: its galaxies would be lost unseen.
    """
    found: list[Found] = []
    waiting = [("", str(folder))]
    while waiting:
        prefix, where = waiting.pop()
        try:
            with os.scandir(where) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((f"{prefix}{entry.name}/", entry.path))
                    elif entry.is_file():
                        status = entry.stat()
                        found.append(Found(prefix + entry.name, status.st_size, status.st_mtime_ns))
                    elif entry.is_symlink() and not entry.is_dir():  # a link to nowhere: a galaxy that is missing
                        found.append(Found(prefix + entry.name, 0, 0))
        except OSError as error:
            raise BadStore(f"cannot read the folder '{where}': {error.strerror or error}") from error
    return sorted(found)


class Folder(Source):
    """Image files below a folder (or one image file): each is a galaxy, its id the file's name without suffix.

    ``files`` is what :func:`look_through` found there, if somebody has looked.

    Where all images lie one level down, in two folders or more, the folders are classes: ``kind`` is then "folder of
    class folders", and ``catalog`` has their names as column ``class``. Files without an image's suffix are ``others``.
    Raises :class:`~tuningfork.errors.BadStore` where there is no image, and
    :class:`~tuningfork.errors.DuplicateIds` where two files would have one id (also where only case tells them apart).
    """

    kind = "folder of images"

    def __init__(
        self,
        path: str | Path,
        *,
        bands: tuple[str, ...] | None = None,
        pixel_scale: float | None = None,
        files: list[Found] | None = None,
    ) -> None:
        root = Path(path)
        if root.is_dir():
            files = look_through(root) if files is None else files
        else:
            status = root.stat()
            root, files = root.parent, [Found(root.name, status.st_size, status.st_mtime_ns)]
            self.kind = "one image"
        images = [file for file in files if image_format(file.path)]
        others = [text(file.path) for file in files if not image_format(file.path)]
        if not images:
            raise BadStore(_nothing(path, others))
        self._root = root
        self._paths = [file.path for file in images]
        ids = [stem(path) for path in self._paths]
        refuse_duplicates(ids, [text(path) for path in self._paths], _ADVICE, case=False)
        digest = digest_of(f"{file.path}\n{file.size}\n{file.changed}" for file in images)
        super().__init__(path, ids, digest, bands=bands, pixel_scale=pixel_scale, others=others)
        classes = _classes(self._paths)
        if classes:
            self.kind = "folder of class folders"
            self._catalog = Catalog(pa.table({"id": ids, "class": classes}), name=f"the folders of '{path}'")

    def _where(self, row: int) -> str:
        return text(self._paths[row])

    def _read(self, row: int) -> Record:
        path = self._paths[row]
        return Record(
            id=self.ids[row],
            data=read_file(self._root / path),
            format=image_format(path),
            bands=self.bands or (),
            pixel_scale=self.pixel_scale,
            source=text(path),
        )


def _classes(paths: Sequence[str]) -> list[str]:
    """The class of each file if the folders are classes, else nothing."""
    parts = [path.split("/") for path in paths]
    if all(len(part) == 2 for part in parts) and len({part[0] for part in parts}) > 1:
        return [text(part[0]) for part in parts]
    return []


def _nothing(path: str | Path, others: list[str]) -> str:
    suffixes = ", ".join(f".{suffix}" for suffix in FORMATS)
    if not others:
        return f"'{path}' is empty: there are no images in it (looked for {suffixes}, also with .gz, .bz2 or .fz)"
    shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
    return f"'{path}' has no images (looked for {suffixes}) among its {len(others)} files ({shown})"
