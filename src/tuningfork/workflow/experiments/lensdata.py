"""The user's copies of lens hunts as stores: Space Warps, its graded candidates, the lens finding challenge."""

from __future__ import annotations

import csv
import dataclasses
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...errors import BadCatalog, BadImage, BadStore, Reason
from ...evaluate.report import Details, Section
from ...galaxy import spacewarps
from ...galaxy.catalog import Catalog
from ...galaxy.cutout import Record
from ...galaxy.folder import Folder, stem
from ...galaxy.pattern import open_pattern
from ...galaxy.records import Source, digest_of
from ...galaxy.source import open_source
from ...galaxy.store import Store
from ...galaxy.tablefile import read_table
from ...simulate.cfhtls import CFHTLS, WEIGHTS, lens_picture
from .desk import Desk

LENS, NOT_LENS = "lens", "not_lens"  # as simulated stamps are called
PROBABLE = 2.0  # the experts' grade from which a candidate is likely a lens
ALIKE = 0.995  # correlation of two pictures, averaged down to FINGERPRINT px, from which they show the same
FINGERPRINT = 40
MASKED = 100.0  # what the challenge's ground-based images hold where a bright neighbour was masked; flux is about 1e-11
SPACE_WARPS = "a Space Warps catalogue (CSV with category, kind, truth, flavor, stage, alpha) with its pictures"

_ANGLE = re.compile(r"_(\d+)asec_")
_SUBJECT = re.compile(r"_gri(\.png)?(_zoom)?$")


def space_warps(desk: Desk, stage: int) -> Store | None:
    """The labelled pictures of one stage of the user's Space Warps copy as the store warps-``stage``; or None.

    The catalogue is a CSV in the data folder, or one folder below, that has most of the columns of
    :data:`~tuningfork.galaxy.spacewarps.COLUMNS`; the pictures lie below its folder and are named by its ids (by
    whichever column names most of them). The store's catalogue has "class" (lens, not_lens) and "flavor" (of lenses,
    else not_lens). Subjects of unknown truth are not in it: they are nobody's example. None without such a catalogue,
    or where it has no row of this stage.

    Raises :class:`BadCatalog` for a column that is not there ('alpha'), rows that cannot be, and ids that name no
    picture; :class:`LabelError` for a stage of lenses alone, or of none.
    """
    path = find_catalogue(desk)
    if path is None:
        return None
    table = read_table(path, lambda names: names)
    pictures = open_source(path.parent)
    pictures.with_catalog(Catalog({"id": list(pictures.ids)}))
    subjects = _subjects(table, pictures, path)
    lacking = [name for name in spacewarps.COLUMNS if name not in table.column_names]
    stages = range(len(subjects)) if lacking else table["stage"].to_pylist()  # a subject may be in both stages
    rows = [f"{subject} of stage {number}" for subject, number in zip(subjects, stages, strict=True)]
    kept = [name for name in spacewarps.COLUMNS if name not in lacking]
    warps = spacewarps.SpaceWarps.read(Catalog({"id": rows, **{name: table[name] for name in kept}}, name=f"'{path}'"))
    if not (warps.stages == stage).any():
        return None
    labels = warps.labels(stage, by="flavor")
    flavors = [NOT_LENS if one == spacewarps.NOT_LENS else one for one in (labels.names[k] for k in labels.classes)]
    classes = [NOT_LENS if one == NOT_LENS else LENS for one in flavors]
    subject_of = dict(zip(rows, subjects, strict=True))
    columns = {"id": [subject_of[row] for row in labels.ids], "class": classes, "flavor": flavors}
    store = desk.ingest(pictures, f"warps-{stage}", labels=Catalog(columns, name=f"'{path}'"), unmatched="drop")
    desk.notes.append(f"Space Warps, stage {stage}: {len(store):,} pictures of {len(labels):,} labelled rows")
    if not any(one.anchor == "warps" for one in desk.sections):
        desk.sections.append(Section("warps", "Space Warps", (Details("Every row's use", warps.table()),)))
    return store


def find_catalogue(desk: Desk) -> Path | None:
    """The CSV in the data folder, or one folder below, that has most of Space Warps' columns; or None."""
    if desk.data is None:
        return None
    for path in [*sorted(desk.data.glob("*.csv")), *sorted(desk.data.glob("*/*.csv"))]:
        found = _header(path)
        if sum(name in found for name in spacewarps.COLUMNS) >= len(spacewarps.COLUMNS) - 2:
            return path
    return None


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return next(csv.reader(file), [])


def _subjects(table: pa.Table, pictures: Source, path: Path) -> list[str]:
    """The ids of the rows: the column, as names of files without suffix, that names most of the pictures."""
    known = set(pictures.ids)
    texts = [name for name in table.column_names if name not in spacewarps.COLUMNS]
    named = {name: [stem(str(value)) for value in table[name].cast(pa.string()).to_pylist()] for name in texts}
    best = max(named, key=lambda name: len(known & set(named[name])), default="")
    if not best or not known & set(named[best]):
        raise BadCatalog(
            f"no column of '{path}' names a picture in '{path.parent}' ({len(known):,} pictures, the first is "
            f"'{pictures.ids[0]}'): one of its columns ({', '.join(texts) or 'none besides its metadata'}) must hold "
            "the names of the files without folder and suffix"
        )
    return named[best]


def graded(desk: Desk) -> Store | None:
    """The graded sample of Space Warps, spacewarps/index.csv (file, asw, grade, label), one picture per subject; None.

    The catalogue has "class": lens (simulated, or a candidate of grade 2 or more), not_lens (the spotter's guide's
    look-alikes and artefacts), and "" for candidates of a lower grade and for maybes, which are nobody's example;
    "grade" (NaN where there is none), "label" and "subject". Where several pictures show one subject (the guide has
    zooms of its fields, and copies of both; told by name, and by content), the narrowest is taken, in whose middle the
    subject stands. Pixel scales follow from the angle in the file's name, else the survey's own (0.186 arcsec).
    """
    index = desk.place("spacewarps/index.csv")
    if index is None or not {"file", "asw", "grade", "label"} <= set(_header(index)):
        return None
    table = read_table(index, lambda names: names)
    files, labels = table["file"].to_pylist(), table["label"].to_pylist()
    grades = np.array([float(one) if one else np.nan for one in table["grade"].to_pylist()])
    classes = [_class_of(label, grade) for label, grade in zip(labels, grades.tolist(), strict=True)]
    folder = _Stamps(index.parent)
    subjects = _shown(folder, files, table["asw"].to_pylist())
    narrowest: dict[str, tuple[float, int]] = {}
    for row, (name, subject) in enumerate(zip(files, subjects, strict=True)):
        here = (folder.angle(stem(name)), row)
        narrowest[subject] = min(here, narrowest.get(subject, here))
    rows = sorted(row for _, row in narrowest.values())
    columns = {"class": classes, "grade": grades.tolist(), "label": labels, "subject": subjects}
    chosen = Catalog(
        {"id": [stem(files[row]) for row in rows], **{k: [v[r] for r in rows] for k, v in columns.items()}}
    )
    store = desk.ingest(folder, "graded", labels=chosen, unmatched="drop")
    desk.notes.append(
        f"the graded sample's {len(files)} pictures show {len(rows)} subjects, of which {len(store)} could be read; "
        "copies and wider fields of the same subject are left out"
    )
    return store


def _class_of(label: str, grade: float) -> str:
    if label in ("nonlens", "artifact"):
        return NOT_LENS
    return LENS if label == "lens_sim" or grade >= PROBABLE else ""


class _Stamps(Folder):
    """The graded sample's pictures, with the pixel scale that their name or their survey tells."""

    def _read(self, row: int) -> Record:
        record = super()._read(row)
        try:
            width = min(record.size())
        except BadImage:  # whoever decodes it will say so
            return record
        told = _ANGLE.search(record.id)
        scale = float(told[1]) / width if told else CFHTLS.pixel_scale
        return dataclasses.replace(record, pixel_scale=scale)

    def angle(self, identifier: str) -> float:
        """The width of a picture in arcsec; infinite for one that is not there or cannot be read."""
        try:
            record = self.record(identifier)
            return min(record.size()) * (record.pixel_scale or np.inf)
        except (BadImage, BadStore):
            return np.inf


def _shown(folder: Source, files: list[str], asw: list[str | None]) -> list[str]:
    """Which subject each picture shows: its name, or that of a picture of the spotter's guide that looks the same.

    Candidates, which have a Space Warps id (of a field, perhaps with several of them), are each a subject of their own.
    """
    subjects = [stem(name) if own else _SUBJECT.sub("", stem(name)) for name, own in zip(files, asw, strict=True)]
    seen: list[tuple[tuple[int, ...], NDArray[np.float64], str]] = []
    for row in sorted(range(len(files)), key=lambda row: files[row]):
        if asw[row]:
            continue
        found = _fingerprint(folder, stem(files[row]))
        if found is None:
            continue
        twin = next((name for shape, one, name in seen if shape == found[0] and one @ found[1] > ALIKE), None)
        subjects[row] = twin or subjects[row]
        seen.append((*found, subjects[row]))
    return subjects


def _fingerprint(folder: Source, identifier: str) -> tuple[tuple[int, ...], NDArray[np.float64]] | None:
    """A picture's shape, and its grey averaged to few pixels, of mean 0 and norm 1; None where it cannot be read."""
    try:
        pixels = folder.record(identifier).cutout().pixels.mean(axis=0)
    except (BadImage, BadStore):
        return None
    side = min(pixels.shape) // FINGERPRINT * FINGERPRINT
    grey = pixels[:side, :side].reshape(FINGERPRINT, -1, FINGERPRINT, side // FINGERPRINT).mean(axis=(1, 3))
    grey = (grey - grey.mean()).ravel()
    return pixels.shape, grey / max(float(np.linalg.norm(grey)), 1e-9)


def lens_challenge(desk: Desk, kind: str) -> Store | None:
    """The lens finding challenge's sample (Metcalf et al. 2019), as colour pictures for a net of Space Warps; or None.

    ``kind`` is "ground" (one file each of u, g, r, i) or "space" (one band): lens_challenge/ground_based/ and
    space_based/, each with folders lens/ and nolens/. See :func:`challenge_picture` for how flux becomes a picture.
    """
    folder = desk.place(f"lens_challenge/{kind}_based")
    return None if folder is None else desk.ingest(_ChallengePictures(folder, kind), f"challenge-{kind}")


class _ChallengePictures(Source):
    """The challenge's FITS files as pictures."""

    kind = "lens finding challenge"

    def __init__(self, folder: Path, kind: str) -> None:
        layout, bands = {
            "ground": ("Band*/imageSDSS_{band}-{id}.fits", ("G", "R", "I")),
            "space": ("imageEUC_VIS-{id}.fits", ("VIS",)),
        }[kind]
        parts = {LENS: folder / "lens", NOT_LENS: folder / "nolens"}
        sources = {name: open_pattern(f"{place}/{layout}", bands=bands) for name, place in parts.items()}
        self._own = {identifier: source for source in sources.values() for identifier in source.ids}
        classes = [name for name, source in sources.items() for _ in source.ids]
        catalog = Catalog({"id": [i for source in sources.values() for i in source.ids], "class": classes})
        digest = digest_of(source.digest for source in sources.values())
        super().__init__(folder, catalog.ids, digest, catalog=catalog)

    def _where(self, row: int) -> str:
        return f"{self.path}, {self.ids[row]}"

    def _read(self, row: int) -> Record:
        cutout = self._own[self.ids[row]].record(self.ids[row]).cutout()
        picture = challenge_picture(np.asarray(cutout.pixels, np.float32))
        return Record.from_picture(self.ids[row], picture, cutout.pixel_scale, source=self._where(row))


def challenge_picture(flux: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Flux of g, r, i, or of one band, (bands, height, width), as a picture (height, width, 3) like Space Warps'.

    The challenge does not tell its zero points: each band is scaled so that its sky noise (1.4826 times the median
    absolute deviation) is that of the CFHTLS, and then shown as Space Warps shows that
    (:func:`~tuningfork.simulate.cfhtls.lens_picture`). One band becomes grey. Masked pixels (100, or not finite) count
    as sky. Raises :class:`BadImage` for a band of one value.
    """
    bands = ("g", "r", "i")
    clean = np.where(np.isfinite(flux) & (flux < MASKED / 2), flux, np.nan).astype(np.float64)
    if np.isnan(clean).all(axis=(1, 2)).any():
        raise BadImage(Reason.NO_COVERAGE, "a band has no pixel with data")
    sky = np.nanmedian(clean, axis=(1, 2), keepdims=True)
    noise = 1.4826 * np.nanmedian(np.abs(clean - sky), axis=(1, 2), keepdims=True)
    if not (noise > 0).all():
        raise BadImage(Reason.NO_SIGNAL, "a band has no noise to be scaled by")
    scaled = np.nan_to_num((clean - sky) / noise, nan=0.0)
    counts = {band: CFHTLS.noise[band] for band in bands}
    if len(scaled) == 1:  # grey: as bright in every colour
        mean = sum(counts[band] * WEIGHTS[band] for band in bands) / 3
        counts = {band: mean / WEIGHTS[band] for band in bands}
    planes = np.stack([scaled[number % len(scaled)] * counts[band] for number, band in enumerate(bands)])
    return lens_picture(planes.astype(np.float32), bands, CFHTLS)
