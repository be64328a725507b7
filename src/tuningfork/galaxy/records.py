"""What every source of galaxies promises: their ids, and one record, or one reason, for each id, in order."""

from __future__ import annotations

import abc
import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from ..errors import BadImage, BadStore, DuplicateIds, Reason
from .catalog import Catalog
from .cutout import Record, Rejected

__all__ = ["Source", "digest_of", "refuse_duplicates"]


class Source(abc.ABC):
    """Galaxies at rest, opened without copying them.

    ``path`` is as the user wrote it; ``kind`` in words ("folder of images", "store", ...); ``ids`` in the order of the
    source, each once; ``bands`` and ``pixel_scale`` (arcsec per pixel) where they are the same for all and known
    without decoding, else None; ``others`` are files beside the galaxies that are no images; ``catalog`` has further
    columns for the same ids ("class" where folders or labels name one), or is None; ``digest`` has 64 hexadecimal
    digits that change when a galaxy is added, removed or written anew (cheap: of names, sizes and times of change of
    files, or of digests that are stored).
    """

    kind = "source"

    def __init__(
        self,
        path: str | Path,
        ids: Sequence[str],
        digest: str,
        *,
        bands: tuple[str, ...] | None = None,
        pixel_scale: float | None = None,
        catalog: Catalog | None = None,
        others: Iterable[str] = (),
    ) -> None:
        self.path = str(path)
        self.ids = ids
        self.digest = digest
        self.bands = bands
        self.pixel_scale = pixel_scale
        self.others = tuple(others)
        self._catalog = catalog
        self._positions: dict[str, tuple[float, float]] = {}
        self._index: dict[str, int] | None = None
        self._scale: float | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, identifier: object) -> bool:
        return identifier in self._rows

    def __repr__(self) -> str:
        return f"<{self.kind} '{self.path}': {len(self)} galaxies>"

    @property
    def catalog(self) -> Catalog | None:
        """The catalogue of these galaxies, or None."""
        return self._catalog

    @property
    def _rows(self) -> dict[str, int]:
        if self._index is None:
            self._index = {identifier: row for row, identifier in enumerate(self.ids)}
        return self._index

    def with_catalog(self, catalog: Catalog) -> Self:
        """Give the galaxies a catalogue: it becomes ``catalog``, and its positions go into records that have none."""
        self._catalog = catalog
        if catalog.ra is not None and catalog.dec is not None:
            places = zip(catalog.ra.tolist(), catalog.dec.tolist(), strict=True)
            self._positions = dict(zip(catalog.ids, places, strict=True))
        return self

    def with_pixel_scale(self, pixel_scale: float) -> Self:
        """Let this pixel scale (arcsec per pixel) win over whatever the records say."""
        self.pixel_scale = self._scale = pixel_scale
        return self

    def record(self, identifier: str) -> Record:
        """The record of one galaxy, by random access.

        Raises :class:`~tuningfork.errors.BadStore` for an id that is not here, and
        :class:`~tuningfork.errors.BadImage` where its bytes cannot be had.
        """
        row = self._rows.get(identifier)
        if row is None:
            raise BadStore(
                f"no galaxy '{identifier}' in '{self.path}' ({len(self)} galaxies, the first is {self._first()})"
            )
        return self._finished(self._read(row))

    def records(self, ids: Iterable[str] | None = None) -> Iterator[Record | Rejected]:
        """Stream the galaxies, or those of ``ids`` in that order, in constant memory: one item for each id, always.

        A galaxy whose bytes cannot be had comes as :class:`~tuningfork.galaxy.cutout.Rejected`; so does an id that is
        not here. The bytes are not decoded: ``record.cutout()`` does that.
        """
        for identifier, row in self._wanted(ids):
            if row is None:
                yield Rejected(identifier, Reason.MISSING, f"no such galaxy in '{self.path}'", self.path)
                continue
            try:
                yield self._finished(self._read(row))
            except BadImage as error:
                yield Rejected(identifier, error.reason, error.detail, self._where(row))

    def _wanted(self, ids: Iterable[str] | None) -> Iterator[tuple[str, int | None]]:
        if ids is None:
            yield from zip(self.ids, range(len(self.ids)), strict=True)
        else:
            for identifier in ids:
                yield identifier, self._rows.get(identifier)

    def _finished(self, record: Record) -> Record:
        if self._scale is not None:
            record = dataclasses.replace(record, pixel_scale=self._scale)
        if self._positions and record.ra is None:
            ra, dec = self._positions.get(record.id, (np.nan, np.nan))
            if np.isfinite(ra) and np.isfinite(dec):
                return dataclasses.replace(record, ra=ra, dec=dec)
        return record

    def _first(self) -> str:
        return f"'{self.ids[0]}'" if len(self) else "none"

    @abc.abstractmethod
    def _read(self, row: int) -> Record:
        """The record of one row; raises BadImage."""

    @abc.abstractmethod
    def _where(self, row: int) -> str:
        """Where the galaxy lies, as the rejected table tells it."""


def refuse_duplicates(ids: Sequence[str], places: Sequence[str], advice: str, *, case: bool = True) -> None:
    """Raise :class:`~tuningfork.errors.DuplicateIds` if an id comes twice, with the places of the first five.

    ``case`` False takes ids that differ by case alone for the same: file names are the same on some file systems.
    """
    keys = ids if case else [identifier.casefold() for identifier in ids]
    counts = Counter(keys)
    if len(counts) == len(keys):
        return
    twice: dict[str, list[int]] = {key: [] for key, number in counts.items() if number > 1}
    for row, key in enumerate(keys):
        if key in twice:
            twice[key].append(row)
    lines = [
        f"  '{ids[rows[0]]}': {', '.join(places[row] for row in rows[:4])}{', ...' if len(rows) > 4 else ''}"
        for rows in list(twice.values())[:5]
    ]
    more = f"\n  ... and {len(twice) - 5} more" if len(twice) > 5 else ""
    raise DuplicateIds(f"{len(twice)} ids stand for more than one galaxy:\n" + "\n".join(lines) + more + f"\n{advice}")


def digest_of(parts: Iterable[str]) -> str:
    """The SHA-256 of text lines, each ended by a NUL, which no path contains."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()
