"""Volunteers' votes found in a catalogue by the names that surveys give their columns, and checked before use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImpossibleVotes, LabelError
from .catalog import Catalog
from .impossible import listed
from .question import nearest, plain_name
from .tree import CHALLENGE, Tree

Floats = NDArray[np.float64]
KINDS = ("counts", "fractions", "debiased", "challenge", "attributes")
ENDINGS = {
    "counts": ("_count", "_counts"),
    "fractions": ("_fraction", "_frac", "_weighted_fraction", "_weighted_frac"),
    "debiased": ("_debiased", "_debiased_fraction"),
}
WHOLE = 0.15  # votes: fractions of three digits times their total miss a whole number by at most half of this


def find_votes(
    catalog: Catalog, tree: Tree, want: Sequence[str] = ("counts", "fractions", "debiased", "challenge")
) -> tuple[str, Floats]:
    """The votes on ``tree`` in a catalogue: what kind they are, and values (N, answers) in the tree's order.

    The first kind of ``want`` that the catalogue has in full is taken:

    - "counts": ``<column>_count``; or ``<column>`` alone, unless all are shares of 1; or unweighted fractions times the
      published number of votes on the question (Galaxy Zoo 1, Hubble, CANDELS), where that gives whole numbers.
    - "fractions": ``<column>_fraction``, ``_frac``, ``_weighted_fraction``, ``_weighted_frac``, ``<column>`` alone
      (unless it holds counts), or a published name (``P_EL``); brought to a sum of 1 per question (NaN where it was
      not asked).
    - "debiased": ``<column>_debiased``, ``_debiased_fraction``; likewise.
    - "challenge": the Galaxy Challenge's ``Class1.1`` .. ``Class11.6`` (tree gz2), cumulative as they are.
    - a tree of attributes has the kind "attributes": values as published, see :meth:`Tree.scaled`.

    Names are compared without case, and with hyphens, spaces and dots as underscores: ``smooth-or-featured_smooth``.
    Raises :class:`LabelError` with what is missing where no kind is there, and :class:`ImpossibleVotes` with ids, rows
    and columns for votes that nobody can have cast (see :mod:`~tuningfork.galaxy.impossible`).
    """
    names = {plain_name(name).lower(): name for name in reversed(catalog.columns)}
    tried: list[tuple[int, str]] = []

    def look(wanted: Sequence[str]) -> Floats | None:
        """The columns of these names, None where one is not there."""
        keys = [plain_name(name).lower() for name in wanted]
        missing = [name for name, key in zip(wanted, keys, strict=True) if key not in names]
        if missing:
            hint = nearest(missing[0], catalog.columns)
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            tried.append((len(wanted) - len(missing), f"'{missing[0]}'{more} of {len(wanted)}{hint}"))
            return None
        return np.column_stack([_numbers(catalog, names[key]) for key in keys])

    if tree.kind == "attributes":
        want = ("attributes",)
        values = look(tree.columns)
        if values is not None:
            return "attributes", values
    for kind in want if tree.kind == "votes" else ():
        if kind not in _FINDERS:
            raise LabelError(f"there are no votes of the kind '{kind}'{nearest(kind, KINDS)}: {', '.join(_FINDERS)}")
        found = _FINDERS[kind](tree, look)
        if found is not None:
            return kind, _checked(catalog, tree, kind, found)
    closest = max(tried, key=lambda one: one[0], default=(0, "any column"))[1]
    raise LabelError(
        f"{catalog.name} has no {' or '.join(want)} for the tree '{tree.name}': it lacks {closest}; "
        f"its columns are {', '.join(catalog.columns[:12])}{', ...' if len(catalog.columns) > 12 else ''}"
    )


Look = Callable[[Sequence[str]], Floats | None]


def _numbers(catalog: Catalog, name: str) -> Floats:
    """One column as float64 with NaN for null."""
    values: Any = catalog[name]
    try:
        return np.asarray(np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise LabelError(
            f"the column '{name}' of {catalog.name} should hold votes, but holds no numbers: {error}"
        ) from error


def _ending(tree: Tree, look: Look, kind: str) -> Floats | None:
    for ending in ENDINGS[kind]:
        found = look([f"{column}{ending}" for column in tree.columns])
        if found is not None:
            return found
    return None


def _aliases(tree: Tree, look: Look) -> Floats | None:
    aliases = [answer.alias for question in tree.questions for answer in question.answers]
    return look(aliases) if all(aliases) else None


def _counts(tree: Tree, look: Look) -> Floats | None:
    found = _ending(tree, look, "counts")
    if found is not None:
        return found
    bare = look(tree.columns)
    if bare is not None and (np.nanmax(bare, initial=0.0) > 1.5 or not (bare != np.rint(bare))[~np.isnan(bare)].any()):
        return bare  # otherwise they are fractions
    totals = [question.total for question in tree.questions]
    if not all(totals):
        return None
    asked = look(totals)
    shares = look([f"{column}_fraction" for column in tree.columns])
    for other in (lambda: look([f"{column}_frac" for column in tree.columns]), lambda: _aliases(tree, look)):
        shares = other() if shares is None else shares
    if asked is None or shares is None:
        return None
    counts = tree.counts(shares, asked)
    widths = [part.stop - part.start for part in tree.slices.values()]
    exact = np.nan_to_num(shares, nan=0.0) * np.repeat(np.nan_to_num(asked, nan=0.0), widths, axis=-1)
    return counts if np.abs(counts - exact).max(initial=0.0) <= WHOLE else None  # else they are weighted


def _fractions(tree: Tree, look: Look) -> Floats | None:
    for found in (_ending(tree, look, "fractions"), _aliases(tree, look)):
        if found is not None:
            return found
    bare = look(tree.columns)
    return None if bare is not None and _whole_votes(bare) else bare


def _whole_votes(bare: Floats) -> bool:
    """Whether columns that do not say what they are hold votes: whole numbers, one of them above 1."""
    known = bare[~np.isnan(bare)]
    return bool((known == np.rint(known)).all() and known.max(initial=0.0) > 1)


def _debiased(tree: Tree, look: Look) -> Floats | None:
    return _ending(tree, look, "debiased")


def _challenge(tree: Tree, look: Look) -> Floats | None:
    return look(CHALLENGE) if tree.columns == Tree.load("gz2").columns else None


_FINDERS: dict[str, Callable[[Tree, Look], Floats | None]] = {
    "counts": _counts,
    "fractions": _fractions,
    "debiased": _debiased,
    "challenge": _challenge,
}


def _checked(catalog: Catalog, tree: Tree, kind: str, values: Floats) -> Floats:
    """The values, ready for use, or the ImpossibleVotes that lists the rows at fault."""
    if kind == "challenge":
        bad = tree.check_challenge(values)
        if bad:
            raise ImpossibleVotes(
                f"{len(bad)} of {len(catalog)} rows of {catalog.name} break the sums of the Galaxy Challenge's 37 "
                "columns (q6='as_published': Class1 and Class6 sum to 1, every other question to the answers that lead "
                f"to it): {listed(bad, catalog.ids)}. Was the table changed, or are its columns named wrongly?"
            )
        bad = tree.check_fractions(values, sums=False)
    elif kind == "counts":
        bad = tree.check_counts(values)
    else:
        bad = tree.check_fractions(values, sums=kind == "fractions")
    if bad:
        raise ImpossibleVotes(
            f"{len(bad)} of {len(catalog)} rows of {catalog.name} have votes that nobody can have cast on the tree "
            f"'{tree.name}': {listed(bad, catalog.ids)}. Take these rows out, or choose the tree that was asked"
        )
    return tree.fractions(values) if kind in ("fractions", "debiased") else values
