"""Examples: the galaxies that have a label, and which part of the split each is in, exactly as in training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data.split import PARTS, Split, assign, given_parts
from ..errors import BadCatalog, LabelError, RecipeError
from ..galaxy.catalog import Catalog
from ..galaxy.labels import LabelChoice, Labels, make_labels
from ..galaxy.records import Source


@dataclass(frozen=True, eq=False)
class Examples:
    """``labels`` (classes) of galaxies that have a picture, in the order of the source, and the part of each."""

    labels: Labels
    parts: NDArray[np.str_]
    notes: tuple[str, ...] = ()

    def ids(self, part: str) -> list[str]:
        """The ids of one part."""
        return [one for one, its in zip(self.labels.ids, self.parts, strict=True) if its == part]

    @property
    def counts(self) -> dict[str, int]:
        """Galaxies per part."""
        return {part: int((self.parts == part).sum()) for part in PARTS}


def find_examples(
    source: Source, catalog: Catalog | None, choice: LabelChoice, split: Split, run: str | Path | None = None
) -> Examples:
    """Labels of the galaxies of ``source`` by id, and their parts: those of ``run``, or else by ``split``.

    The split is the one that training makes of the same galaxies, labels and choices. A ``run`` (the folder of a
    training run) has its parts in split.parquet, and they are taken as they are: galaxies that it does not have are
    left out, and noted. Raises :class:`LabelError` where no label is, or joins, or where labels are no classes.
    """
    if catalog is None:
        raise LabelError(f"'{source.path}' has no catalogue: give labels with the same ids")
    labels = make_labels(catalog, choice)
    if labels.kind != "classes":
        raise LabelError(
            f"a baseline learns classes, not {labels.kind}: choose labels of kind 'largest', 'threshold' or 'column'"
        )
    labelled = set(labels.ids)
    both = [one for one in source.ids if one in labelled]
    if not both:
        raise LabelError(
            f"none of {len(labels)} labelled ids is among the {len(source)} of '{source.path}': the galaxies are "
            f"called {list(source.ids[:3])}, the labels {list(labels.ids[:3])}; name the right id column"
        )
    notes = [f"{number:,} rows of the labels are left out: {what}" for what, number in labels.dropped.items() if number]
    if run is not None:
        of_run = _parts_of(run)
        known = [one for one in both if one in of_run]
        if len(known) < len(both):
            notes.append(f"{len(both) - len(known):,} labelled galaxies are not in the split of '{run}': left out")
        if not known:
            raise BadCatalog(f"none of {len(both)} labelled galaxies is in the split of '{run}': name another run")
        return Examples(labels.select(known), np.array([of_run[one] for one in known]), tuple(notes))
    labels = labels.select(both)
    ra, dec = _positions(catalog, both)
    if ra is None and source.catalog is not None and source.catalog is not catalog:
        ra, dec = _positions(source.catalog, both)
    given = given_parts(catalog, both, split)
    parts = assign(labels.ids, split, ra=ra, dec=dec, classes=labels.classes, given=given)
    return Examples(labels, parts, tuple(notes))


def _parts_of(run: str | Path) -> dict[str, str]:
    path = Path(run) / "split.parquet"
    if not path.is_file():
        raise RecipeError(f"'{run}' is no training run: it has no split.parquet, which holds the part of each galaxy")
    table = Catalog.read(path)
    return dict(zip(table.ids, map(str, table["part"]), strict=True))


def _positions(catalog: Catalog, ids: list[str]) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """ICRS degrees of some galaxies, NaN where unknown; None where the catalogue has no positions at all."""
    if catalog.ra is None or catalog.dec is None:
        return None, None
    rows = {one: row for row, one in enumerate(catalog.ids)}
    wanted = [rows.get(one, len(rows)) for one in ids]
    return np.append(catalog.ra, np.nan)[wanted], np.append(catalog.dec, np.nan)[wanted]
