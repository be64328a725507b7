"""Train from files: opens the galaxies, finds the labels, fills in what the galaxies themselves decide, and fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import recipe as recipes
from ..errors import LabelError, MissingExtra
from ..galaxy.catalog import Catalog
from ..galaxy.labels import find_votes
from ..galaxy.source import Source, open_source
from ..galaxy.tree import Tree

if TYPE_CHECKING:
    from ..train.choices import TrainRecipe
    from ..train.finish import TrainSummary

Progress = Callable[[int, int, str], None]


def train(
    data: str | Path | Source,
    out: str | Path,
    *,
    labels: str | Path | Catalog | None = None,
    recipe: str | Path | TrainRecipe | None = None,
    changes: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> TrainSummary:
    """Train a network on the galaxies of ``data`` and write the run folder ``out``.

    Args:
        data: a store, or whatever :func:`~tuningfork.galaxy.source.open_source` opens.
        labels: a catalogue (or its file) joined by id; or the name of a column of the store's own catalogue; None
            takes what the recipe names (column "class" by default) from the store's own catalogue.
        recipe: a :class:`~tuningfork.train.choices.TrainRecipe`, or a TOML file of one; None = all defaults.
            With a tree and no kind of label, its votes are learnt: counts where there are any, else fractions.
        changes: single choices by dotted key, ``{"train.epochs": 20}``; they win over the recipe.

    The same call in the same folder goes on where a stopped run was, and ends with the same weights. Raises
    :class:`~tuningfork.errors.MissingExtra` where torch is not installed, and what
    :func:`~tuningfork.train.loop.fit` raises.
    """
    try:
        from ..train.choices import TrainRecipe
        from ..train.loop import fit
    except ImportError as error:
        if isinstance(error, MissingExtra) or (error.name or "").startswith("tuningfork"):
            raise
        raise MissingExtra(error.name or "torch", "train") from error
    source = open_source(data) if isinstance(data, (str, Path)) else data
    chosen = (
        recipe if isinstance(recipe, TrainRecipe) else recipes.load(TrainRecipe, recipe) if recipe else TrainRecipe()
    )
    chosen = recipes.replace(chosen, dict(changes or {}))
    catalog, column = _labels(source, labels)
    if column:
        chosen = replace(chosen, labels=replace(chosen.labels, column=column))
    if chosen.labels.tree and chosen.labels.kind == "column" and not column:
        counted = find_votes(catalog, Tree.load(chosen.labels.tree))[0] == "counts"
        chosen = replace(chosen, labels=replace(chosen.labels, kind="counts" if counted else "fractions"))
    return fit(source, out, chosen, labels=catalog, progress=progress)


def _labels(source: Source, labels: str | Path | Catalog | None) -> tuple[Catalog, str]:
    """The catalogue that holds the labels, and the column that was named instead of a file ("" where none was)."""
    if isinstance(labels, Catalog):
        return labels, ""
    if labels and (Path(labels).exists() or Path(labels).suffix):
        return Catalog.read(labels), ""
    if source.catalog is None:
        raise LabelError(
            f"'{source.path}' has no labels of its own: give a catalogue with --labels FILE, here or to ingest"
        )
    if labels and str(labels) not in source.catalog.columns:
        raise LabelError(
            f"'{labels}' is neither a file nor a column of the catalogue of '{source.path}', which has: "
            f"{', '.join(source.catalog.columns[:30])}"
        )
    return source.catalog, str(labels or "")
