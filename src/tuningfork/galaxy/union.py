"""Several sources as one: galaxies of different samples side by side, each with the name of its sample in its id."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from ..errors import BadStore
from .catalog import Catalog
from .cutout import Record
from .records import Source, digest_of

__all__ = ["Union"]


class Union(Source):
    """The galaxies of all ``sources`` (by name), called "name:id", in their order.

    ``catalog`` has the column "sample" and every column of theirs (one called so becomes "sample_other"), null where a
    sample does not have it; columns of one name must be of one kind (numbers, or text). ``columns`` renames columns of
    a sample, ``{"gz1": {"class": "gz1_class"}}``, so that what is not the same does not become one. Bands are those of
    all, or unknown where they differ; so is the pixel scale. Raises :class:`~tuningfork.errors.BadStore` without
    sources, for a name with a colon or none, and for columns that cannot be one.
    """

    kind = "union of sources"

    def __init__(self, sources: Mapping[str, Source], columns: Mapping[str, Mapping[str, str]] | None = None) -> None:
        wrong = [name for name in sources if not name or ":" in name]
        if not sources or wrong:
            raise BadStore(f"a union takes sources by names without a colon, not {wrong or 'none'}")
        self.sources = dict(sources)
        self._ends = list(itertools.accumulate(len(one) for one in sources.values()))
        ids = [f"{name}:{identifier}" for name, one in sources.items() for identifier in one.ids]
        bands = {one.bands for one in sources.values()}
        scales = {one.pixel_scale for one in sources.values()}
        super().__init__(
            " + ".join(one.path for one in sources.values()),
            ids,
            digest_of([text for name, one in sources.items() for text in (name, one.digest)]),
            bands=bands.pop() if len(bands) == 1 else None,
            pixel_scale=scales.pop() if len(scales) == 1 else None,
        )
        tables = [_table(name, one, (columns or {}).get(name, {})) for name, one in sources.items()]
        try:
            table = pa.concat_tables(tables, promote_options="permissive")
        except pa.ArrowException as error:
            raise BadStore(f"the columns of {', '.join(sources)} cannot be one: {error}") from error
        self.with_catalog(Catalog(table, "id", name="the union"))

    def _of(self, row: int) -> tuple[Source, int]:
        number = bisect.bisect_right(self._ends, row)
        return list(self.sources.values())[number], row - (self._ends[number - 1] if number else 0)

    def _read(self, row: int) -> Record:
        source, own = self._of(row)
        return dataclasses.replace(source.record(source.ids[own]), id=self.ids[row])

    def _where(self, row: int) -> str:
        source, own = self._of(row)
        return f"{source.path} ({source.ids[own]})"


def _table(name: str, source: Source, renamed: Mapping[str, str]) -> pa.Table:
    ids: dict[str, Any] = {"id": pa.array([f"{name}:{one}" for one in source.ids], pa.string())}
    ids["sample"] = pa.array([name] * len(source.ids), pa.string())
    if source.catalog is None:
        return pa.table(ids)
    table = source.catalog.select(source.ids).table
    for column in table.column_names:
        if column != "id":
            called = renamed.get(column, column)
            ids["sample_other" if called == "sample" else called] = table[column]
    return pa.table(ids)
