"""Pairing the rows of two tables by id or by position on the sky, with an account of what found no partner, and why."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy import units
from astropy.coordinates import SkyCoord, search_around_sky
from numpy.typing import NDArray

from ..errors import Unmatched

UnmatchedChoice = Literal["refuse", "drop"]
_FIRST = 5


@dataclass(frozen=True)
class JoinReport:
    """What a join paired and what it left: ``n_left`` = ``n_matched`` + len(``left_only``), the same on the right.

    ``left_only`` and ``right_only`` are the ids without a partner in their tables' order; ``hints`` say what would
    have made more of them match; ``renamed`` maps columns of the right table whose name was taken to their new name;
    ``ambiguous`` are the left ids that had several candidates within the radius (or share theirs with another);
    ``by`` says how the rows were paired.
    """

    by: str
    n_left: int
    n_right: int
    n_matched: int
    left_only: tuple[str, ...] = ()
    right_only: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    renamed: dict[str, str] = field(default_factory=dict)
    ambiguous: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The report as lines of text."""
        lines = [f"joined by {self.by}: {self.n_matched} of {self.n_left} rows found a partner among {self.n_right}"]
        for side, ids in (("without a partner", self.left_only), ("of the other table not asked for", self.right_only)):
            if ids:
                lines.append(f"{len(ids)} {side}: {_some(ids)}")
        if self.ambiguous:
            lines.append(f"{len(self.ambiguous)} with several candidates, the nearest taken: {_some(self.ambiguous)}")
        lines += [f"column '{old}' of the other table is now '{new}'" for old, new in self.renamed.items()]
        return "\n".join(lines + list(self.hints))


def pair_ids(left: pa.Array, right: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64], JoinReport]:
    """Pair two arrays of ids as text, each without duplicates: the rows of either that match, in the left's order.

    An id matches itself alone: "5" the integer 5, but neither "5.0" nor " 5"; the report's hints tell of such twins.
    """
    found = pc.index_in(left, value_set=right)
    rows = np.flatnonzero(pc.is_valid(found).to_numpy(zero_copy_only=False)).astype(np.int64)
    partners = pc.drop_null(found).to_numpy(zero_copy_only=False).astype(np.int64)
    left_only, right_only = _others(left, rows), _others(right, partners)
    report = JoinReport("id", len(left), len(right), len(rows), left_only, right_only, _hints(left_only, right_only))
    return rows, partners, report


def pair_positions(
    left: pa.Array, left_sky: NDArray[np.float64], right: pa.Array, right_sky: NDArray[np.float64], radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], JoinReport]:
    """Pair rows that are each other's nearest on the sky and no further apart than ``radius`` (arcsec).

    ``left`` and ``right`` are ids as text, the skies (N, 2) RA and Dec in ICRS degrees; a NaN position matches
    nothing. Returns the rows of either, in the left's order, their separations in arcsec, and the report.
    """
    here, there = (np.flatnonzero(np.isfinite(sky).all(axis=1)) for sky in (left_sky, right_sky))
    by = f'position within {radius:g}"'
    if here.size == 0 or there.size == 0:
        none = np.empty(0, np.int64)
        report = JoinReport(by, len(left), len(right), 0, _others(left, none), _others(right, none))
        return none, none, np.empty(0), report
    a = SkyCoord(*left_sky[here].T, unit="deg")
    b = SkyCoord(*right_sky[there].T, unit="deg")
    nearest, separation, _ = a.match_to_catalog_sky(b)
    back, _, _ = b.match_to_catalog_sky(a)
    mutual = (back[nearest] == np.arange(here.size)) & (separation.arcsec <= radius)
    rows, partners = here[mutual], there[nearest[mutual]]
    close_a, close_b, _, _ = search_around_sky(a, b, radius * units.arcsec)
    crowded_a = np.bincount(close_a, minlength=here.size) > 1
    crowded_b = np.bincount(close_b, minlength=there.size) > 1
    crowded_a[close_a[crowded_b[close_b]]] = True
    report = JoinReport(
        by,
        len(left),
        len(right),
        rows.size,
        _others(left, rows),
        _others(right, partners),
        ambiguous=tuple(left.take(pa.array(here[crowded_a])).to_pylist()),
    )
    return rows, partners, separation.arcsec[mutual], report


def refuse_unmatched(
    report: JoinReport, unmatched: UnmatchedChoice, names: tuple[str, str], *, droppable: bool = True
) -> None:
    """Raise :class:`Unmatched` if a row of the left table has no partner, or (whatever was chosen) if none has.

    Rows of the right table that nobody asked for are reported, not refused: a catalogue of labels is usually larger
    than the galaxies at hand. The message names the choice to drop the rows only where the caller has it
    (``droppable``) and it would leave some.
    """
    if unmatched not in ("refuse", "drop"):
        raise ValueError(f"unmatched must be 'refuse' or 'drop', not {unmatched!r}")
    hints = "".join(f"\n  {hint}" for hint in report.hints)
    if report.n_matched == 0 and report.n_left:
        raise Unmatched(
            f"no row of {names[0]} (such as {_some(report.left_only)}) has a partner by {report.by} among the "
            f"{report.n_right} of {names[1]} (such as {_some(report.right_only)}){hints}"
        )
    if unmatched == "refuse" and report.left_only:
        way = (
            "\n  if that is fine, leave them out by --unmatched drop (in Python unmatched='drop')" if droppable else ""
        )
        raise Unmatched(
            f"{len(report.left_only)} of {report.n_left} rows of {names[0]} have no partner by {report.by} in "
            f"{names[1]}: {_some(report.left_only)}{hints}{way}"
        )


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _FIRST} more" if len(ids) > _FIRST else ""
    return ", ".join(repr(i) for i in ids[:_FIRST]) + more


def _others(ids: pa.Array, taken: NDArray[np.int64]) -> tuple[str, ...]:
    left = np.ones(len(ids), bool)
    left[taken] = False
    return tuple(ids.filter(pa.array(left)).to_pylist())


def _as_integer(text: str) -> str:
    """'5.0' and '5.000' as '5'; other texts as they are."""
    return re.sub(r"^([+-]?\d+)\.0*$", r"\1", text)


def _through_float(text: str) -> str:
    """A long number as a float keeps it; other texts as they are."""
    if re.fullmatch(r"\d{16,19}(\.0*)?|\d(\.\d+)?[eE]\+?1\d", text):
        return repr(float(text))
    return text


def _bare(text: str) -> str:
    """The name of a file, without white space, folder and suffix."""
    return re.sub(r"(\.[A-Za-z]{1,5}){1,2}$", "", text.strip().split("/")[-1])


_DISGUISES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("if white space around the ids were stripped", str.strip),
    ("if upper and lower case were the same", str.casefold),
    ("without the file's folder and suffix", lambda text: _bare(text) if text == text.strip() else text),
    ("without white space and the file's folder and suffix", _bare),
    ("if they were integers, not floats such as '5.0'", _as_integer),
    ("without leading zeros", lambda text: text.lstrip("0") or "0"),
    ("after rounding to a float: one table's ids have been through floating point and have lost their last digits; "
     "take them from its source as text or 64-bit integers", _through_float),
)  # fmt: skip


def _hints(left_only: tuple[str, ...], right_only: tuple[str, ...]) -> tuple[str, ...]:
    """What would have let ids without a partner match, one sentence for each disguise that explains some more."""
    hints, explained = [], set[str]()
    for words, undress in _DISGUISES:
        bare = {undress(text): text for text in reversed(right_only)}
        pairs = [(text, bare[undress(text)]) for text in left_only if undress(text) in bare]
        if {text for text, _ in pairs} - explained:
            explained |= {text for text, _ in pairs}
            many = f"all {len(pairs)}" if 1 < len(pairs) == len(left_only) else str(len(pairs))
            hints.append(f"hint: {many} would match {words}: {pairs[0][0]!r} and {pairs[0][1]!r}")
    return tuple(hints)
