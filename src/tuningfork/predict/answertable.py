"""The table of answers: one row per galaxy, the answers of all models side by side, written as the galaxies come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .. import disk
from ..errors import RecipeError
from ..galaxy.tablefile import FORMATS, field, with_metadata, write_table
from ..galaxy.votelayout import column_name
from .answers import Galaxy, Head

_FIRST = [
    field("id", pa.string(), "", "as in the input"),
    field("ra", pa.float64(), "deg", "right ascension, ICRS"),
    field("dec", pa.float64(), "deg", "declination, ICRS"),
    field("status", pa.string(), "", "done or rejected"),
    field("reason", pa.string(), "", "why the galaxy was rejected"),
    field("detail", pa.string(), "", "what was seen of it then"),
    field("x", pa.float64(), "pix", "the source's centre: column, from 0"),
    field("y", pa.float64(), "pix", "the source's centre: row, from 0"),
    field("petrosian_radius", pa.float64(), "pix", "along the long axis"),
    field("axis_ratio", pa.float64(), "", "short by long axis"),
    field("position_angle", pa.float64(), "deg", "of the long axis, from x towards growing y"),
]
_TYPICAL = field("p_typical", pa.float64(), "", "share of galaxies like those of the training that look as strange")


def check_table(path: str | Path) -> None:
    """Raise :class:`RecipeError` for a file whose suffix is no format of a table."""
    if Path(path).suffix.lower() not in FORMATS or Path(path).is_dir():
        raise RecipeError(f"'{path}': name a table to write; its suffix may be {', '.join(FORMATS)}")


class AnswerTable:
    """Writes the table, whole or not at all: a context manager; :meth:`write` takes the next galaxies.

    Columns: id, ra, dec, status, reason, detail, x, y, petrosian_radius, axis_ratio, position_angle, with ``typical``
    p_typical; then each head's as votes have them (:class:`~tuningfork.galaxy.votelayout.Layout`: class, p_<class>, T,
    t01_..._fraction), and what its calibration adds (class_set; T_low, T_high). A head
    of which a column is taken by a head before it has its name before all of its columns: ``sky_class``. Parquet is
    written as the galaxies come; the rows of other formats wait in memory, about 0.5 kB each.
    """

    def __init__(self, path: str | Path, heads: Sequence[Head], told: Mapping[str, Any], typical: bool = False) -> None:
        check_table(path)
        self._path, self._heads = Path(path), tuple(heads)
        self._first = [*_FIRST, *([_TYPICAL] if typical else [])]
        self._names = _names(heads, self._first)
        fields = [one.with_name(name) for head in heads for one, name in self._named(head)]
        self._schema = with_metadata(pa.schema([*self._first, *fields]).empty_table(), dict(told)).schema
        self._waiting: list[pa.Table] = []
        self._writer: Any = None
        self._stack = ExitStack()

    def _named(self, head: Head) -> list[tuple[Any, str]]:
        return list(zip(_fields(head), self._names[head.name], strict=True))

    def __enter__(self) -> Self:
        if FORMATS[self._path.suffix.lower()] == "parquet":
            part = self._stack.enter_context(disk.atomic(self._path))
            self._writer = self._stack.enter_context(pq.ParquetWriter(part, self._schema, compression="zstd"))
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)
        if error[0] is None and self._writer is None:
            write_table(pa.concat_tables([self._schema.empty_table(), *self._waiting]), self._path)

    def write(self, galaxies: Sequence[Galaxy], values: Mapping[str, NDArray[np.float32]]) -> None:
        """The next galaxies, and by the head's name their outputs (N, K): a row of NaN where it did not answer."""
        columns = {one.name: pa.array([getattr(g, one.name) for g in galaxies], one.type) for one in self._first}
        columns |= {name: pa.array([getattr(g, name) or None for g in galaxies], pa.string()) for name in _TEXTS}
        nowhere = np.full(len(galaxies), np.nan)
        for head in self._heads:
            known: NDArray[np.bool_] = np.asarray(np.isfinite(values[head.name]).all(axis=1))
            reasons = [None if one else "missing_band" for one in known.tolist()]
            ids = [galaxy.id for galaxy in galaxies]
            table = head.layout.table(ids, nowhere, nowhere, values[head.name][known], reasons)
            added = _added(head, galaxies)
            for one, name in self._named(head):
                has = one.name in added
                columns[name] = pa.array(added[one.name], one.type) if has else table.column(one.name).combine_chunks()
        made = pa.Table.from_arrays([columns[name] for name in self._schema.names], schema=self._schema)
        if self._writer is None:
            self._waiting.append(made)
        else:
            self._writer.write_table(made)


_TEXTS = ("reason", "detail")


def _fields(head: Head) -> list[Any]:
    """The columns of a head: those of votes, then those of its calibration."""
    within = f"for {head.level:.0%} of galaxies the truth is" if head.level else ""
    made = list(head.layout.fields)
    if head.has_sets:
        made.append(field("class_set", pa.string(), "", f"{within} one of these classes, the likeliest first"))
    return made + head.interval_columns()


def _added(head: Head, galaxies: Sequence[Galaxy]) -> dict[str, list[Any]]:
    """What the calibration says of each galaxy, by column."""
    columns: dict[str, list[Any]] = {}
    if head.has_sets:
        columns["class_set"] = [";".join(one.likely.get(head.name, ())) or None for one in galaxies]
    for name in head.with_intervals:
        column = head.layout.value_columns[head.names.index(name)]
        for end in ("low", "high"):
            columns[f"{column}_{end}"] = [one.answers.get(head.name, {}).get(f"{name}_{end}") for one in galaxies]
    return columns


def _names(heads: Sequence[Head], first: Sequence[Any]) -> dict[str, list[str]]:
    """The columns of each head in the common table; FITS and TOPCAT do not see case."""
    taken = {one.name.lower() for one in first}
    out = {}
    for head in heads:
        names = [one.name for one in _fields(head)]
        if any(name.lower() in taken for name in names):
            names = [column_name(f"{head.name}_{name}") for name in names]
        taken |= {name.lower() for name in names}
        out[head.name] = names
    return out
