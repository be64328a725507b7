"""Sixteen views of every galaxy as galaxies of their own, cut before training, and the mean of what is said of them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import ndimage

from ...data.colour import principal_axes, recoloured
from ...data.split import PARTS
from ...errors import BadImage, BadStore, BadVotes, Reason, RecipeError, TrainingError
from ...galaxy.catalog import Catalog
from ...galaxy.cutout import Record, Rejected
from ...galaxy.display import Display, render_record
from ...galaxy.records import Source, digest_of
from ...galaxy.store import Store, StoreWriter
from ...galaxy.votes import Votes, VotesWriter
from ...insight.sensitivity import normal

Progress = Callable[[int, int, str], None]
VIEWS = 16
MARK = "#"  # between a galaxy's id and the number of its view
_SAMPLE = 500  # galaxies whose pixels tell the axis of the colours
_AHEAD = 64  # galaxies cut at a time


@dataclass(frozen=True)
class Cut:
    """How the views are cut.

    ``crop`` of the ``of`` pixels of a picture's side is shown, whatever its side is here, at ``size`` px; the corners
    are ``side`` px. ``colour`` is the standard deviation of the shift along the first principal axis of the colours,
    in its own (0 = off), and ``seed`` draws it.
    """

    crop: float = 207.0  # px, of `of`
    of: float = 424.0  # px, side of a whole picture
    size: int = 69  # px, side of the crop when it is resized
    side: int = 46  # px, side of a corner: the network's input
    colour: float = 0.5
    seed: int = 0


def view_id(parent: str, number: int) -> str:
    """The id of view ``number`` (0..15) of a galaxy: ``ID#00`` .. ``ID#15``."""
    return f"{parent}{MARK}{number:02d}"


def parent_of(view: str) -> str:
    """The id of the galaxy that a view shows; raises :class:`BadVotes` for an id that is no view's."""
    parent, mark, number = view.rpartition(MARK)
    if not mark or not (number.isdecimal() and len(number) == 2 and int(number) < VIEWS):
        raise BadVotes(f"'{view}' is no view of a galaxy: those are called ID{MARK}00 .. ID{MARK}{VIEWS - 1}")
    return parent


def cut_views(
    source: Source,
    out: str | Path,
    parts: Catalog,
    cut: Cut | None = None,
    *,
    threads: int = 0,
    progress: Progress | None = None,
) -> Store:
    """Cut the galaxies of ``parts`` into a new store ``out`` with sixteen records each.

    A galaxy's central square, as it is and turned by 45 degrees, each plain and mirrored, is four pictures of
    ``cut.size`` px. Each is shifted in colour by its own alpha sqrt(lambda) p: alpha normal with standard deviation
    ``cut.colour``, lambda and p the largest eigenvalue and its vector of the covariance of the bands, over up to 500
    galaxies of the training part. Then its four overlapping corners of ``cut.side`` px, corner k turned by k times 90
    degrees, so that the galaxy's centre is at the lower right of all: view 4 v + k, as in
    :func:`tuningfork.model.viewpoints.viewpoints`. They are stored pixel by pixel (npy, 8 bits).

    ``parts`` has the ids to cut and a column "part" ("train", "validation" or "test"). The new catalogue repeats the
    source's row for every view, with the columns "parent" (the galaxy's id) and "part" (the galaxy's): a split by that
    column puts no galaxy on two sides. A galaxy that cannot be used is rejected sixteen times. Flux is stretched by
    asinh. The same call goes on where a killed one was. Raises :class:`RecipeError` for a cut that cannot be,
    :class:`BadStore` for parts without such a column and for a folder that holds something else.
    """
    cut = Cut() if cut is None else cut
    _check(cut, parts)
    ids = list(parts.ids)
    catalog = _repeated(source, parts)
    plan = {"command": "cut sixteen views", "of": source.digest, "parts": digest_of([*ids, *map(str, parts["part"])])}
    plan |= dataclasses.asdict(cut)
    with StoreWriter(out, plan=plan, catalog=catalog) as writer:
        skip = writer.n_in
        rest = ids[skip // VIEWS :]
        axis = _axis(source, parts, cut) if rest else np.zeros(1)
        for done, views in enumerate(_cut_all(source, rest, cut, axis, threads), skip // VIEWS):
            for view in views[max(0, skip - VIEWS * done) :]:
                writer.reject(view) if isinstance(view, Rejected) else writer.add(view)
            if progress is not None and (done % _AHEAD == 0 or done + 1 == len(ids)):
                progress(done + 1, len(ids), f"{writer.n_in:,} views")
    return writer.store


def _check(cut: Cut, parts: Catalog) -> None:
    if not 0 < cut.crop <= cut.of:
        raise RecipeError(f"cut.crop is {cut.crop:g} of {cut.of:g} px; it lies between 0 and all of them")
    if not 8 <= cut.side <= cut.size:
        raise RecipeError(f"cut.side is {cut.side} of {cut.size} px (cut.size); a corner has 8 px at least")
    if not 0 <= cut.colour < np.inf:
        raise RecipeError(f"cut.colour is {cut.colour:g}; a standard deviation is 0 (off) or more")
    if "part" not in parts:
        raise BadStore(f"{parts.name} has no column 'part', which says on which side of the split a galaxy is")
    wrong = sorted({str(one) for one in parts["part"]} - set(PARTS))
    if wrong:
        raise BadStore(f"the parts of {parts.name} are {', '.join(PARTS)}, not {wrong[0]!r}")


def _repeated(source: Source, parts: Catalog) -> Catalog:
    """The rows of the galaxies, each sixteen times, under the ids of the views."""
    known = Catalog({"id": parts.ids}) if source.catalog is None else source.catalog.select(parts.ids)
    rows = np.repeat(np.arange(len(parts)), VIEWS)
    table = known.with_columns({"parent": parts.ids, "part": [str(one) for one in parts["part"]]}).table
    views = pa.array([view_id(one, number) for one in parts.ids for number in range(VIEWS)], pa.string())
    return Catalog(table.take(pa.array(rows)).set_column(0, "id", views), name=f"the views of {known.name}")


def _axis(source: Source, parts: Catalog, cut: Cut) -> NDArray[np.float64]:
    """The first principal axis of the colours of training galaxies, (bands,)."""
    train = [one for one, part in zip(parts.ids, parts["part"], strict=True) if part == "train"] or list(parts.ids)
    shown = [_render(record, cut, 0) for record in source.records(train[:: -(-len(train) // _SAMPLE)])]
    images = [one for one in shown if not isinstance(one, Rejected)]
    if not images:
        raise TrainingError(f"none of {len(shown)} galaxies of '{source.path}' can be cut: {shown[:1]}")
    return np.asarray(principal_axes(np.stack(images))[-1], np.float64)


def _render(record: Record | Rejected, cut: Cut, margin: int) -> NDArray[np.uint8] | Rejected:
    if isinstance(record, Rejected):
        return record
    try:
        display = Display.for_bands(record.bands or record.cutout().bands, size=cut.size)
        display = dataclasses.replace(display, crop=cut.crop / cut.of * min(record.size()))
        return render_record(record, display, margin)
    except BadImage as bad:
        return Rejected(record.id, bad.reason, bad.detail, record.source)


def _cut_all(
    source: Source, ids: Sequence[str], cut: Cut, axis: NDArray[np.float64], threads: int
) -> Iterator[list[Record | Rejected]]:
    """The sixteen views of each galaxy in turn, cut in threads, a few galaxies ahead."""
    stream = source.records(ids)
    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        while chunk := list(islice(stream, _AHEAD)):
            yield from pool.map(lambda record: _cut_one(record, cut, axis), chunk)


def _cut_one(record: Record | Rejected, cut: Cut, axis: NDArray[np.float64]) -> list[Record | Rejected]:
    margin = int(np.ceil(cut.size * (np.sqrt(2) - 1) / 2 + 0.5))  # what a turn by 45 degrees looks at besides
    shown = _render(record, cut, margin)
    if isinstance(shown, Rejected) or isinstance(record, Rejected):
        bad = shown if isinstance(shown, Rejected) else record
        assert isinstance(bad, Rejected)
        return [dataclasses.replace(bad, id=view_id(bad.id, number)) for number in range(VIEWS)]
    bands = record.bands or record.cutout().bands
    scale = (
        None if record.pixel_scale is None else record.pixel_scale * cut.crop / cut.of * min(record.size()) / cut.size
    )
    corners = sixteen(shown, cut, axis, normal([view_id(record.id, v) for v in range(4)], f"cut:{cut.seed}"))
    return [
        Record.from_pixels(view_id(record.id, number), corner, bands, scale, record.ra, record.dec, record.source)
        for number, corner in enumerate(corners)
    ]


def sixteen(
    shown: NDArray[np.uint8], cut: Cut, axis: NDArray[np.float64], drawn: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """The sixteen corners (16, bands, side, side) of one galaxy ``shown`` (bands, M, M) with a margin around its crop.

    ``drawn`` (4,) are normal numbers, one per picture, times ``cut.colour`` and ``axis`` (bands,): see
    :func:`cut_views`. The turn is bilinear, of the pixels as they are shown.
    """
    edge = (shown.shape[-1] - cut.size) // 2
    inside = slice(edge, edge + cut.size)
    plain, slanted = shown[:, inside, inside], _turned(shown)[:, inside, inside]
    four = np.stack([plain, plain[..., ::-1], slanted, slanted[..., ::-1]])
    four = recoloured(four, axis, cut.colour * drawn)
    return np.stack([np.rot90(one, k, (1, 2))[:, : cut.side, : cut.side] for one in four for k in range(4)])


def _turned(shown: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures (bands, M, M) turned by 45 degrees: pixel p, counted from the centre, shows the input at R p."""
    half = np.sqrt(0.5)
    matrix = np.array([[1.0, 0, 0], [0, half, half], [0, -half, half]])  # of band, row, column
    middle = np.array([0.0, (shown.shape[1] - 1) / 2, (shown.shape[2] - 1) / 2])
    turned = ndimage.affine_transform(
        shown.astype(np.float32), matrix, middle - matrix @ middle, order=1, mode="nearest", prefilter=False
    )
    return np.rint(turned).astype(np.uint8)


def average_views(votes: Votes, out: str | Path) -> Votes:
    """The mean of the answers to all views of each galaxy, as a new Votes file ``out`` with one row per galaxy.

    Galaxies come in the order of their first view; views that were rejected have no say, and a galaxy whose views all
    were is rejected for the reason of the first. The position is the first view's. Raises :class:`BadVotes` for ids
    that are no views', and for a Dirichlet head, whose concentrations have no such mean.
    """
    if votes.head == "dirichlet":
        raise BadVotes("concentrations of a Dirichlet head are not averaged over views: predict with views=8 instead")
    parents = [parent_of(one) for one in votes.ids]
    order = {one: number for number, one in enumerate(dict.fromkeys(parents))}
    rows = np.array([order[one] for one in parents], np.int64)
    first = np.unique(rows, return_index=True)[1]
    counts = np.bincount(rows[votes.done], minlength=len(order))
    sums = np.zeros((len(order), len(votes.names)))
    np.add.at(sums, rows[votes.done], votes.values[votes.done].astype(np.float64))
    good = counts > 0
    reasons = votes.table.column("reason").to_pylist()
    names = list(order)
    rejected = [
        Rejected(names[k], Reason(reasons[first[k]]), "all of its views were rejected")
        for k in np.flatnonzero(~good).tolist()
    ]
    kept = {"format", "head", "names", "tree", "tree_digest", "tree_toml", "n_in", "version"}
    told = {key: value for key, value in votes.metadata.items() if key not in kept} | {"averaged over": "views"}
    values = (sums[good] / counts[good, None]).astype(np.float32)
    with VotesWriter(out, votes.head, votes.names, votes.tree, told) as writer:
        writer.write(names, votes.ra[first], votes.dec[first], values if good.any() else None, rejected)
    return Votes.read(out)
