"""Votes that nobody can have cast: counts and fractions held against a tree, each bad row with what is wrong in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SLACK = 0.05  # share of votes that may be more than arrived, and at least one vote: see impossible_counts
ROUNDING = 0.01  # fractions are published to three digits, and seven answers of one question add up


def impossible_counts(
    counts: Floats, columns: Sequence[str], slices: Mapping[str, slice], parents: Mapping[str, tuple[int, ...]]
) -> list[tuple[int, str]]:
    """Rows of counts (N, A) that cannot be, with a message each: negative, not whole, not finite, or too many.

    Too many: more votes on a question than volunteers whose previous answer led there, beyond one vote or 5%. That
    slack is needed: in the published Galaxy Zoo 2 table of Stripe 82 every twentieth galaxy has one vote more on some
    question than reached it. Fewer votes are no contradiction (volunteers stop). A question whose counts are all NaN
    has none; NaN beside numbers is not finite. One message per row, about the first column that is wrong.
    """
    found: dict[int, str] = {}
    for question, part in slices.items():
        block = counts[:, part]
        blank = np.isnan(block).all(axis=1)
        for column in range(part.start, part.stop):
            values, name = counts[:, column], columns[column]
            _note(found, ~np.isfinite(values) & ~blank, f"{name} is {{:g}}", values)
            _note(found, values < 0, f"{name} is {{:g}}, less than 0", values)
            parts = np.isfinite(values) & (values != np.rint(values))
            _note(found, parts, f"{name} is {{:g}}, no whole number of votes", values)
        if parents[question]:
            arrived = np.nansum(counts[:, list(parents[question])], axis=1)
            asked = np.nansum(block, axis=1)
            more = asked > arrived + np.maximum(1.0, SLACK * arrived)
            _note(found, more, f"{question} has {{:g}} votes, but only {{:g}} led there", asked, arrived)
    return sorted(found.items())


def impossible_fractions(
    fractions: Floats, columns: Sequence[str], slices: Mapping[str, slice], sums: bool = True
) -> list[tuple[int, str]]:
    """Rows of fractions (N, A) that cannot be: outside [0, 1], or a question whose sum is neither 0 nor 1.

    0.01 is allowed for rounding. NaN is a question that was not asked, as long as all of its answers are NaN.
    ``sums=False`` leaves the sums alone: debiased fractions do not keep them.
    """
    found: dict[int, str] = {}
    for question, part in slices.items():
        block = fractions[:, part]
        blank = np.isnan(block).all(axis=1)
        for column in range(part.start, part.stop):
            values = fractions[:, column]
            outside = ~((values >= -ROUNDING) & (values <= 1 + ROUNDING)) & ~blank
            _note(found, outside, f"{columns[column]} is {{:g}}, not a fraction in [0, 1]", values)
        total = np.nansum(block, axis=1)
        off = (np.abs(total) > ROUNDING) & (np.abs(total - 1) > ROUNDING) & sums
        _note(found, off, f"the fractions of {question} sum to {{:.3f}}, not to 1 or 0", total)
    return sorted(found.items())


def impossible_cumulative(
    values: Floats, slices: Mapping[str, slice], arrived: Floats, tolerance: float
) -> list[tuple[int, str]]:
    """Rows of cumulative fractions (N, A) of which a question does not sum to what arrives at it, (N, Q).

    Off by more than ``tolerance``, that is. All questions but the first may have no votes at all (sum 0), as the later
    ones where everybody saw a star.
    """
    found: dict[int, str] = {}
    for number, (question, part) in enumerate(slices.items()):
        total, due = values[:, part].sum(axis=1), arrived[:, number]
        off = np.where((total > tolerance) | (number == 0), np.abs(total - due), 0.0)
        _note(found, off > tolerance, f"{question} sums to {{:.4f}}, not {{:.4f}}", total, due)
    return sorted(found.items())


def _note(found: dict[int, str], bad: NDArray[np.bool_], message: str, *values: Floats) -> None:
    """Remember the first message of every bad row, filled with that row's values."""
    for row in np.flatnonzero(bad).tolist():
        found.setdefault(row, message.format(*(column[row] for column in values)))


def listed(rows: Sequence[tuple[int, str]], ids: Sequence[str] | None = None, most: int = 5) -> str:
    """The first rows, counted from 1, as an error message shows them: ``row 3 ('id'): what is wrong; ...``."""
    named = [f"row {row + 1}{_quoted(ids, row)}: {message}" for row, message in rows[:most]]
    return "; ".join(named) + (f"; and {len(rows) - most} more" if len(rows) > most else "")


def _quoted(ids: Sequence[str] | None, row: int) -> str:
    return "" if ids is None else f" ('{ids[row]}')"
