"""What is to be fetched: the rows of a catalogue as requests, each with its position and field of view."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import pyarrow as pa

from .. import disk
from ..errors import BadCatalog, Reason
from ..galaxy.catalog import Catalog
from ..galaxy.cutout import Rejected
from .field import Field
from .service import Request

_CHUNK = 512  # rows that become Python objects at a time


class Targets:
    """The galaxies of a catalogue, as they are asked for: ``pixels`` 0 and ``bands`` () mean the survey's own.

    Raises :class:`~tuningfork.errors.BadCatalog` for a catalogue without positions, and whatever
    :meth:`Field.widths` raises.
    """

    def __init__(self, catalog: Catalog, width: Field, pixels: int = 0, bands: tuple[str, ...] = ()) -> None:
        ra, dec = catalog.ra, catalog.dec
        if ra is None or dec is None:
            raise BadCatalog(
                f"{catalog.name} has no positions: name its columns of right ascension and declination. "
                f"Its columns are {', '.join(catalog.columns[:20])}"
            )
        self.catalog, self.field, self.pixels, self.bands = catalog, width, pixels, bands
        self._ra, self._dec, self._widths = ra, dec, width.widths(catalog)

    def __len__(self) -> int:
        return len(self.catalog)

    @property
    def ids(self) -> list[str]:
        """The ids as text, in the catalogue's order."""
        return self.catalog.ids

    def plan(self) -> dict[str, Any]:
        """What a folder remembers of the galaxies and what was asked of each, so that others are not taken for them."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.catalog.table.schema) as stream:
            stream.write_table(self.catalog.table.combine_chunks())
        return {
            "n": len(self),
            "catalog": disk.sha256(sink.getvalue().to_pybytes()),
            "width": self.field.text.replace(" ", ""),
            "pixels": self.pixels,
            "bands": list(self.bands),
        }

    def order(self, rows: Iterable[int]) -> list[int]:
        """The rows in the order in which to ask: by frame, where the columns run, camcol and field tell it.

        Galaxies of one frame then cost one download (survey "sdss-frames"); others are asked for as they stand.
        """
        rows = list(rows)
        if {"run", "camcol", "field"} <= set(self.catalog.columns):
            frames = [self.catalog.table.column(name).to_pylist() for name in ("run", "camcol", "field")]
            return sorted(rows, key=lambda row: tuple(str(column[row]) for column in frames))
        return rows

    def requests(self, rows: Iterable[int]) -> Iterator[Request | Rejected]:
        """One request for each row, in this order; a row without position or size comes as rejected (missing)."""
        ids, columns = self.ids, [name for name in self.catalog.columns if name not in ("id", "ra", "dec")]
        rest = self.catalog.table.select(columns)
        rows = iter(rows)
        while chunk := list(islice(rows, _CHUNK)):
            others = rest.take(pa.array(chunk)).to_pylist() if columns else [{}] * len(chunk)
            for row, other in zip(chunk, others, strict=True):
                ra, dec, width = float(self._ra[row]), float(self._dec[row]), float(self._widths[row])
                if math.isnan(ra) or math.isnan(dec):
                    yield Rejected(ids[row], Reason.MISSING, "it has no position", self.catalog.name)
                elif math.isnan(width):
                    detail = f"its {self.field.column} is {other.get(self.field.column)}: no field of view follows"
                    yield Rejected(ids[row], Reason.MISSING, detail, self.catalog.name)
                else:
                    yield Request(ids[row], ra, dec, width, self.pixels, self.bands, other)
