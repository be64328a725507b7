"""A catalogue: one row per galaxy, exact ids, positions in ICRS degrees, and any other columns with their units."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..errors import BadCatalog, DuplicateIds, ImpossibleVotes
from .crossmatch import JoinReport, UnmatchedChoice, pair_ids, pair_positions, refuse_unmatched
from .position import degrees
from .tablefile import field, note, read_table, write_table

if TYPE_CHECKING:
    from .tree import Tree

ID_NAMES = (
    "id", "objid", "dr7objid", "dr8objid", "id_str", "object_id", "source_id", "iauname", "galaxyid", "galaxy_id",
    "pgcname", "asset_id", "name",
)  # fmt: skip
RA_NAMES = (
    "ra", "ra_deg", "radeg", "raj2000", "_raj2000", "ra_j2000", "ra_icrs", "right_ascension", "rightascension",
    "alpha_j2000",
)  # fmt: skip
DEC_NAMES = (
    "dec", "dec_deg", "decdeg", "dej2000", "_dej2000", "decj2000", "dec_j2000", "de_icrs", "dec_icrs", "dedeg",
    "declination", "delta_j2000",
)  # fmt: skip

_FIRST = 5
_EXACT = 2**53  # the integers that a float64 holds exactly


class Catalog:
    """Galaxies as a table with a column ``id`` and, where known, ``ra`` and ``dec`` (ICRS degrees, float64).

    ``table`` is an Arrow table (or a mapping of names to values); ``id``, ``ra`` and ``dec`` name its columns, which
    become the first three under exactly these names (another column that has such a name becomes ``id_other`` and
    so on). Where ``ra`` and ``dec`` are not named they are looked for among :data:`RA_NAMES` and :data:`DEC_NAMES`.
    Positions may be numbers with a unit of angle (degrees if none is given) or text, decimal or sexagesimal; one
    that is null stays unknown. Ids are text or int64: unsigned integers beyond int64 become text. ``name`` is what
    error messages call the table.

    Raises :class:`BadCatalog` (ids that are floats or null, positions off the sphere), :class:`DuplicateIds` and
    :class:`ImpossibleVotes` (a column ``*_count`` with negative or fractional numbers), each with the first rows
    (counted from 1). A catalogue never changes; every method that alters something returns a new one.
    """

    def __init__(
        self,
        table: pa.Table | Mapping[str, Any],
        id: str = "id",
        *,
        ra: str | None = None,
        dec: str | None = None,
        name: str = "the table",
    ) -> None:
        table = table if isinstance(table, pa.Table) else pa.table(dict(table))
        self.name = name
        ids = _exact_ids(_column(table, id, name), id, name)
        ra, dec = ra or guess(table.column_names, RA_NAMES), dec or guess(table.column_names, DEC_NAMES)
        first = {"id": (ids, field("id", ids.type, description="as text or 64-bit integer"))}
        named = {id: "id"}
        if ra is not None and dec is not None:
            sky = degrees(_column(table, ra, name), _column(table, dec, name), _notes(table, ra, dec), name, ids)
            for key, values, words in zip(("ra", "dec"), sky, ("right ascension", "declination"), strict=True):
                first[key] = (values, field(key, pa.float64(), "deg", f"{words}, ICRS"))
            named |= {ra: "ra", dec: "dec"}
        rest = {}
        for column in table.schema:
            if column.name not in named:
                new = f"{column.name}_other" if column.name in first else column.name
                rest[new] = (table.column(column.name), column.with_name(new))
        twins = set(rest) & set(first)
        if twins or len(rest) != table.num_columns - len(named):
            raise BadCatalog(f"{name} has columns whose names collide with id, ra, dec or *_other; rename them")
        columns = {**first, **rest}
        self.table = pa.Table.from_arrays(
            [c for c, _ in columns.values()], schema=pa.schema([f for _, f in columns.values()])
        )
        _refuse_impossible_counts(self)

    @classmethod
    def read(cls, path: str | Path, *, id: str | None = None, ra: str | None = None, dec: str | None = None) -> Catalog:
        """Read CSV, ECSV, a FITS table, VOTable or Parquet; the id column is looked for among :data:`ID_NAMES`.

        Names are compared without regard to case. Ids of a CSV are kept digit by digit: integers without leading
        zeros become int64 if all fit, anything else (007, PGC0000212) is text. Raises :class:`BadCatalog` for a file
        that is no table or has no rows, and whatever :class:`Catalog` raises.
        """
        was_csv = False

        def texts(names: list[str]) -> list[str]:
            nonlocal was_csv
            was_csv = True
            chosen = id if id in names else guess(names, ID_NAMES)
            return [] if chosen is None else [chosen]

        table = read_table(path, texts)
        if table.num_rows == 0 and Path(path).suffix != ".parquet":  # an empty Parquet file is one of ours
            raise BadCatalog(f"'{path}' has columns ({', '.join(table.column_names[:8])}) but no rows")
        chosen = id or guess(table.column_names, ID_NAMES)
        if chosen is None:
            raise BadCatalog(
                f"'{path}' has no column that is known to hold ids; name it with id=. Its columns are "
                f"{', '.join(table.column_names[:20])}"
            )
        if was_csv:
            table = _settled(table, chosen, f"'{path}'")
        return cls(table, chosen, ra=ra, dec=dec, name=f"'{path}'")

    def write(self, path: str | Path) -> None:
        """Write by suffix: .csv (values only), .ecsv, .fits, .vot or .parquet, with units; whole or not at all."""
        write_table(self.table, path)

    def __len__(self) -> int:
        return self.table.num_rows

    def __repr__(self) -> str:
        return f"Catalog({len(self)} rows: {', '.join(self.columns[:8])}{', ...' if len(self.columns) > 8 else ''})"

    def __contains__(self, name: object) -> bool:
        return name in self.table.column_names

    def __getitem__(self, name: str) -> NDArray[Any]:
        """One column as a NumPy array with a value for each row.

        Floats have NaN for null. Integers with nulls become float64 with NaN, or an object array with None where
        a number is beyond 2**53. Text, and booleans with nulls, are object arrays with None for null.
        """
        column = _column(self.table, name, self.name)
        kind = column.type
        if pa.types.is_integer(kind) and column.null_count:
            largest = max(abs(v.as_py() or 0) for v in pc.min_max(column).values())
            if largest <= _EXACT:
                return column.cast(pa.float64()).to_numpy()
            return np.array(column.to_pylist(), dtype=object)
        if pa.types.is_fixed_size_list(kind):
            return np.array(column.to_pylist())
        return column.to_numpy()

    @property
    def columns(self) -> list[str]:
        """The names of the columns; id, ra and dec come first."""
        return list(self.table.column_names)

    @cached_property
    def id_texts(self) -> pa.Array:
        """The ids in the one form in which they are compared, an Arrow array of text: the integer 5 is "5"."""
        return self.table.column("id").combine_chunks().cast(pa.string())

    @cached_property
    def ids(self) -> list[str]:
        """The ids as text, in the order of the rows."""
        return self.id_texts.to_pylist()

    @property
    def ra(self) -> NDArray[np.float64] | None:
        """Right ascension in ICRS degrees, NaN where unknown; None if the catalogue has no positions."""
        return self["ra"] if "ra" in self.columns else None

    @property
    def dec(self) -> NDArray[np.float64] | None:
        """Declination in ICRS degrees, NaN where unknown; None if the catalogue has no positions."""
        return self["dec"] if "dec" in self.columns else None

    def unit(self, name: str) -> str:
        """A column's unit as text, an empty string where it has none."""
        _column(self.table, name, self.name)
        return note(self.table.schema.field(name), "unit")

    def rows(self, rows: NDArray[Any]) -> Catalog:
        """The rows of these numbers (or of a mask), in this order; a row asked for twice is a :class:`DuplicateIds`."""
        rows = np.asarray(rows)
        index = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        return Catalog(self.table.take(pa.array(index)), name=self.name)

    def select(self, ids: Iterable[str | int]) -> Catalog:
        """The rows of these ids, in this order; raises :class:`Unmatched` if the catalogue lacks one."""
        wanted = pa.array([str(i) for i in ids], pa.string())
        found = pc.index_in(wanted, value_set=self.id_texts)
        if found.null_count:
            report = pair_ids(wanted, self.id_texts)[2]
            refuse_unmatched(report, "refuse", ("the selection", self.name), droppable=False)
        return self.rows(found.to_numpy(zero_copy_only=False))

    def with_columns(self, columns: Mapping[str, Any], units: Mapping[str, str] | None = None) -> Catalog:
        """The catalogue with these columns (name: one value for each row) added or replaced, with units if given."""
        table = self.table
        for name, values in columns.items():
            masked = np.ma.isMaskedArray(values)
            array = (
                values
                if isinstance(values, pa.Array | pa.ChunkedArray)
                else pa.array(
                    np.ma.getdata(values) if masked else values, mask=np.ma.getmaskarray(values) if masked else None
                )
            )
            if len(array) != len(self):
                raise BadCatalog(f"column '{name}' has {len(array)} values for the {len(self)} rows of {self.name}")
            new = field(name, array.type, (units or {}).get(name, ""))
            if name in table.column_names:
                table = table.set_column(table.column_names.index(name), new, array)
            else:
                table = table.append_column(new, array)
        return Catalog(table, name=self.name)

    def join(self, other: Catalog, *, unmatched: UnmatchedChoice = "refuse") -> tuple[Catalog, JoinReport]:
        """Put the columns of ``other`` beside those of this catalogue where the ids are the same, in this one's order.

        Ids are compared as text: the integer 5 and "5" are one id, "5.0" is another. A column whose name is taken
        comes in as ``<name>_2``. By default every row must find its partner, else :class:`Unmatched` lists those that
        did not and guesses why; ``unmatched="drop"`` leaves them out. That no row at all matches is always refused.
        Rows of ``other`` that nobody asked for are left out; the report counts them.
        """
        rows, partners, report = pair_ids(self.id_texts, other.id_texts)
        refuse_unmatched(report, unmatched, (self.name, other.name))
        return self._beside(other, rows, partners, report, skip=("id",))

    def match(
        self, other: Catalog, radius_arcsec: float, *, unmatched: UnmatchedChoice = "refuse"
    ) -> tuple[Catalog, JoinReport]:
        """As :meth:`join`, by position: rows that are each other's nearest, no further apart than the radius.

        The other's id comes in as ``id_2``, its position as ``ra_2`` and ``dec_2``, and the distance as
        ``separation_arcsec``. Rows that had several candidates are reported as ambiguous (the nearest is taken);
        rows without a position match nothing. Raises :class:`BadCatalog` if either has no positions.
        """
        if not np.isfinite(radius_arcsec) or radius_arcsec <= 0:
            raise ValueError(f"the radius must be a positive number of arcsec, not {radius_arcsec!r}")
        for catalog in (self, other):
            if catalog.ra is None:
                raise BadCatalog(f"{catalog.name} has no positions to match by; name its columns with ra= and dec=")
        skies = [np.column_stack([catalog["ra"], catalog["dec"]]) for catalog in (self, other)]
        rows, partners, separation, report = pair_positions(
            self.id_texts, skies[0], other.id_texts, skies[1], radius_arcsec
        )
        refuse_unmatched(report, unmatched, (self.name, other.name))
        joined, report = self._beside(other, rows, partners, report)
        return joined.with_columns({"separation_arcsec": separation}, {"separation_arcsec": "arcsec"}), report

    def _beside(
        self, other: Catalog, rows: NDArray[Any], partners: NDArray[Any], report: JoinReport, skip: Sequence[str] = ()
    ) -> tuple[Catalog, JoinReport]:
        table, theirs = self.table.take(pa.array(rows)), other.table.take(pa.array(partners))
        renamed = {}
        for column in other.table.schema:
            if column.name in skip:
                continue
            new = column.name
            while new in table.column_names or (new != column.name and new in other):
                new = f"{new}_2"
            if new != column.name:
                renamed[column.name] = new
            table = table.append_column(column.with_name(new), theirs.column(column.name))
        return Catalog(table, name=f"{self.name} joined with {other.name}"), replace(report, renamed=renamed)

    def check_votes(self, tree: Tree, counts: NDArray[Any] | None = None) -> None:
        """Raise :class:`ImpossibleVotes`, with ids and rows, if ``counts`` (N, answers) cannot have been cast.

        ``counts`` follow ``tree.columns``; by default they are the columns ``<column>_count``. Impossible are
        negative and fractional counts, and a question that more people answered than were led to it.
        """
        if counts is None:
            counts = np.column_stack([self[f"{column}_count"] for column in tree.columns])
        wrong = tree.check_counts(counts)
        if wrong:
            rows = [f"row {row + 1} (id {self.ids[row]}): {message}" for row, message in wrong[:_FIRST]]
            raise ImpossibleVotes(_listed(f"{len(wrong)} impossible votes for tree {tree.name} in {self.name}", rows))


def _listed(what: str, rows: Sequence[str]) -> str:
    return what + ":" + "".join(f"\n  {row}" for row in rows)


def guess(names: Sequence[str], known: tuple[str, ...]) -> str | None:
    """The first of the known names (lower case) that a table has, as the table writes it; None if it has none."""
    folded = {name.casefold(): name for name in reversed(names)}
    return next((name if name in names else folded[name] for name in known if name in folded), None)


def _column(table: pa.Table, name: str, where: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        near = difflib.get_close_matches(name, table.column_names, 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise BadCatalog(f"{where} has no column '{name}'{hint} Its columns are {', '.join(table.column_names[:20])}")
    return table.column(name)


def _notes(table: pa.Table, *names: str) -> list[tuple[str, str]]:
    return [(name, note(table.schema.field(name), "unit")) for name in names]


def _exact_ids(column: pa.ChunkedArray, name: str, where: str) -> pa.Array:
    """Ids as text or int64, or the reason why they cannot be."""
    ids = column.combine_chunks()
    ids = ids.chunk(0) if isinstance(ids, pa.ChunkedArray) else ids
    if pa.types.is_dictionary(ids.type):
        ids = ids.cast(ids.type.value_type)
    if ids.null_count:
        rows = [str(row + 1) for row in np.flatnonzero(ids.is_null().to_numpy(zero_copy_only=False))[:_FIRST]]
        raise BadCatalog(f"{ids.null_count} rows of {where} have no id in column '{name}': rows {', '.join(rows)}")
    if pa.types.is_floating(ids.type) or pa.types.is_decimal(ids.type):
        _refuse_floats(ids, name, where)
    if pa.types.is_integer(ids.type):
        beyond = ids.type == pa.uint64() and len(ids) and pc.max(ids).as_py() >= 2**63
        ids = ids.cast(pa.string() if beyond else pa.int64())
    elif pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type) or pa.types.is_string_view(ids.type):
        ids = ids.cast(pa.string())
    else:
        raise BadCatalog(f"column '{name}' of {where} holds {ids.type}; ids are text or 64-bit integers")
    counts = pc.value_counts(ids)
    if len(counts) < len(ids):
        twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
        rows = [_places(ids, value) for value in twice[:_FIRST]]
        stand = "1 id stands" if len(twice) == 1 else f"{len(twice)} ids stand"
        raise DuplicateIds(_listed(f"{stand} on several rows of {where} (column '{name}')", rows))
    return ids


def _places(ids: pa.Array, value: pa.Scalar) -> str:
    rows = np.flatnonzero(pc.equal(ids, value).to_numpy(zero_copy_only=False)) + 1
    more = f" and {rows.size - _FIRST} more" if rows.size > _FIRST else ""
    return f"{value.as_py()!r}: rows {', '.join(map(str, rows[:_FIRST]))}{more}"


def _refuse_floats(values: pa.Array, name: str, where: str) -> None:
    shown = ", ".join(f"{value} (row {row})" for row, value in enumerate(values[:_FIRST].to_pylist(), 1))
    raise BadCatalog(
        f"column '{name}' of {where} holds floating-point ids: {shown}. A float keeps 15 to 17 digits, so that two "
        "galaxies can become one: export the ids anew from their source as text or 64-bit integers"
    )


def _settled(table: pa.Table, name: str, where: str) -> pa.Table:
    """A CSV's table whose id column, read as text, is int64 where that is the same; float ids are refused."""
    texts = _column(table, name, where)
    if pc.all(pc.match_substring_regex(texts, r"^(0|-?[1-9][0-9]{0,18})$")).as_py():
        try:
            return table.set_column(table.column_names.index(name), name, texts.cast(pa.int64()))
        except pa.ArrowInvalid:
            return table  # beyond int64
    numbers = pc.match_substring_regex(texts, r"^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*$")
    if pc.all(numbers).as_py():
        floats = texts.filter(pc.match_substring_regex(texts, r"[.eE]"))
        if len(floats):
            _refuse_floats(floats.combine_chunks(), name, where)
    return table


def _refuse_impossible_counts(catalog: Catalog) -> None:
    for column in catalog.table.schema:
        if not column.name.endswith("_count") or not (
            pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        ):
            continue
        values = catalog[column.name].astype(np.float64)
        known = ~np.isnan(values)
        wrong = np.flatnonzero(known & ((values < 0) | (values != np.floor(values)) | np.isinf(values)))
        if wrong.size:
            rows = [f"row {row + 1} (id {catalog.ids[row]}): {values[row]:g}" for row in wrong[:_FIRST]]
            raise ImpossibleVotes(
                _listed(
                    f"column '{column.name}' of {catalog.name} counts votes, but {wrong.size} rows are negative or "
                    "fractional (if it counts something else, rename it)",
                    rows,
                )
            )
