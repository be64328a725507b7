"""Tables at rest: CSV, ECSV, FITS, VOTable and Parquet, as one Arrow table with units and metadata.

A column's unit and description are the texts ``unit`` and ``description`` of its Arrow field; one JSON object under
the key ``tuningfork`` of the Arrow schema is the table's metadata. Each format keeps what it can: CSV the values only.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from astropy.io import fits, votable
from astropy.table import MaskedColumn, Table
from astropy.units import Unit, UnitsWarning
from numpy.typing import NDArray

from .. import disk
from ..errors import BadCatalog
from .csvfile import Texts, read_csv, refuse_twins

FORMATS = {".csv": "csv", ".ecsv": "ecsv", ".fits": "fits", ".vot": "votable", ".parquet": "parquet"}
KEY = "tuningfork"  # of the metadata: a Parquet key, a VOTable PARAM, an entry of ECSV's meta
CARD = "TFORKMET"  # the same as a FITS keyword (8 characters)

_OTHER_SUFFIXES = {".fit": "fits", ".votable": "votable", ".xml": "votable", ".parq": "parquet", ".pq": "parquet"}
_READABLE = "CSV, ECSV, FITS table, VOTable or Parquet"
_WIDER = {pa.int8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64(), pa.float16(): pa.float32()}


def read_table(path: str | Path, texts: Texts | None = None) -> pa.Table:
    """Read one table; what the file is, is told by its first bytes, not by its name.

    ``texts`` is given a CSV's column names and returns those to be kept as written (ids, say); the other columns of a
    CSV become int64, float64, bool or text. Empty cells of a CSV, masked cells and NaN of a FITS table, ECSV or
    VOTable, and empty strings become null; FITS strings lose their padding; only the first table of a file is read.
    Raises :class:`BadCatalog` for a file that is missing, empty, no table, ragged, or has a column name twice.
    """
    path = Path(path)
    if not path.exists():
        raise BadCatalog(f"there is no file '{path}'")
    if path.is_dir():
        raise BadCatalog(f"'{path}' is a folder; name one table ({_READABLE})")
    kind = _kind(path)
    with _told(path, kind):
        if kind == "csv":
            table = read_csv(path, texts)
        elif kind == "parquet":
            table = pq.read_table(path, partitioning=None)
        else:
            table = _from_astropy(*_READERS[kind](path))
        refuse_twins(table.column_names, path)
        return _plain(table)


def write_table(table: pa.Table, path: str | Path) -> None:
    """Write a table in the format of the suffix: .csv, .ecsv, .fits, .vot or .parquet, whole or not at all.

    Null is an empty cell in CSV and ECSV, a null in Parquet and VOTable, and in FITS NaN (floats), TNULL (integers)
    or an empty string; booleans with nulls become 16-bit integers in FITS, which has no null for them. Raises
    :class:`BadCatalog` for another suffix, or for a column of lists in a format that has none.
    """
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise BadCatalog(f"cannot write '{path}': its suffix must be one of {', '.join(FORMATS)}")
    if kind == "parquet":
        with disk.atomic(path) as part:
            pq.write_table(table, part, compression="zstd")
        return
    flat = [field.name for field in table.schema if pa.types.is_nested(field.type)]
    variable = [name for name in flat if not pa.types.is_fixed_size_list(table.schema.field(name).type)]
    if variable or (flat and kind == "csv"):
        raise BadCatalog(f"cannot write '{path}': column '{(variable or flat)[0]}' holds lists; write .parquet instead")
    if kind == "csv":
        with disk.atomic(path) as part:
            pa_csv.write_csv(table, part, pa_csv.WriteOptions(quoting_style="needed"))
        return
    with disk.atomic(path) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore", UnitsWarning)  # a unit outside the format's standard is kept as it is
        _WRITERS[kind](table, part)


def metadata(table: pa.Table) -> dict[str, Any]:
    """The table's own metadata, an empty dict where it has none; raises :class:`BadCatalog` if it is no JSON object."""
    text = (table.schema.metadata or {}).get(KEY.encode(), b"{}")
    try:
        value = json.loads(text)
    except ValueError as error:
        raise BadCatalog(f"the table's metadata is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadCatalog(f"the table's metadata is no JSON object but {text[:60]!r}")
    return value


def with_metadata(table: pa.Table, value: dict[str, Any]) -> pa.Table:
    """The same table with ``value`` (a JSON object; NaN is refused) as its metadata."""
    return table.replace_schema_metadata({KEY: json.dumps(value, allow_nan=False)})


def field(name: str, kind: pa.DataType, unit: str = "", description: str = "") -> pa.Field:
    """A column's Arrow field that carries its unit and description."""
    notes = {key: text for key, text in (("unit", unit), ("description", description)) if text}
    return pa.field(name, kind, metadata=notes or None)


def note(column: pa.Field, key: str) -> str:
    """A column's ``unit`` or ``description``, an empty string where it has none."""
    return (column.metadata or {}).get(key.encode(), b"").decode()


def _kind(path: Path) -> str:
    """What the file is by its first bytes; raises BadCatalog if that is no table, or not what its suffix promises."""
    promised = {**FORMATS, **_OTHER_SUFFIXES}.get(Path(path.name.lower().removesuffix(".gz")).suffix, "csv")
    with _told(path, promised):
        with open(path, "rb") as file:
            head = file.read(2048)
        if head.startswith(b"\x1f\x8b"):
            with gzip.open(path) as file:
                head = file.read(2048)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not text:
        raise BadCatalog(f"'{path}' is empty")
    if text.startswith(b"simple  ="):
        return "fits"
    if text.startswith(b"par1"):
        return "parquet"
    if text.startswith(b"# %ecsv"):
        return "ecsv"
    if text.startswith(b"<"):
        if b"<votable" in text:
            return "votable"
        what = "an HTML page" if b"<html" in text or b"<!doctype html" in text else "an XML or HTML document"
        raise BadCatalog(f"'{path}' is {what}, no table; was an error page saved in its place? It begins {head[:60]!r}")
    if promised != "csv" or b"\0" in head:
        expected = f"is named as {promised} but" if promised != "csv" else "holds binary data, and"
        raise BadCatalog(f"'{path}' {expected} is no {_READABLE}; it begins {head[:24]!r}")
    return "csv"


@contextlib.contextmanager
def _told(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a reader raises into a BadCatalog that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnitsWarning)  # an unknown unit is kept as text
            warnings.filterwarnings("error", message=".*truncated.*")
            yield
    except BadCatalog:
        raise
    except Exception as error:  # the readers raise a dozen types on a broken file
        message = " ".join(str(error).split())[:300]
        raise BadCatalog(f"cannot read '{path}' as {kind}: {type(error).__name__}: {message}") from error


def _read_fits(path: Path) -> tuple[Table, dict[str, Any]]:
    with fits.open(path, memmap=False) as file:
        tables = [number for number, hdu in enumerate(file) if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
        if not tables:
            raise BadCatalog(f"'{path}' is FITS, but holds images only, no table")
        text = str(file[tables[0]].header.get(CARD, ""))
        table = Table.read(file, format="fits", hdu=tables[0], unit_parse_strict="silent")
    return table, json.loads(text or "{}")


def _read_votable(path: Path) -> tuple[Table, dict[str, Any]]:
    first = votable.parse(str(path), verify="ignore").get_first_table()
    text = next((str(param.value) for param in first.params if param.name == KEY), "{}")
    return first.to_table(use_names_over_ids=True), json.loads(text)


def _read_ecsv(path: Path) -> tuple[Table, dict[str, Any]]:
    table = Table.read(str(path), format="ascii.ecsv")
    return table, json.loads(table.meta.get(KEY, "{}"))


_READERS = {"fits": _read_fits, "votable": _read_votable, "ecsv": _read_ecsv}


def _from_astropy(table: Table, meta: dict[str, Any]) -> pa.Table:
    fields, arrays = [], []
    for name in table.colnames:
        column = table[name]
        array = _arrow(column)
        unit = "" if column.unit is None else str(column.unit)
        arrays.append(array)
        fields.append(field(name, array.type, unit, column.description or ""))
    made = pa.Table.from_arrays(arrays, schema=pa.schema(fields))
    return with_metadata(made, meta) if meta else made


def _arrow(column: Any) -> pa.Array:
    values = np.ma.getdata(np.ma.asarray(column))
    mask = np.ma.getmaskarray(np.ma.asarray(column))
    if values.dtype.kind == "O":
        return pa.array([None if np.all(m) else _cell(value) for value, m in zip(values, mask, strict=True)])
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    if values.dtype.kind == "U":
        values = np.char.rstrip(values)
        mask = mask | (values == "")
        values = values.astype(object)
    if values.dtype.kind == "f":
        mask = mask | np.isnan(values)
    if values.dtype.kind in "iuf":
        values = values.astype(values.dtype.newbyteorder("="))
    array = pa.array(np.ravel(values), mask=np.ravel(mask), type=pa.string() if values.dtype.kind == "O" else None)
    for length in values.shape[:0:-1]:
        array = pa.FixedSizeListArray.from_arrays(array, length)
    return array


def _cell(value: Any) -> Any:
    if value is None or value is np.ma.masked:
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value.rstrip() or None
    return np.asarray(value).tolist()


def _plain(table: pa.Table) -> pa.Table:
    """Dictionaries and large or view strings as plain strings; everything else as it is."""
    for index, column in enumerate(table.schema):
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        text = pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        if text or kind != column.type:
            kind = pa.string() if text else kind
            table = table.set_column(index, column.with_type(kind), table.column(index).cast(kind))
    return table


def _to_astropy(table: pa.Table) -> Table:
    made = Table()
    for column in table.schema:
        data = table.column(column.name).combine_chunks()
        shape = [len(data)]
        kind = column.type
        while pa.types.is_fixed_size_list(kind):
            shape.append(kind.list_size)
            data, kind = data.flatten(), kind.value_type
        hidden = np.asarray(data.is_null().to_numpy(zero_copy_only=False)).reshape(shape)
        if pa.types.is_string(kind) or pa.types.is_null(kind):
            values = np.asarray(data.cast(pa.string()).fill_null("").to_pylist(), dtype=np.str_)
        else:
            blank = np.nan if pa.types.is_floating(kind) else False if pa.types.is_boolean(kind) else 0
            values = data.fill_null(blank).to_numpy(zero_copy_only=False)
        values = values.reshape(shape)
        unit, description = note(column, "unit"), note(column, "description")
        made[column.name] = MaskedColumn(values, mask=hidden) if hidden.any() else values
        made[column.name].unit = Unit(unit, parse_strict="silent") if unit else None
        made[column.name].description = description or None
    return made


def _widened(table: pa.Table) -> pa.Table:
    """Types that VOTable (and, with nulls, FITS) does not have as the next that it has; beyond int64 that is text."""
    for index, column in enumerate(table.schema):
        kind = _WIDER.get(column.type)
        if column.type == pa.uint64():
            kind = pa.string() if (pc.max(table.column(index)).as_py() or 0) >= 2**63 else pa.int64()
        if kind is not None:
            table = table.set_column(index, column.with_type(kind), table.column(index).cast(kind))
    return table


def _unused(values: NDArray, name: str) -> int:
    """An integer that stands for null (FITS: TNULL) because no value is equal to it."""
    limits, taken = np.iinfo(values.dtype), set(np.unique(values).tolist())
    for value in chain([limits.min], range(limits.max, limits.min, -1)):
        if value not in taken:
            return int(value)
    raise BadCatalog(f"column '{name}' has every value of {values.dtype} and nulls, so that FITS has none for null")


def _ascii_json(table: pa.Table) -> str:
    """The metadata as JSON without the characters that FITS (at the seam of two cards) or XML could change."""
    text = json.dumps(metadata(table), separators=(",", ":"), allow_nan=False)
    for character in "&<>'":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _write_fits(table: pa.Table, part: Path) -> None:
    made = _to_astropy(_widened(table))
    for name in made.colnames:
        column = made[name]
        if column.dtype.kind == "f" and hasattr(column, "filled"):
            made[name] = column.filled(np.nan)
        elif column.dtype.kind == "U":
            made[name] = np.char.encode(np.asarray(column), "utf-8")  # nulls are "" underneath
        elif hasattr(column, "filled"):
            values = column.filled(False).astype(np.int16) if column.dtype.kind == "b" else column.filled(0)
            made[name] = MaskedColumn(values, mask=column.mask, fill_value=_unused(values, name), unit=column.unit)
    hdu = fits.table_to_hdu(made)
    hdu.header[CARD] = _ascii_json(table)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(part)


def _write_votable(table: pa.Table, part: Path) -> None:
    document = votable.from_table(_to_astropy(_widened(table)))
    first = document.get_first_table()
    first.params.append(
        votable.tree.Param(document, name=KEY, datatype="char", arraysize="*", value=_ascii_json(table))
    )
    votable.writeto(document, str(part), tabledata_format="binary2")


def _write_ecsv(table: pa.Table, part: Path) -> None:
    made = _to_astropy(table)
    # ECSV's YAML header folds long text at spaces, and loses some of them where it does
    made.meta = {KEY: _ascii_json(table).replace(" ", "\\u0020")} if metadata(table) else {}
    made.write(str(part), format="ascii.ecsv")


_WRITERS = {"fits": _write_fits, "votable": _write_votable, "ecsv": _write_ecsv}
