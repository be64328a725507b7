"""CSV read as it is meant: comments, delimiters, exact integers, text that stays text."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from ..errors import BadCatalog

Texts = Callable[[list[str]], list[str]]

_DIGITS = r"^[+-]?[0-9]*$"
_NULLS = ["", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-nan", "null", "NULL"]


def refuse_twins(names: list[str], path: Path) -> None:
    """Raise :class:`BadCatalog` if a column name stands more than once."""
    twins = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twins:
        raise BadCatalog(f"'{path}' has the column name {', '.join(map(repr, twins))} more than once; rename one")


def _header(path: Path, lines: list[str]) -> tuple[int, str, list[str]]:
    """The rows to skip, the delimiter and the column names, from a CSV's first lines.

    Lines that begin with # are comments (SkyServer writes "#Table1"), unless the last has as many cells as
    what follows.
    """
    comments = 0
    while comments < len(lines) and lines[comments].startswith("#"):
        comments += 1
    first = lines[comments] if comments < len(lines) else ""
    delimiter = max(",\t;|", key=first.count)
    cells = first.count(delimiter)
    start = comments - 1 if comments and cells and lines[comments - 1].count(delimiter) == cells else comments
    if start >= len(lines) or not lines[start].strip():
        raise BadCatalog(f"'{path}' has comments only, no table")
    row = next(csv.reader(io.StringIO(lines[start].lstrip("#")), delimiter=delimiter))
    names = [name.strip() for name in row]
    if "" in names:
        raise BadCatalog(f"column {names.index('') + 1} of '{path}' has no name; its header is {lines[start][:200]!r}")
    return start + 1, delimiter, names


def read_csv(path: Path, texts: Texts | None) -> pa.Table:
    """Read a CSV (or a table split by tabs, semicolons or bars; gzipped or not), UTF-8, with a header.

    ``texts`` is given the column names and returns those to be kept as written; the others become int64, float64,
    bool or text. A date stays text, and so does a column of integers that int64 does not hold. Empty cells are null,
    and in a column of numbers NaN, NA and null are too. Raises :class:`BadCatalog` for a header that is missing,
    has a name twice or no rows below it, and pyarrow's error, which quotes the line, for a ragged row.
    """
    data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    data = data.removeprefix(b"\xef\xbb\xbf")
    lines = data[: 1 << 20].replace(b"\r\n", b"\n").replace(b"\r", b"\n").decode("utf-8", "replace").split("\n")
    skip, delimiter, names = _header(path, lines)
    refuse_twins(names, path)
    if not any(line.strip() for line in lines[skip:]):
        raise BadCatalog(f"'{path}' has a header but no rows")
    kept = dict.fromkeys(texts(names) if texts else [], pa.string())

    def read() -> pa.Table:
        options = pa_csv.ConvertOptions(null_values=_NULLS, column_types=kept)
        return pa_csv.read_csv(
            io.BytesIO(data),
            pa_csv.ReadOptions(column_names=names, skip_rows=skip),
            pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=False),
            options,
        )

    table = read()
    wide = [name for name in names if _beyond_int64(table.column(name))]
    dates = [column.name for column in table.schema if pa.types.is_temporal(column.type)]
    if wide or dates:  # a date stays as it was written, and so does an integer that only a float could hold
        kept.update(dict.fromkeys(wide + dates, pa.string()))
        table = read()
        floats = [name for name in wide if not pc.all(pc.match_substring_regex(table.column(name), _DIGITS)).as_py()]
        if floats:
            kept.update(dict.fromkeys(floats, pa.float64()))
            table = read()
    for index, column in enumerate(table.schema):
        if pa.types.is_binary(column.type):
            raise BadCatalog(f"column '{column.name}' of '{path}' is not UTF-8; save the file as UTF-8")
        if pa.types.is_string(column.type):
            values = table.column(index)
            empty = pc.equal(values, "")
            table = table.set_column(index, column, pc.if_else(empty, pa.scalar(None, pa.string()), values))
    return table


def _beyond_int64(column: pa.ChunkedArray) -> bool:
    return pa.types.is_floating(column.type) and (pc.max(pc.abs(column)).as_py() or 0.0) >= 2.0**63
