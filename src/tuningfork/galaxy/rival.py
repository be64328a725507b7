"""Predictions of another program, known by their columns alone, as a table of predictions like ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import BadCatalog, BadVotes, Reason
from .catalog import Catalog
from .tree import TREES, Tree
from .votelayout import ROUNDED, Layout, column_name

_NOTES = ("id", "ra", "dec", "status", "reason", "class", "entropy")
_WANTED = (
    "Known are: p_<class> for every class; <question>_<answer>_fraction (or _concentration) for the answers of a tree; "
    "one column of numbers per class that sum to 1; or a column 'class'"
)


def recognise(catalog: Catalog, tree: Tree | None = None) -> tuple[pa.Table, Layout]:
    """The predictions in a catalogue, as our table and its layout.

    In this order: columns ``p_<class>`` are class probabilities; the attributes of a tree (as in
    EFIGI, on its own scale) are those; ``*_concentration`` are a Dirichlet head and
    ``*_fraction`` fractions of ``tree`` (or of the built-in tree with just these columns, or of none); other columns
    of numbers in [0, 1] that sum to 1 in every row are class probabilities; a text column ``class`` is taken as
    certain. A row is rejected where a column ``status`` says so, or where it has no value at all (reason: the
    column's, or missing). Raises :class:`BadVotes` where nothing of this fits, or a row has values by half.
    """
    layout, columns = _layout(catalog, tree)
    values = _values(catalog, layout, columns)
    absent = np.isnan(values).all(axis=1)
    status = catalog["status"] if "status" in catalog else np.full(len(catalog), None)
    refused = absent | (status == "rejected")
    half = np.isnan(values).any(axis=1) & ~refused
    if half.any():
        rows = np.flatnonzero(half)[:5]
        shown = ", ".join(f"row {row + 1} (id {catalog.ids[row]})" for row in rows)
        raise BadVotes(f"{half.sum()} rows of {catalog.name} have some predictions but not all: {shown}")
    told = catalog["reason"] if "reason" in catalog else np.full(len(catalog), None)
    reasons = [str(why or Reason.MISSING) if out else None for why, out in zip(told, refused, strict=True)]
    unknown = np.full(len(catalog), np.nan)
    ra, dec = (unknown if sky is None else sky for sky in (catalog.ra, catalog.dec))
    return layout.table(catalog.ids, ra, dec, values[~refused], reasons, ROUNDED), layout


def _layout(catalog: Catalog, tree: Tree | None) -> tuple[Layout, list[str]]:
    """What kind of head the columns are, and which of them hold its outputs ([] = the column ``class``)."""
    numbers = [name for name in catalog.columns if _is_number(catalog, name)]
    chances = [name for name in numbers if name.startswith("p_")]
    if chances and tree is None:
        return Layout("classes", _written(catalog, [name[2:] for name in chances])), chances
    measured = tree or next((one for one in map(Tree.load, TREES) if {*one.columns} <= {*numbers}), None)
    if measured is not None and measured.kind == "attributes" and {*measured.columns} <= {*numbers}:
        return Layout("sigmoid", measured.columns, measured), list(measured.columns)
    for head, suffix in (("dirichlet", "_concentration"), ("fractions", "_fraction")):
        stems = [name.removesuffix(suffix) for name in numbers if name.endswith(suffix)]
        known = tree or _built_in(stems)
        if known is not None and {column_name(name) for name in known.columns} <= set(stems):
            return Layout(head, known.columns, known), [f"{column_name(name)}{suffix}" for name in known.columns]
        if tree is None and stems and head == "fractions":
            return Layout(head, tuple(stems)), [f"{stem}{suffix}" for stem in stems]
    if tree is not None:
        lacking = [f"{name}_fraction" for name in tree.columns if f"{name}_fraction" not in numbers]
        raise BadVotes(f"{catalog.name} has no column {', '.join(map(repr, lacking[:5]))} for the tree '{tree.name}'")
    if len(numbers) > 1 and _are_chances(_stack(catalog, numbers)):
        return Layout("classes", tuple(numbers)), numbers
    if "class" in catalog and pa.types.is_string(catalog.table.schema.field("class").type):
        return Layout("classes", tuple(sorted({str(one) for one in catalog["class"] if one is not None}))), []
    raise BadVotes(
        f"no predictions are known in {catalog.name} by its columns {', '.join(catalog.columns[:12])}. {_WANTED}"
    )


def _values(catalog: Catalog, layout: Layout, columns: list[str]) -> NDArray[np.float64]:
    if columns:
        return layout.outputs(_stack(catalog, columns))
    values = np.full((len(catalog), len(layout.names)), np.nan)
    for row, name in enumerate(catalog["class"]):
        if name is not None:
            values[row] = np.array(layout.names) == name
    return values


def _stack(catalog: Catalog, columns: list[str]) -> NDArray[np.float64]:
    return np.column_stack([catalog[name].astype(np.float64) for name in columns])


def _is_number(catalog: Catalog, name: str) -> bool:
    kind = catalog.table.schema.field(name).type  # null: a column of a CSV without any value
    return name not in _NOTES and (pa.types.is_null(kind) or pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _written(catalog: Catalog, stems: list[str]) -> tuple[str, ...]:
    """The classes as the column ``class`` writes them ("edge-on"), where it does, else as the columns do (edge_on)."""
    texts: Any = catalog["class"] if "class" in catalog.columns else []
    spelt = {column_name(f"p_{text}"): str(text) for text in texts if text is not None}
    return tuple(spelt.get(f"p_{stem}", stem) for stem in stems)


def _built_in(stems: list[str]) -> Tree | None:
    """The built-in tree whose answers are just these."""
    for name in TREES:
        tree = Tree.load(name)
        if {column_name(column) for column in tree.columns} == set(stems):
            return tree
    return None


def _are_chances(values: NDArray[Any]) -> bool:
    known = values[~np.isnan(values).all(axis=1)]
    return bool(len(known) and ((known >= 0) & (known <= 1)).all() and (abs(known.sum(axis=1) - 1) <= ROUNDED).all())


def bad_votes(error: BadCatalog) -> BadVotes:
    """What was wrong with a table, said of predictions."""
    return BadVotes(f"no predictions can be read: {error}")
