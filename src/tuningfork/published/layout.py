"""The files of a published set as a store or a catalogue: tables read, votes proven, pictures joined and ingested."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .. import disk
from ..errors import BadCatalog, BadStore, ImpossibleVotes, LabelError
from ..galaxy.catalog import ID_NAMES, Catalog, guess
from ..galaxy.folder import image_format, look_through, stem
from ..galaxy.ingest import Summary, ingest
from ..galaxy.records import digest_of
from ..galaxy.source import open_source
from ..galaxy.tree import Tree
from ..galaxy.votecolumns import find_votes
from .archive import Allowance, is_archive, prove_gzip, unpack, wanted
from .card import DataSet, File, Role

Progress = Callable[[int, int, str], None]

_PROVEN = 300_000  # rows whose votes are proven; a table of millions is proven by its first ones


@dataclass(frozen=True)
class Built:
    """What became of a set: a catalogue (``table``) or a store, how many rows, and what should be known about it."""

    rows: int
    table: str = ""
    store: Summary | None = None
    notes: tuple[str, ...] = ()


def build(
    dataset: DataSet,
    places: dict[Role, Path],
    digests: dict[Role, str],
    out: Path,
    progress: Progress | None = None,
) -> Built:
    """Make ``out``/catalog.parquet (layout "table") or ``out``/store of the files at ``places`` (by role).

    A place is a file, an archive, or the folder in which somebody has unpacked one. Archives are unpacked to
    ``out``/unpacked, which may be removed afterwards. ``digests`` are the files' SHA-256, by which a store knows what
    it was made of; a folder has none. Raises :class:`~tuningfork.errors.BadStore`,
    :class:`~tuningfork.errors.BadCatalog`, :class:`~tuningfork.errors.ImpossibleVotes`,
    :class:`~tuningfork.errors.LabelError` and :class:`~tuningfork.errors.Unmatched`.
    """
    made = Makers(dataset, places, digests, out, progress)
    return {"table": made.catalogue, "pictures": made.pictures, "classes": made.classes, "hdf5": made.stack}[
        dataset.layout
    ]()


class Makers:
    """One way for each layout, which share the unpacking and the reading of tables."""

    def __init__(
        self,
        dataset: DataSet,
        places: dict[Role, Path],
        digests: dict[Role, str],
        out: Path,
        progress: Progress | None,
    ) -> None:
        self.dataset, self.places, self.digests, self.out, self.progress = dataset, places, digests, out, progress
        self.notes: list[str] = []

    def catalogue(self) -> Built:
        """Layout "table": the table, its columns and votes proven, as a catalogue."""
        catalog, path = self._table(), self.out / "catalog.parquet"
        catalog.write(path)
        return Built(len(catalog), table=str(path), notes=tuple(self.notes))

    def pictures(self) -> Built:
        """Layout "pictures": a store of pictures with the table's rows as labels."""
        labels, folder = self._labels(), self._unpacked(self._file("pictures"))
        return self._stored(folder, "pictures", labels)

    def classes(self) -> Built:
        """Layout "classes": a store of pictures whose folders name their class."""
        return self._stored(self._unpacked(self._file("pictures"), keep_class=True), "pictures")

    def stack(self) -> Built:
        """Layout "hdf5": a store of the galaxies of a stack."""
        return self._stored(self.places["stack"], "stack")

    def _stored(self, place: Path, role: Role, labels: Catalog | None = None) -> Built:
        """The store of the galaxies at ``place``, made of the file of that role."""
        source = open_source(place, pixel_scale=self.dataset.pixel_scale or None)
        if self.digests.get(role):  # not the times of files that may be unpacked, or fetched, anew
            source.digest = digest_of([self.digests[role], self._file(role).members])
        store = ingest(
            source, self.out / "store", labels=labels, unmatched=self.dataset.unmatched, progress=self.progress
        )
        return Built(store.n_in, store=store, notes=tuple(self.notes))

    def _file(self, role: Role) -> File:
        return next(file for file in self.dataset.files if file.role == role)

    def _unpacked(self, file: File, keep_class: bool = False) -> Path:
        """The folder with the files of an archive, which is unpacked unless its owner has done so."""
        place = self.places[file.role]
        if place.is_dir():
            return place
        if not is_archive(place.name):
            raise BadStore(f"'{place}' is neither an archive (.zip, .tar, .tar.gz, .tgz) nor a folder of pictures")
        folder, most = self.out / "unpacked" / file.role, Allowance(members=file.most)
        for below in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
            disk.sweep(below)
        done = unpack(place, folder, file.members or "*", keep_class=keep_class, allowance=most, progress=self.progress)
        if done.n_others:
            shown = ", ".join(done.others[:3])
            self.notes.append(f"{done.n_others:,} other files stayed inside {place.name}: {shown}, ...")
        there = [entry.path for entry in look_through(folder)]
        if len(there) != done.n:
            raise BadStore(f"'{folder}' has {len(there)} files, '{place.name}' only {done.n}: remove the folder first")
        return folder

    def _table_file(self, file: File) -> Path:
        """The path of a table, out of its archive if it came in one."""
        place = self.places[file.role]
        if is_archive(place.name):
            folder = self._unpacked(file)
            found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
            if len(found) != 1:
                raise BadStore(f"'{place}' has {len(found)} files like '{file.members}'; one table was expected")
            place = found[0]
        if place.name.lower().endswith(".gz"):
            prove_gzip(place)
        if place.suffix.lower() == ".txt":
            return _as_csv(place, self.dataset.columns, self.out / "unpacked" / f"{file.role}.csv")
        return place

    def _table(self) -> Catalog:
        file = self._file("table")
        catalog = Catalog.read(self._table_file(file), id=self.dataset.id or None)
        return self._proven(catalog)

    def _proven(self, catalog: Catalog) -> Catalog:
        """The catalogue, if it has the columns of its tree and possible votes."""
        if not self.dataset.tree:
            return catalog
        tree, part = Tree.load(self.dataset.tree), catalog
        if len(catalog) > _PROVEN and not self.dataset.strict:
            part = catalog.rows(np.arange(_PROVEN))
            self.notes.append(f"the votes of the first {_PROVEN:,} of {len(catalog):,} rows were proven")
        try:
            kind, _ = find_votes(part, tree)
            self.notes.append(f"labels: {kind} of the tree {tree.name}")
        except LabelError as error:
            raise LabelError(
                f"this is not the table of '{self.dataset.name}': {error}. Was another file taken for it?"
            ) from error
        except ImpossibleVotes as error:
            if self.dataset.strict:
                raise
            self.notes.append(f"published with impossible votes, which are kept: {str(error)[:300]}")
        if tree.kind == "attributes":
            _check_bounds(part, tree)
        return catalog

    def _labels(self) -> Catalog:
        """The table with the pictures' names as ids."""
        table = self._table()
        mapping = self.dataset.file("map")
        if mapping is None:
            return _named_by_picture(table)
        return _mapped(table, self._table_file(mapping), self.dataset, self.notes)


def _mapped(table: Catalog, path: Path, dataset: DataSet, notes: list[str]) -> Catalog:
    """The table's rows under the ids of the pictures; several pictures may show one galaxy."""
    pairs = Catalog.read(path, id=dataset.map_id)
    if dataset.map_to not in pairs:
        raise BadCatalog(f"'{path}' has no column '{dataset.map_to}'; its columns are {', '.join(pairs.columns[:12])}")
    target = pc.cast(pairs.table.column(dataset.map_to).combine_chunks(), pa.string())
    found = pc.index_in(target, value_set=table.id_texts)
    known = pc.is_valid(found)
    missing = len(pairs) - pc.sum(known).as_py()
    if missing == len(pairs):
        raise BadCatalog(f"none of the {len(pairs):,} rows of '{path}' names a row of {table.name}")
    if missing:
        notes.append(f"{missing:,} of {len(pairs):,} pictures of the map have no row in the table")
    rows = table.table.take(pc.drop_null(found)).rename_columns(
        ["galaxy" if name == "id" else name for name in table.columns]
    )
    ids = pc.filter(pairs.table.column("id"), known)
    return Catalog(rows.add_column(0, "id", ids), "id", name=f"'{path}' with the votes")


def _named_by_picture(table: Catalog) -> Catalog:
    """Where ids are the names of image files: without their suffix, as a store names its galaxies."""
    if not image_format(table.ids[0]):
        return table
    names = pa.array([stem(name) for name in table.ids])
    return Catalog(table.table.set_column(0, "id", names), "id", name=table.name)


def _check_bounds(catalog: Catalog, tree: Tree) -> None:
    """Raise BadCatalog unless each attribute lies within its published limits: else columns are out of order."""
    for question in tree.questions:
        names = [f"{question.name}{ending}" for ending in (tree.lower, "", tree.upper)]
        if not all(name in catalog for name in names):
            continue
        low, value, high = (np.asarray(catalog[name], dtype=np.float64) for name in names)
        wrong = np.flatnonzero((low > value + 1e-6) | (value > high + 1e-6))
        if wrong.size:
            row = int(wrong[0])
            raise BadCatalog(
                f"{catalog.name} has {wrong.size} galaxies whose '{question.name}' lies outside its own limits, first "
                f"'{catalog.ids[row]}' ({low[row]:g}, {value[row]:g}, {high[row]:g}): are its columns in another order?"
            )


def _as_csv(path: Path, columns: tuple[str, ...], target: Path) -> Path:
    """A table of words split by blanks, with # for comments, as CSV; its header, or else ``columns``, names them."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadCatalog(f"cannot read '{path}' as text: {error}") from error
    if lines and lines[0].lstrip().startswith("<"):
        raise BadCatalog(f"'{path}' is a web page, no table; it begins {lines[0][:60]!r}")
    rows = [line.split() for line in lines if line.strip()]
    known = {name.casefold() for name in columns} | set(ID_NAMES)
    header = next((row for row in rows if row[0].lstrip("#").casefold() in known and len(row) > 1), None)
    body = [row for row in rows if not row[0].startswith("#") and row is not header]
    names = [*columns] if header is None else [header[0].lstrip("#"), *header[1:]]
    if not names or (guess(names, ID_NAMES) is None and names[0] not in columns):
        raise BadCatalog(f"'{path}' has no header, and nobody says what its columns are")
    ragged = next((number for number, row in enumerate(body, 1) if len(row) != len(names)), 0)
    if not body or ragged:
        what = f"row {ragged} has {len(body[ragged - 1])} words instead of {len(names)}" if ragged else "no rows"
        raise BadCatalog(f"'{path}' is no table: {what} (columns {', '.join(names[:6])}, ...)")
    if any("," in word or '"' in word for row in body for word in row):
        raise BadCatalog(f"'{path}' has words with commas or quotes, which a table split by blanks has not")
    disk.write_text(target, "\n".join(",".join(row) for row in [names, *body]) + "\n")
    return target


def find_own(dataset: DataSet, file: File, folder: Path) -> Path:
    """Where ``folder`` holds a file, or what was unpacked from it; raises BadStore that says what was expected."""
    found = [entry.path for entry in look_through(folder)]
    same = [path for path in found if os.path.basename(path) == file.name]
    if len(same) == 1:
        return folder / same[0]
    if len(same) > 1:
        raise BadStore(f"'{folder}' has '{file.name}' more than once: {', '.join(same[:3])}; leave one there")
    inside = [
        path
        for path in found
        if file.members and any(wanted(tuple(path.split("/")), p) for p in (file.members, f"*/{file.members}"))
    ]
    if not inside:
        unpacked = f", nor what it holds ({file.members})" if file.members else ""
        raise BadStore(
            f"'{folder}' has no '{file.name}'{unpacked}. For '{dataset.name}' it should hold: {expected(dataset)}"
        )
    if file.role in ("table", "map"):
        if len(inside) > 1:
            raise BadStore(f"'{folder}' has several files like '{file.members}': {', '.join(inside[:3])}")
        return folder / inside[0]
    root = os.path.commonpath([os.path.dirname(path) or "." for path in inside]) if len(inside) > 1 else ""
    root = root or os.path.dirname(inside[0])
    if dataset.layout == "classes" and len({os.path.dirname(path) for path in inside}) == 1:
        root = os.path.dirname(root)
    taken = set(inside)
    strangers = [p for p in found if (not root or p.startswith(f"{root}/")) and image_format(p) and p not in taken]
    if strangers and dataset.unmatched == "refuse":
        raise BadStore(
            f"'{folder / root}' has pictures besides those of '{dataset.name}' ({file.members}): "
            f"{', '.join(strangers[:3])}; name a folder that holds these alone"
        )
    return folder / root


def expected(dataset: DataSet) -> str:
    """The files of a set, as one line for a message."""
    return "; ".join(f"{f.name}{f' (or {f.members})' if f.members else ''}" for f in dataset.files)
