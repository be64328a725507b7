"""Which galaxies train, which choose the best epoch and which only judge: decided by hash, never by row order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from ..errors import DuplicateIds, SplitError
from ..galaxy.catalog import Catalog

PARTS = ("train", "validation", "test")
METHODS = ("hash", "sky", "stratified", "column")


@dataclass(frozen=True)
class Split:
    """How galaxies are shared out; see :func:`assign`."""

    method: str = (
        "hash"  # "hash" of the id, "sky" (whole cells), "stratified" (the same shares in every class) or "column"
    )
    column: str = "part"  # of the labels, that holds "train", "validation" or "test" (method "column")
    validation: float = 0.15  # share that chooses the best epoch and the temperature
    test: float = 0.15  # share that is never looked at in training
    seed: int = 0  # another seed gives another split
    cell_deg: float = 1.0  # side of a cell of sky, degrees (method "sky")
    min_separation_arcsec: float = 2.0  # galaxies closer than this must be in one part; 0 = not checked


def uniform(ids: Sequence[str], seed: int) -> NDArray[np.float64]:
    """One number in [0, 1) per id: the first 53 bits of sha256("seed:id"), so that it depends on nothing else.

    A galaxy keeps its number whatever other galaxies are in the table, in whatever order, on every machine.
    """
    heads = [hashlib.sha256(f"{seed}:{i}".encode("utf-8", "surrogatepass")).digest()[:8] for i in ids]
    words = np.frombuffer(b"".join(heads), dtype=">u8").astype(np.uint64)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def sky_cells(ra: ArrayLike, dec: ArrayLike, cell_deg: float) -> NDArray[np.int64]:
    """The number of the cell of sky of each position, for cells of nearly one area, about ``cell_deg`` on a side.

    The sky is cut into rings of equal height in declination, and a ring of area A into round(A / cell_deg^2) cells of
    equal width in right ascension (at least one). ``ra``, ``dec``: ICRS degrees (any ra is taken modulo 360). Cells
    of one ring have exactly the same area; rings differ by the rounding alone, below 1% away from the poles.
    Raises :class:`SplitError` for a position that is not finite or a declination beyond the poles.
    """
    ra, dec = np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64)
    if not (np.isfinite(ra).all() and np.isfinite(dec).all() and (np.abs(dec) <= 90).all()):
        raise SplitError("a split by sky needs a position for every galaxy, in degrees with |dec| <= 90")
    rings = max(1, round(180 / cell_deg))
    edges = np.sin(np.radians(np.linspace(-90, 90, rings + 1)))
    columns = np.maximum(1, np.rint(2 * np.pi * np.diff(edges) / np.radians(cell_deg) ** 2)).astype(
        np.int64
    )  # (rings,)
    ring = np.clip(((dec + 90) / (180 / rings)).astype(np.int64), 0, rings - 1)
    column = np.minimum((ra % 360 / 360 * columns[ring]).astype(np.int64), columns[ring] - 1)
    return np.concatenate([[0], np.cumsum(columns)])[ring] + column


def close_pairs(ra: ArrayLike, dec: ArrayLike, arcsec: float) -> NDArray[np.int64]:
    """Every pair of rows (i < j) nearer to each other on the sky than ``arcsec``, as an (P, 2) array, sorted.

    Distances are chords of the unit sphere, 2 sin(angle / 2), exact over the poles and through ra = 0. Rows without a
    finite position are in no pair.
    """
    ra, dec = np.radians(np.asarray(ra, dtype=np.float64)), np.radians(np.asarray(dec, dtype=np.float64))
    rows = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    if rows.size < 2 or arcsec <= 0:
        return np.empty((0, 2), dtype=np.int64)
    points = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)[rows]
    chord = 2 * np.sin(np.radians(arcsec / 3600) / 2)
    pairs = rows[KDTree(points).query_pairs(chord, output_type="ndarray")].reshape(-1, 2)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def assign(
    ids: Sequence[str],
    split: Split,
    *,
    ra: ArrayLike | None = None,
    dec: ArrayLike | None = None,
    classes: ArrayLike | None = None,
    given: ArrayLike | None = None,
) -> NDArray[np.str_]:
    """The part of every galaxy: an array of "train", "validation" or "test", one per id.

    ``hash``: u = :func:`uniform` of the id; u < test is "test", then u < test + validation is "validation". The test
    part therefore does not change when only the validation share does, nor when galaxies are added. ``sky``: the same
    with the number of the galaxy's cell (:func:`sky_cells`) in place of its id, so that whole cells stay together.
    ``stratified``: in each of ``classes`` galaxies are sorted by u and cut at the shares, rounded, with one galaxy at
    least in each part; a class with fewer galaxies than parts goes to "train" whole. ``column``: the words of
    ``given``, for a split that somebody has published, or several pictures of one galaxy; the shares have no say.

    ``ra``, ``dec``: ICRS degrees, NaN where unknown. Raises :class:`SplitError` if two galaxies closer than
    ``min_separation_arcsec`` (often one galaxy under two ids) fall into different parts, if a part whose share is not
    zero stays empty, and if the choice lacks what it needs; :class:`DuplicateIds` if an id comes twice.
    """
    _check(ids, split, ra, dec, classes)
    if split.method == "column":
        parts = _published(ids, split, given)
    elif split.method == "stratified":
        parts = _stratified(ids, split, np.asarray(classes))
    else:
        keys = (
            ids if split.method == "hash" else [f"cell {c}" for c in sky_cells(_given(ra), _given(dec), split.cell_deg)]
        )
        u = uniform(keys, split.seed)
        parts = np.select([u < split.test, u < split.test + split.validation], ["test", "validation"], "train")
    if ra is not None and dec is not None:
        _refuse_neighbours(ids, parts, close_pairs(ra, dec, split.min_separation_arcsec), split)
    for part, share in zip(PARTS, (1 - split.validation - split.test, split.validation, split.test), strict=True):
        if share > 0 and split.method != "column" and not (parts == part).any():
            raise SplitError(
                f"the {part} part of this split is empty: {len(ids)} galaxies by {split.method} with validation "
                f"{split.validation}, test {split.test}, seed {split.seed}. Give more galaxies, a larger share, "
                "smaller cells of sky, or another seed"
            )
    return parts


def given_parts(catalog: Catalog, ids: Sequence[str], split: Split) -> NDArray[np.str_] | None:
    """The words of ``split.column`` for some ids of a catalogue, where the split is by a column that it has."""
    if split.method != "column" or split.column not in catalog:
        return None
    parts = dict(zip(catalog.ids, map(str, catalog[split.column]), strict=True))
    return np.array([parts[one] for one in ids], dtype=np.str_)


def _given(values: ArrayLike | None) -> ArrayLike:
    if values is None:
        raise SplitError('a split by "sky" needs ra and dec for every galaxy; without them use method "hash"')
    return values


def _published(ids: Sequence[str], split: Split, given: ArrayLike | None) -> NDArray[np.str_]:
    if given is None:
        raise SplitError(
            f"the labels have no column '{split.column}', which should hold the part of each galaxy: name another "
            "(split.column), or choose another split.method"
        )
    words = np.asarray(given).astype(str)
    wrong = np.flatnonzero(~np.isin(words, PARTS))
    if len(words) != len(ids) or wrong.size:
        shown = "; ".join(f"{ids[row]}: {str(words[row])!r}" for row in wrong[:5].tolist())
        raise SplitError(
            f"the column '{split.column}' holds something else than {', '.join(PARTS)} for {wrong.size} of {len(ids)} "
            f"galaxies: {shown}"
        )
    if not (words == "train").any():
        raise SplitError(f"the column '{split.column}' puts none of {len(ids)} galaxies into the train part")
    return words.astype("<U10")


def _check(
    ids: Sequence[str], split: Split, ra: ArrayLike | None, dec: ArrayLike | None, classes: ArrayLike | None
) -> None:
    if split.method not in METHODS:
        raise SplitError(f"there is no split method {split.method!r}; there are {', '.join(METHODS)}")
    if not (split.validation >= 0 and split.test >= 0 and split.validation + split.test < 1):
        raise SplitError(
            f"validation {split.validation} and test {split.test} must not be negative and must leave some to train on"
        )
    if split.cell_deg <= 0:
        raise SplitError(f"cell_deg is {split.cell_deg}; a cell of sky needs a positive side, in degrees")
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = [i for i in ids if i in seen or seen.add(i)]  # type: ignore[func-returns-value]
        raise DuplicateIds(f"{len(twice)} ids come more than once, first {twice[:5]}: a split needs each galaxy once")
    if split.method == "stratified" and classes is None:
        raise SplitError('a "stratified" split needs the class of every galaxy; without classes use method "hash"')
    for name, column in (("ra", ra), ("dec", dec), ("classes", classes)):
        if column is not None and len(np.asarray(column)) != len(ids):
            raise SplitError(f"{len(ids)} ids came with {len(np.asarray(column))} values of {name}")


def _stratified(ids: Sequence[str], split: Split, classes: NDArray) -> NDArray[np.str_]:
    parts = np.full(len(ids), "train", dtype="<U10")
    u = uniform(ids, split.seed)
    needed = 1 + (split.test > 0) + (split.validation > 0)
    for label in np.unique(classes):
        rows = np.flatnonzero(classes == label)
        if len(rows) < needed:
            continue
        rows = rows[np.argsort(u[rows], kind="stable")]
        test, validation = (max(1, round(len(rows) * f)) if f > 0 else 0 for f in (split.test, split.validation))
        while test + validation >= len(rows):  # rounding up must leave one to train on
            test, validation = (test - 1, validation) if test >= validation else (test, validation - 1)
        parts[rows[:test]] = "test"
        parts[rows[test : test + validation]] = "validation"
    return parts


def _refuse_neighbours(ids: Sequence[str], parts: NDArray[np.str_], pairs: NDArray[np.int64], split: Split) -> None:
    across = [(i, j) for i, j in pairs.tolist() if parts[i] != parts[j]]
    if across:
        shown = "; ".join(f"{ids[i]} ({parts[i]}) and {ids[j]} ({parts[j]})" for i, j in across[:5])
        advice = 'use method "sky"' if split.method != "sky" else "use another seed or cell_deg"
        raise SplitError(
            f"{len(across)} pairs of galaxies closer than {split.min_separation_arcsec} arcsec would stand on both "
            f"sides of the split, perhaps one galaxy under two ids: {shown}{' ...' if len(across) > 5 else ''}. Drop "
            f"one of each pair, or {advice}; min_separation_arcsec = 0 leaves this unchecked"
        )
