"""Galaxies spread over files by a pattern: 'field/{id}_{band}.fits', a file per galaxy and band or a stack a band."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

import numpy as np

from ..errors import BadImage, BadStore, Reason
from .cutout import Record
from .decode import Image, decode
from .fits import read_planes
from .folder import image_format, read_file, stem, text
from .records import Source, digest_of, refuse_duplicates
from .stack import Stack, holds_planes

# the order of bands that nobody ordered
WAVELENGTH = (
    "FUV", "NUV", "U", "u", "B", "g", "G", "V", "r", "R", "i", "I", "z", "Z", "y", "Y", "J", "H", "K", "Ks",
)  # fmt: skip
_FIELD = re.compile(r"\{([^{}]*)\}")


def is_pattern(path: str) -> bool:
    """True where a path has a placeholder in braces, and no file has this very name."""
    return bool(_FIELD.search(path)) and not os.path.exists(path)


def open_pattern(pattern: str, *, bands: tuple[str, ...] | None = None, pixel_scale: float | None = None) -> Source:
    """Open the files that a pattern names.

    ``{band}`` stands for a band's name, ``{id}`` for a galaxy's id, ``*`` for anything that does not matter. With
    ``{band}`` alone each file is a FITS stack of the same galaxies (ids ``<stem>_00000`` ...), or one image of one
    galaxy. ``bands`` say which bands, in which order; by default all that are found, by wavelength.
    Raises :class:`~tuningfork.errors.BadStore`.
    """
    unknown = set(_FIELD.findall(pattern)) - {"id", "band"}
    if unknown:
        raise BadStore(f"'{pattern}' has the placeholder {{{min(unknown)}}}; there are {{id}} and {{band}}")
    root, files = _matches(pattern, bands)
    if not files:
        hint = " with the bands " + ", ".join(bands) if bands and "{band}" in pattern else ""
        raise BadStore(f"no file fits '{pattern}'{hint}")
    found = {band for _, band, _ in files}
    order = bands or tuple(
        sorted(found, key=lambda b: (WAVELENGTH.index(b) if b in WAVELENGTH else len(WAVELENGTH), b))
    )
    if "{id}" in pattern or "{band}" not in pattern:
        return BandFiles(pattern, root, files, bands=order if "{band}" in pattern else bands, pixel_scale=pixel_scale)
    by_band = {band: root / path for _, band, path in files}
    missing = [band for band in order if band not in by_band]
    if missing:
        raise BadStore(f"'{pattern}' has no file for the band {', '.join(missing)}; it has {', '.join(sorted(found))}")
    prefix = stem(os.path.basename(pattern).replace("{band}", "")).strip("_-. ") or "galaxy"
    chosen = [by_band[band] for band in order]
    if all(holds_planes(path) for path in chosen):
        return Stack(pattern, chosen, prefix, bands=order, pixel_scale=pixel_scale)
    one = [(prefix, band, path) for _, band, path in files]
    return BandFiles(pattern, root, one, bands=order, pixel_scale=pixel_scale)


def _matches(pattern: str, bands: tuple[str, ...] | None) -> tuple[Path, list[tuple[str, str, str]]]:
    """(id, band, path below the root) of every file that fits, by path; the root is what stands before the braces."""
    parts = Path(pattern).parts
    fixed = next(number for number, part in enumerate(parts) if _FIELD.search(part) or "*" in part)
    root, tail = Path(*parts[:fixed]), "/".join(parts[fixed:])
    pieces = _FIELD.split(tail)  # text, field, text, field, ...
    groups = {"id": "[^/]+", "band": "|".join(map(re.escape, bands)) if bands else "[A-Za-z0-9]+"}
    expression, seen = "", set()
    for number, piece in enumerate(pieces):
        if number % 2 == 0:
            expression += re.escape(piece).replace(r"\*", "[^/]*")
        else:
            expression += f"(?P={piece})" if piece in seen else f"(?P<{piece}>{groups[piece]})"
            seen.add(piece)
    wild = "".join(
        glob.escape(piece).replace("[*]", "*") if number % 2 == 0 else "*" for number, piece in enumerate(pieces)
    )
    files = []
    for path in sorted(glob.glob(wild, root_dir=root)):
        match = re.fullmatch(expression, path)
        if match and (root / path).is_file():
            fields = match.groupdict()
            files.append((text(fields.get("id", "")), text(fields.get("band", "")), path))
    return root, files


class BandFiles(Source):
    """Galaxies of one file for each band, put together; or, for a pattern without ``{band}``, of one file each.

    A galaxy that lacks a band's file is rejected (missing_band), one whose bands differ in size too (wrong_shape).
    """

    kind = "one file per band"

    def __init__(
        self,
        pattern: str,
        root: Path,
        files: list[tuple[str, str, str]],
        *,
        bands: tuple[str, ...] | None = None,
        pixel_scale: float | None = None,
    ) -> None:
        self._root, self._pattern = root, pattern
        self._whole = "{band}" not in pattern
        places = [f"{identifier}\n{band}" for identifier, band, _ in files]
        refuse_duplicates(places, [text(path) for _, _, path in files], "two files fit the pattern for one galaxy")
        self._files: dict[str, dict[str, str]] = {}
        for identifier, band, path in files:
            self._files.setdefault(identifier, {})[band] = path
        status = [(path, (root / path).stat()) for _, _, path in files]
        digest = digest_of([*(bands or ()), *(f"{path}\n{s.st_size}\n{s.st_mtime_ns}" for path, s in status)])
        super().__init__(pattern, list(self._files), digest, bands=bands, pixel_scale=pixel_scale)
        if self._whole:
            self.kind = "files by pattern"

    def _where(self, row: int) -> str:
        return ", ".join(text(path) for path in self._files[self.ids[row]].values())

    def _read(self, row: int) -> Record:
        identifier = self.ids[row]
        files = self._files[identifier]
        if self._whole:
            path = files[""]
            data = read_file(self._root / path)
            scale = self.pixel_scale
            return Record(identifier, data, image_format(path), self.bands or (), scale, source=self._where(row))
        bands = self.bands or ()
        missing = [band for band in bands if band not in files]
        if missing:
            raise BadImage(Reason.MISSING_BAND, f"no file for {', '.join(missing)}; there are {', '.join(files)}")
        images = [self._image(files[band], band) for band in bands]
        shapes = {image.pixels.shape for image in images}
        if len(shapes) > 1 or images[0].pixels.shape[0] != 1:
            raise BadImage(Reason.WRONG_SHAPE, f"its bands have the shapes {', '.join(map(str, sorted(shapes)))}")
        first = images[0]
        pixels = np.concatenate([image.pixels for image in images])
        scale = first.pixel_scale if self.pixel_scale is None else self.pixel_scale
        return Record.from_pixels(identifier, pixels, bands, scale, first.ra, first.dec, self._where(row))

    def _image(self, path: str, band: str) -> Image:
        """One band; a plane without signal is left to the check of the whole galaxy."""
        try:
            data = read_file(self._root / path)
            if image_format(path) != "fits":
                return decode(data, bands=(band,))
            plane = read_planes(data, first=True)[0]
        except BadImage as error:
            raise BadImage(error.reason, f"band {band}: {error.detail}") from error
        pixels = plane.pixels[None] if plane.pixels.ndim == 2 else plane.pixels
        return Image(pixels, (band,), plane.pixel_scale, plane.ra, plane.dec)
