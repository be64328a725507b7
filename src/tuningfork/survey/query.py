"""SDSS tables by SQL: pages past the row limit, errors that are never taken for data, presets with units."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from ..errors import BadCatalog, NetworkError, RecipeError
from ..galaxy.catalog import ID_NAMES, Catalog, guess
from ..galaxy.tablefile import field
from ..network import Network
from .presets import PRESETS, Preset

SKYSERVER = "https://skyserver.sdss.org/dr17/"
RATE = 0.5  # requests per second: below the 60 a minute that SDSS allows (as remembered; unverified)
CAP = 500_000  # rows that the server gives at most, without a word
PAGE = 50_000
HOSTS = ("skyserver.sdss.org",)
SILENCE = 660.0  # s: a query may run for ten minutes (as remembered; unverified) before its first byte
KEYS = ("objid", "dr8objid", "dr7objid", "specobjid", "bestobjid")
MISSING = -9999  # what SDSS writes where it measured nothing
LIMIT = 512_000_000  # bytes of one reply

_PATH = "SkyServerWS/SearchTools/SqlSearch"
_DOWN = re.compile(rb"(?i)\b50[0-9]\b|unavailable|maintenance|try again|timed? ?out")
_ERROR = re.compile(r"(?i)your_browser_sent_an_invalid_request|error_?message|<html|<!doctype|skyserver error")

Progress = Callable[[int, int, str], None]


def run_sql(
    network: Network,
    sql: str,
    *,
    url: str | None = None,
    id: str | None = None,
    key: str | None = None,
    page: int = PAGE,
    cap: int = CAP,
    form: str = "json",
    units: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Catalog:
    """The rows of one SELECT as a catalogue, all of them, whatever the server's row limit.

    With ``key`` (a column of the result with a different whole number in each row, such as objid) the SELECT is put
    inside ``SELECT TOP page * FROM (...) WHERE key > last ORDER BY key`` and asked until a page comes that is empty, so
    that no silent limit can shorten the result. Without one it is asked as it is; if the number of rows that come looks
    like a limit (``cap``, or whole thousands without a TOP), it is asked anew in pages by the first of :data:`KEYS`
    that it has, and refused where it has none. ``id`` names the id column (default: guessed as
    :meth:`Catalog.read` does, else the key). ``form`` is "json" or "csv" (smaller, for tables whose text has no
    quotes). ``units`` are by column, compared without regard to case. ``url`` replaces :data:`SKYSERVER`. ``progress``
    gets (rows so far, 0, text).

    ``network`` is best ``open_network(folder, HOSTS, RATE, SILENCE, url)``: a query may think for minutes.

    Raises :class:`NetworkError` with the server's words for anything that is no table, :class:`BadCatalog` for a key
    that stands on several rows, or for no rows at all.
    """
    sql = sql.strip().rstrip(";").strip()
    if not re.match(r"(?i)select\b", sql) or ";" in sql:
        raise RecipeError(f"one SELECT is wanted, without semicolons; this begins '{sql[:40]}'")
    root = (url.rstrip("/") + "/") if url else SKYSERVER
    if key is None:
        table = ask(network, sql, root, form)
        limited = len(table) >= cap or (len(table) and len(table) % 1000 == 0 and not re.search(r"(?i)\btop\b", sql))
        if limited:
            key = guess(table.column_names, KEYS)
            if key is None:
                raise NetworkError(
                    f"{len(table):,} rows came, which is the server's limit or looks like one, and none of the columns "
                    f"{', '.join(table.column_names[:8])} is known to number them: name one with key="
                )
    if key is not None:
        table = _pages(network, sql, root, key, min(page, cap), form, progress)
    if not len(table):
        raise BadCatalog(f"the query gave no rows: {sql[:300]}")
    return _catalog(table, id, key, units or {})


def run_preset(
    network: Network,
    preset: str,
    *,
    where: str = "",
    url: str | None = None,
    page: int | None = None,
    progress: Progress | None = None,
) -> Catalog:
    """One of :data:`PRESETS` ("galaxyzoo1", "galaxyzoo1-nospec", "galaxyzoo2", "photometry"), with units.

    ``where`` is a condition in SQL added to it (the tables' aliases are in the preset's ``title``); photometry
    insists on one. -9999, by which SDSS says "not measured", becomes null. Columns that are not wanted of a wide table
    are dropped. Raises as :func:`run_sql`, and :class:`RecipeError` for an unknown preset.
    """
    chosen = PRESETS.get(preset)
    if chosen is None:
        raise RecipeError(f"there is no preset '{preset}'; there are {', '.join(PRESETS)}")
    catalog = run_sql(
        network,
        chosen.select(where),
        url=url,
        id=chosen.id,
        key=chosen.key,
        page=page or chosen.page,
        form=chosen.form,
        units=chosen.units,
        progress=progress,
    )
    return _tidied(catalog, chosen)


def ask(network: Network, sql: str, root: str, form: str = "json") -> pa.Table:
    """The reply to one SQL command, whatever its length; raises NetworkError, with its words, if it is no table."""
    fetched = network.fetch(
        root + _PATH,
        params={"cmd": sql, "format": form},
        check=lambda data: not (data[:2048].lstrip()[:1] == b"<" and _DOWN.search(data[:2048])),
        max_bytes=LIMIT,
    )
    text = fetched.data.decode("utf-8-sig", "replace").strip()
    try:
        if text[:1] == "<" or _ERROR.search(text[:2048]):
            raise ValueError("an error page")
        return _from_json(text) if form == "json" else _from_csv(text)
    except (ValueError, pa.ArrowException, csv.Error) as error:
        said = " ".join(re.sub(r"<[^>]*>", " ", text[:4096]).split())[:1500]
        raise NetworkError(
            f"the SQL server answered with no table ({error}): {said or 'nothing'}\nThe command was: {sql[:500]}"
        ) from error


def _from_json(text: str) -> pa.Table:
    """[{"TableName": ..., "Rows": [{column: value, ...}, ...]}], the first table of it."""
    reply = json.loads(text, object_pairs_hook=_row)
    if not (
        isinstance(reply, list) and reply and isinstance(reply[0], dict) and isinstance(reply[0].get("Rows"), list)
    ):
        raise ValueError("JSON of another form")
    rows: list[Any] = reply[0]["Rows"]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("rows that are none")
    if not rows:
        return pa.table({})
    names = list(rows[0])
    if any(list(row) != names for row in rows):
        raise ValueError("rows with different columns")
    return pa.table({name: pa.array([row[name] for row in rows]) for name in names})


def _row(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a column name that stands twice; give one of them another with AS")
    return row


def _from_csv(text: str) -> pa.Table:
    """A table of comma-separated values below "#Table1"; every row has to have every cell."""
    first, _, rest = text.partition("\n")
    body = rest if first.startswith("#") else text
    rows = csv.reader(io.StringIO(body), strict=True)
    names = next(rows, [])
    if not names or not all(re.fullmatch(r"\w+", name.strip()) for name in names) or len(set(names)) < len(names):
        raise ValueError("no header of column names")
    if "\n" not in body.strip():
        return pa.table({})
    if any(len(row) != len(names) for row in rows):  # strict: a quote that is never closed is an error too
        raise ValueError("a row with more or fewer cells than columns")
    options = pa_csv.ConvertOptions(null_values=["", "null", "NULL", "NaN"], strings_can_be_null=True)
    return pa_csv.read_csv(io.BytesIO(body.encode()), convert_options=options)


def _pages(
    network: Network, sql: str, root: str, key: str, page: int, form: str, progress: Progress | None
) -> pa.Table:
    tables: list[pa.Table] = []
    last, done = -(2**63), 0
    while True:
        table = ask(network, f"SELECT TOP {page} * FROM ({sql}) q WHERE q.{key} > {last} ORDER BY q.{key}", root, form)
        if not len(table):
            return _joined(tables)
        name = guess(table.column_names, (key.lower(),))
        if name is None or not pa.types.is_integer(table.schema.field(name).type):
            raise RecipeError(f"'{key}' is no column of whole numbers among {', '.join(table.column_names[:8])}")
        keys = table.column(name).combine_chunks()
        rising = pc.all(pc.greater(keys[1:], keys[:-1])).as_py() is not False
        if keys.null_count or keys[0].as_py() <= last or not rising:
            raise BadCatalog(
                f"'{key}' is not different in each row, so that pages by it would lose rows: choose another"
            )
        tables.append(table)
        last, done = keys[-1].as_py(), done + len(table)
        if progress is not None:
            progress(done, 0, f"{done:,} rows")


def _joined(tables: list[pa.Table]) -> pa.Table:
    """One table; a column that is empty, or of whole numbers, on one page may be of fractions on another."""
    if not tables:
        return pa.table({})
    names = [table.column_names for table in tables]
    if any(each != names[0] for each in names):
        raise NetworkError("the server answered one query with different columns on its pages: run it again")
    return pa.concat_tables(tables, promote_options="permissive")


def _catalog(table: pa.Table, id: str | None, key: str | None, units: Mapping[str, str]) -> Catalog:
    named = {name.lower(): unit for name, unit in units.items()}
    fields = [field(column.name, column.type, named.get(column.name.lower(), "")) for column in table.schema]
    table = pa.Table.from_arrays(table.columns, schema=pa.schema(fields))
    known = (id.lower(),) if id else ID_NAMES
    chosen = guess(table.column_names, known) or (
        None if id else guess(table.column_names, (key.lower(),) if key else ())
    )
    if chosen is None:
        wanted = f"'{id}'" if id else "an id"
        raise BadCatalog(f"none of the columns {', '.join(table.column_names[:20])} is {wanted}: name it with id=")
    return Catalog(table, chosen, name="the query's result")


def _tidied(catalog: Catalog, preset: Preset) -> Catalog:
    """Without the columns that a preset drops, and with null where SDSS has its -9999."""
    table = catalog.table
    dropped = [name for name in table.column_names if preset.drop and re.search(preset.drop, name)]
    table = table.drop_columns(dropped)
    for index, column in enumerate(table.schema):
        if pa.types.is_floating(column.type):
            values = table.column(index)
            table = table.set_column(
                index, column, pc.if_else(pc.equal(values, MISSING), pa.scalar(None, column.type), values)
            )
    return Catalog(table, name=catalog.name)
