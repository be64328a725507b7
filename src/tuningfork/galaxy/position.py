"""Positions on the sky as people write them (degrees, radians, hours, sexagesimal text), as ICRS degrees."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy import units
from astropy.coordinates import Angle
from numpy.typing import NDArray

from ..errors import BadCatalog

_FIRST = 5
_SEXAGESIMAL = (
    r"^\s*(?P<sign>[+-]?)(?P<whole>[0-9]{1,3})(?P<mark>\s*[:hd°]\s*|\s+)(?P<minutes>[0-9]{1,2}(?:\.[0-9]*)?)"
    r"(?:(?:\s*[:m'′]\s*|\s+)(?P<seconds>[0-9]{1,2}(?:\.[0-9]*)?)?\s*[s\"″]?\s*|\s*)$"
)
_WORDS = {"": "deg", "hms": "hourangle", "dms": "deg", "h": "hourangle", "hr": "hourangle", "hour": "hourangle"}


def arcsec(text: str) -> float:
    """An angle such as ``"2arcsec"``, ``"1.5 arcmin"``, ``"0.1deg"`` or ``'2"'`` in arcseconds, above 0.

    A bare number is refused, because nobody could tell its unit; raises :class:`BadCatalog` that quotes the text.
    """
    with contextlib.suppress(ValueError, TypeError, units.UnitsError):  # UnitsError: a bare number
        angle = float(Angle(text).arcsec)
        if np.isfinite(angle) and angle > 0:
            return angle
    raise BadCatalog(f"'{text}' is no angle with a unit: write for instance 2arcsec, 1.5arcmin or 0.1deg")


def degrees(
    ra: pa.ChunkedArray, dec: pa.ChunkedArray, notes: list[tuple[str, str]], where: str, ids: pa.Array
) -> tuple[pa.Array, pa.Array]:
    """Right ascension in [0, 360) and declination in [-90, 90] as float64 degrees, null where unknown.

    ``notes`` are the name and the unit of either column. Numbers, and text that is a decimal number, are taken in
    their unit (degrees if there is none). Sexagesimal text ("12:34:56.7", "12h34m", "+01 02 03") is hours for a right
    ascension, unless its mark is d or °, and degrees for a declination. Raises :class:`BadCatalog` with the rows for
    text that is no position, a value off the sphere, or a position of which one half is missing.
    """
    columns = [
        _angle(column.combine_chunks(), hours, *note, where)
        for column, hours, note in zip((ra, dec), (True, False), notes, strict=True)
    ]
    wrong_ra = ~((columns[0] >= 0) & (columns[0] < 360)) & ~np.isnan(columns[0])
    wrong_dec = ~(np.abs(columns[1]) <= 90) & ~np.isnan(columns[1])
    for wrong, (name, unit), values, limits in zip(
        (wrong_ra, wrong_dec), notes, columns, ("0 <= RA < 360", "-90 <= Dec <= 90"), strict=True
    ):
        if wrong.any():
            shown = _rows(wrong, ids, [f"{value:g} degrees" for value in values[wrong][:_FIRST]])
            raise BadCatalog(
                f"column '{name}' ({unit or 'no unit, taken as degrees'}) of {where} has {wrong.sum()} positions off "
                f"the sphere; {limits} is wanted (are the columns swapped, or in another unit?):{shown}"
            )
    half = np.isnan(columns[0]) != np.isnan(columns[1])
    if half.any():
        shown = _rows(half, ids, ["one of RA and Dec is missing"] * _FIRST)
        raise BadCatalog(f"{half.sum()} positions of {where} are known by half:{shown}")
    return pa.array(columns[0], mask=np.isnan(columns[0])), pa.array(columns[1], mask=np.isnan(columns[1]))


def _rows(wrong: NDArray[np.bool_], ids: pa.Array, texts: list[str]) -> str:
    rows = np.flatnonzero(wrong)[:_FIRST]
    return "".join(f"\n  row {r + 1} (id {ids[int(r)].as_py()}): {text}" for r, text in zip(rows, texts, strict=False))


def _angle(column: Any, hours: bool, name: str, unit: str, where: str) -> NDArray[np.float64]:
    """One column in degrees, NaN where null."""
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return column.cast(pa.float64()).to_numpy(zero_copy_only=False) * _scale(unit, name, where)
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan)
    if not pa.types.is_string(column.type):
        raise BadCatalog(f"column '{name}' of {where} holds {column.type}, no positions; name the columns: ra=, dec=")
    parts = pc.extract_regex(column, _SEXAGESIMAL)
    split = pc.is_valid(parts).to_numpy(zero_copy_only=False)
    plain = pc.match_substring_regex(column, r"^\s*[+-]?[0-9]*\.?[0-9]+\.?([eE][+-]?[0-9]+)?\s*$")
    plain = plain.fill_null(False).to_numpy(zero_copy_only=False)
    values = np.full(len(column), np.nan)
    if plain.any():
        numbers = pc.utf8_trim_whitespace(column.filter(pa.array(plain)))
        numbers = pc.replace_substring_regex(numbers, r"^\+", "")
        sexagesimal_unit = unit.lower().strip('"').replace(":", "") in ("hms", "dms")
        values[plain] = numbers.cast(pa.float64()).to_numpy() * (1.0 if sexagesimal_unit else _scale(unit, name, where))
    if split.any():
        values[split] = _sexagesimal(parts.filter(pa.array(split)), hours)
    wrong = np.isnan(values) & column.is_valid().to_numpy(zero_copy_only=False)
    if wrong.any():
        shown = ", ".join(f"{column[int(row)].as_py()!r} (row {row + 1})" for row in np.flatnonzero(wrong)[:_FIRST])
        raise BadCatalog(
            f"column '{name}' of {where} has {wrong.sum()} texts that are no position: {shown}. Understood are degrees "
            "and sexagesimal text such as 12:34:56.7, 12h34m56.7s or +01:02:03"
        )
    return values


def _sexagesimal(parts: pa.StructArray, hours: bool) -> NDArray[np.float64]:
    """Degrees of matched texts; NaN where minutes or seconds reach 60."""

    def number(key: str) -> NDArray[np.float64]:
        text = parts.field(key)
        return pc.if_else(pc.equal(text, ""), "0", text).cast(pa.float64()).to_numpy(zero_copy_only=False)

    minutes, seconds = number("minutes"), number("seconds")
    value = number("whole") + minutes / 60 + seconds / 3600
    value[(minutes >= 60) | (seconds >= 60)] = np.nan
    in_degrees = pc.match_substring_regex(parts.field("mark"), "[d°]").to_numpy(zero_copy_only=False)
    in_hours = pc.match_substring(parts.field("mark"), "h").to_numpy(zero_copy_only=False)
    value = np.where(in_hours | (hours & ~in_degrees), value * 15, value)
    return np.where(pc.equal(parts.field("sign"), "-").to_numpy(zero_copy_only=False), -value, value)


def _scale(unit: str, name: str, where: str) -> float:
    """How many degrees one of the unit is."""
    word = unit.strip().strip('"').lower()
    try:
        return float(units.Unit(_WORDS.get(word, unit)).to(units.deg))
    except (ValueError, TypeError) as error:  # astropy's UnitConversionError is both
        raise BadCatalog(
            f"column '{name}' of {where} has the unit '{unit}', which is no angle; give it in deg"
        ) from error
