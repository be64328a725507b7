"""Colours of an atlas: a column of a catalogue or of votes, as a few groups with a legend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .. import recipe
from ..errors import BadCatalog, RecipeError
from ..galaxy.catalog import Catalog
from ..galaxy.votes import Votes
from ..predict.inwords import plain
from .embedding import Embedding

# Okabe & Ito (2008), the light ones first: they lie on a dark sky; then viridis from dark to light, for numbers
CLASSES = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#F0E442", "#0072B2")
NUMBERS = ("#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725")
NONE, OTHER = "#7b8794", "#cbd2d9"
LIKELIEST = "likeliest"


@dataclass(frozen=True, eq=False)
class Colouring:
    """A column as groups: ``group`` (N,) int64 numbers the ``labels`` and ``colours``, -1 where it has no value.

    Text and whole numbers of at most seven different values are groups by themselves; of more words the six most
    frequent, and "other". Other numbers go into seven groups of about as many galaxies each. ``words`` (N) is each
    value as text, "" where there is none.
    """

    name: str
    labels: tuple[str, ...]
    colours: tuple[str, ...]
    group: NDArray[np.int64]
    words: tuple[str, ...]
    notes: tuple[str, ...] = ()


def colouring(
    column: str,
    ids: tuple[str, ...],
    opened: Embedding | Votes,
    catalog: str | Path | Catalog | None,
    beside: Callable[[], Catalog | None],
) -> Colouring | None:
    """The colours of the galaxies ``ids`` by a column: see :func:`tuningfork.insight.atlas.atlas`; None for none.

    It is looked for in ``catalog`` alone where that is given, else in the votes, then in that ``beside`` the pictures.
    """
    if catalog is not None and column in ("", "none"):
        raise RecipeError("--catalog is given without a column of it: name one with --colour")
    if column == "none" or (not column and isinstance(opened, Embedding)):
        return None
    if catalog is None and isinstance(opened, Votes) and column in ("", LIKELIEST):
        return _grouped(LIKELIEST, _likeliest(opened, ids))
    if catalog is None:
        own = Catalog(opened.table, name=opened.name) if isinstance(opened, Votes) else None
        found = own if own is not None and column in own else beside() or own
    else:
        found = catalog if isinstance(catalog, Catalog) else Catalog.read(catalog)
    if found is None:
        raise BadCatalog(f"--colour '{column}': there is no catalogue to take it from; name one with --catalog")
    if column not in found:
        near = recipe.nearest(column, found.columns)
        other = "" if catalog is not None else "; --catalog names another table"
        raise BadCatalog(f"{found.name} has no column '{column}'{near}; it has {', '.join(found.columns[:20])}{other}")
    rows = {one: row for row, one in enumerate(found.ids)}
    values = found.table.column(column).to_pylist()
    mine = [values[rows[one]] if one in rows else None for one in ids]
    if all(one is None for one in mine):
        raise BadCatalog(f"none of {ids[:3]} and so on has a '{column}' in {found.name}, with ids like {found.ids[:3]}")
    return _grouped(column, mine, pa.types.is_floating(found.table.schema.field(column).type))


def _likeliest(votes: Votes, ids: tuple[str, ...]) -> list[Any]:
    """The likeliest answer to the first question; of attributes or classes, the largest of all."""
    tree = votes.tree if votes.tree is not None and votes.tree.kind == "votes" else None
    part = next(iter(tree.slices.values())) if tree is not None else slice(0, len(votes.names))
    if tree is not None:
        names = [plain(one.name) for one in tree.questions[0].answers]
    else:
        names = [plain(one) for one in votes.names[part]]
    row = {one: number for number, one in enumerate(votes.ids)}
    best = np.nan_to_num(votes.fractions[[row[one] for one in ids]][:, part]).argmax(axis=1)
    return [names[one] for one in best]


def _grouped(name: str, values: list[Any], floating: bool = False) -> Colouring:
    """Values, None where there is none, as groups."""
    values = [None if isinstance(one, float) and not np.isfinite(one) else one for one in values]
    given = [one for one in values if one is not None]
    lacking = len(values) - len(given)
    notes = (f"{lacking:,} of {len(values):,} galaxies have no '{name}': they have no colour",) if lacking else ()
    numeric = all(isinstance(one, int | float) and not isinstance(one, bool) for one in given)
    if numeric and given and (floating or len(set(given)) > len(CLASSES)):
        return _numbers(name, values, notes)
    words = ["" if one is None else str(one) for one in values]
    counts = Counter(word for word in words if word)
    kept = [word for word, _ in counts.most_common()]
    if len(kept) > len(CLASSES):
        kept = kept[: len(CLASSES) - 1]
    kept.sort(key=lambda word: (float(word), word) if numeric else (0.0, word))
    number = {word: k for k, word in enumerate(kept)}
    more = len(counts) > len(kept)
    group = [number.get(word, len(kept)) if word else -1 for word in words]
    labels, colours = (*kept, "other")[: len(kept) + more], (*CLASSES[: len(kept)], OTHER)[: len(kept) + more]
    return Colouring(name, labels, colours, np.array(group, np.int64), tuple(words), notes)


def _numbers(name: str, values: list[Any], notes: tuple[str, ...]) -> Colouring:
    numbers = np.array([np.nan if one is None else float(one) for one in values])
    known = np.isfinite(numbers)
    edges = np.unique(np.quantile(numbers[known], np.linspace(0, 1, len(NUMBERS) + 1)))
    edges = edges if len(edges) > 1 else np.array([edges[0], edges[0]])
    bins = len(edges) - 1
    group = np.full(len(numbers), -1, np.int64)
    group[known] = np.clip(np.searchsorted(edges, numbers[known], side="right") - 1, 0, bins - 1)
    labels = tuple(f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges))
    shades = np.linspace(0, len(NUMBERS) - 1, bins).round().astype(int)
    words = tuple(f"{one:.4g}" if np.isfinite(one) else "" for one in numbers)
    return Colouring(name, labels, tuple(NUMBERS[one] for one in shades), group, words, notes)
