"""From a source, a catalogue and a recipe to examples: labels joined by id, parts assigned, pictures rendered."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .. import disk
from ..data.augment import margin
from ..data.dataset import Cache, render_all
from ..data.split import assign, given_parts
from ..errors import BadImage, LabelError, SplitError, TrainingError
from ..galaxy.catalog import Catalog
from ..galaxy.cutout import Rejected
from ..galaxy.display import Display
from ..galaxy.labels import Labels, make_labels
from ..galaxy.records import Source
from .choices import TrainRecipe
from .objective import strata

Say = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Joined:
    """Galaxies that have both a label and a picture, in the order of the source, and the part of each.

    ``digest`` (SHA-256) changes with any galaxy, label or position; ``notes`` are lines for people.
    """

    labels: Labels
    parts: NDArray[np.str_]
    digest: str
    n_unlabelled: int
    n_without_picture: int
    notes: list[str] = field(default_factory=list)

    def ids(self, part: str) -> list[str]:
        """The ids of one part."""
        return [i for i, p in zip(self.labels.ids, self.parts, strict=True) if p == part]

    def values(self, ids: Sequence[str], table: NDArray[np.float32]) -> NDArray[np.float32]:
        """The rows of ``table`` (one per galaxy of ``labels``) of some ids, in their order."""
        row = {identifier: number for number, identifier in enumerate(self.labels.ids)}
        return table[[row[i] for i in ids]]

    @property
    def counts(self) -> dict[str, int]:
        """Galaxies per part."""
        return {part: int((self.parts == part).sum()) for part in ("train", "validation", "test")}


def join(source: Source, catalog: Catalog | None, recipe: TrainRecipe) -> Joined:
    """Labels of the galaxies of ``source`` by id, and their parts by ``recipe.split``.

    Galaxies without a label and labels without a picture are counted and noted. Raises :class:`LabelError` if there
    are no labels or none joins, and what making labels and splitting raise.
    """
    if catalog is None:
        raise LabelError(f"'{source.path}' has no catalogue: give labels with the same ids (--labels FILE)")
    labels = make_labels(catalog, recipe.labels)
    labelled = set(labels.ids)
    both = [i for i in source.ids if i in labelled]
    if not both:
        ours, theirs = (list(ids[:3]) for ids in (source.ids, labels.ids))
        raise LabelError(
            f"none of {len(labels.ids)} labelled ids is among the {len(source.ids)} of '{source.path}': the galaxies "
            f"are called {ours}, the labels {theirs}; name the right id column of the catalogue"
        )
    known = set(catalog.ids)
    unlabelled, lacking = sum(i not in known for i in source.ids), len(labelled) - len(both)
    notes = [f"{n:,} rows of the labels are left out: {what}" for what, n in labels.dropped.items() if n]
    notes += [f"{unlabelled:,} galaxies of '{source.path}' have no label and are left out"] * bool(unlabelled)
    notes += [f"{lacking:,} labels have no picture in '{source.path}' and are left out"] * bool(lacking)
    labels = labels.select(both)
    ra, dec = _positions(catalog, both)
    if ra is None and source.catalog is not None and source.catalog is not catalog:
        ra, dec = _positions(source.catalog, both)
    if recipe.split.method != "sky" and ra is None:
        notes.append("no positions are known, so neighbours across the split cannot be found")
    classes = strata(labels)
    parts = assign(
        labels.ids, recipe.split, ra=ra, dec=dec, classes=classes, given=given_parts(catalog, both, recipe.split)
    )
    if not (parts == "validation").any():
        raise SplitError(f"{len(both)} galaxies leave no validation part, which chooses the best epoch: give more")
    if labels.kind == "classes":
        seen = np.bincount(classes[parts == "train"], minlength=len(labels.names))
        notes += [f"no galaxy of class '{labels.names[k]}' is in the training part" for k in np.flatnonzero(seen == 0)]
    return Joined(labels, parts, _digest(source, labels, ra, dec), unlabelled, lacking, notes)


def _positions(catalog: Catalog, ids: list[str]) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    if "ra" not in catalog.columns or "dec" not in catalog.columns:
        return None, None
    rows = {identifier: number for number, identifier in enumerate(catalog.ids)}
    wanted = [rows.get(i, len(rows)) for i in ids]  # one that is not there has no position
    ra, dec = (np.append(np.asarray(catalog[name], dtype=np.float64), np.nan)[wanted] for name in ("ra", "dec"))
    return ra, dec


def _digest(source: Source, labels: Labels, ra: NDArray[np.float64] | None, dec: NDArray[np.float64] | None) -> str:
    words = hashlib.sha256(source.digest.encode())
    for text in (*labels.ids, *labels.names, "" if labels.tree is None else labels.tree.digest):
        words.update(text.encode("utf-8", "surrogatepass") + b"\0")
    for values in (labels.values, ra, dec):
        words.update(b"" if values is None else np.ascontiguousarray(values).tobytes())
    return words.hexdigest()


def settle(source: Source, display: Display, ids: Sequence[str], notes: list[str]) -> Display:
    """The display with what these galaxies themselves decide, where it leaves that open.

    That is the bands; the scale that its crop refers to; and for flux without a stretch asinh, which is noted. All
    stand on the card afterwards, so that galaxies of other bands or scales are refused or cropped alike.
    """
    bands, scale = display.bands or source.bands, display.pixel_scale or source.pixel_scale
    for identifier in ids:
        if bands and (scale or not display.crop):
            break
        try:
            cutout = source.record(identifier).cutout()
        except BadImage:
            continue
        bands, scale = bands or cutout.bands, scale or cutout.pixel_scale
        break
    if not bands:
        raise TrainingError(
            f"none of {len(ids)} galaxies of '{source.path}' can be decoded, so their bands are unknown"
        )
    default = Display.for_bands(bands)
    if display.stretch == "none" and default.stretch != "none":
        notes.append(f"the galaxies are flux, which needs a stretch: '{default.stretch}' is taken (display.stretch)")
        display = replace(display, stretch=default.stretch)
    return replace(
        display, bands=tuple(bands), pixel_scale=float(scale or 0.0) if display.crop else display.pixel_scale
    )


def render_parts(
    source: Source, joined: Joined, recipe: TrainRecipe, out: Path, say: Say | None
) -> tuple[Cache, Cache]:
    """The training and the validation part as uint8 caches; writes split.parquet and rejected.parquet.

    Raises :class:`TrainingError` if fewer than two galaxies are left to train on.
    """
    _write_table(out / "split.parquet", {"id": joined.labels.ids, "part": joined.parts.tolist()})
    caches, rejected = [], dict[str, tuple[Rejected, ...]]()
    for part, extra in (("train", margin(recipe.augment, recipe.display.size)), ("validation", 0)):
        told = None if say is None else lambda n, of, live, part=part: say(n, of, f"{part} part: {live}")  # type: ignore[misc]
        caches.append(
            render_all(
                source,
                joined.ids(part),
                recipe.display,
                extra,
                scratch=out / f"cache-{part}.npy",
                memory_limit=recipe.train.memory_gb * 1e9,
                threads=recipe.train.threads,
                progress=told,
            )
        )
        rejected[part] = caches[-1].rejected
    rows = [(r.id, str(r.reason), r.detail, r.source, part) for part, ones in rejected.items() for r in ones]
    columns = list(zip(*rows, strict=True)) or [()] * 5
    names = ("id", "reason", "detail", "source", "part")
    _write_table(out / "rejected.parquet", dict(zip(names, columns, strict=True)))
    if len(caches[0]) < 2:
        raise TrainingError(f"{len(caches[0])} galaxy is left to train on; see rejected.parquet in '{out}'")
    return caches[0], caches[1]


def _write_table(path: Path, columns: dict[str, Sequence[str]]) -> None:
    table = pa.table({name: pa.array(list(values), pa.string()) for name, values in columns.items()})
    with disk.atomic(path) as part:
        pq.write_table(table, part)
