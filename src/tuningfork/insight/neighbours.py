"""Neighbours: the galaxies that a network sees most alike, by the angle between their features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..errors import BadCatalog, BadImage, RecipeError
from ..galaxy.display import to_picture
from ..galaxy.records import Source
from ..galaxy.source import open_source
from ..galaxy.tablefile import write_table
from .contactsheet import contact_sheet
from .embedding import Embedding, Singles
from .index import open_index, unit

Progress = Callable[[int, int, str], None]
EXACT = 50_000  # galaxies up to which all are looked at; above, an index is made
METHODS = ("auto", "exact", "index")


@dataclass(frozen=True, eq=False)
class Neighbours:
    """For each of Q ``queries`` its k most similar galaxies, the nearest first.

    ``ids`` (Q rows of k) and ``similarity`` (Q, k) float32, the cosine of the angle between the features: 1 is the same
    direction; features of a network that ends in a rectifier have none below 0. ``method`` says how they were found:
    "exact" or "index". ``pictures`` holds those queries that are files.
    """

    queries: tuple[str, ...]
    ids: tuple[tuple[str, ...], ...]
    similarity: Singles
    method: str
    notes: tuple[str, ...] = ()
    pictures: dict[str, NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    def table(self) -> pa.Table:
        """One row per query and neighbour: ``query``, ``rank`` (from 1), ``id``, ``similarity``."""
        k = self.similarity.shape[1]
        columns: dict[str, Any] = {
            "query": [one for one in self.queries for _ in range(k)],
            "rank": np.tile(np.arange(1, k + 1), len(self.queries)),
            "id": [one for row in self.ids for one in row],
            "similarity": self.similarity.ravel(),
        }
        return pa.table(columns)

    def write(self, path: str | Path) -> None:
        """Write :meth:`table` as .csv, .ecsv, .fits, .vot or .parquet."""
        write_table(self.table(), path)

    def text(self) -> str:
        """A line per neighbour, for people."""
        lines = []
        for query, row, values in zip(self.queries, self.ids, self.similarity.tolist(), strict=True):
            lines.append(f"{query}:")
            lines += [f"  {value:.4f}  {one}" for one, value in zip(row, values, strict=True)]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def figure(self, source: Source) -> Figure:
        """A row of pictures for each query: itself, then its neighbours with their similarity."""
        rows = [
            [(query, f"query: {query[-24:]}"), *((one, f"{value:.3f}  {one}") for one, value in zip(*row, strict=True))]
            for query, *row in zip(self.queries, self.ids, self.similarity.tolist(), strict=True)
        ]
        return contact_sheet(rows, source, "The most similar galaxies", self.pictures)


def similar(
    features: str | Path | Embedding,
    queries: str | Path | Sequence[str | Path],
    *,
    k: int = 12,
    model: str | Path | None = None,
    method: str = "auto",
    engine: str = "auto",
    threads: int = 0,
    progress: Progress | None = None,
) -> Neighbours:
    """The ``k`` galaxies of ``features`` that are most like each of ``queries``.

    Args:
        features: a file of :func:`~tuningfork.insight.embedding.embed`.
        queries: ids of galaxies in it, which are not their own neighbours, or files of pictures: these are shown to the
            model that the features are of, with the same views.
        model: where that model is, if it has moved.
        method: "exact" looks at every galaxy; "index" takes the approximate one that lies beside the features, and
            makes it where it is not there or the features have changed; "auto" is exact up to 50,000 galaxies.

    Raises :class:`RecipeError` for k below 1 or a method that is none, :class:`BadCatalog` for an id without features,
    :class:`BadImage` for a picture that cannot be used, :class:`MissingExtra` where the index's library is missing.
    """
    if k < 1:
        raise RecipeError(f"--k is {k}; ask for 1 neighbour or more")
    if method not in METHODS:
        raise RecipeError(f"--method is '{method}'; it may be {', '.join(METHODS)}")
    embedding = features if isinstance(features, Embedding) else Embedding.open(features)
    asked = [queries] if isinstance(queries, str | Path) else list(queries)
    if not asked:
        raise RecipeError("name a galaxy by its id, or a picture of one, to find what is like it")
    known = [str(one) for one in asked if str(one) in embedding.row]
    files = [one for one in asked if str(one) not in embedding.row]
    for one in files:
        if not Path(one).is_file():
            some = ", ".join(embedding.ids[:3])
            raise BadCatalog(
                f"'{one}' is no galaxy of '{embedding.path}', whose ids are such as {some}; nor is there such a file"
            )
    vectors, pictures = _seen(embedding, files, model, engine, threads)
    for one, row in zip(known, _rows(embedding, known), strict=True):
        vectors[one] = row
    names = tuple(dict.fromkeys(map(str, asked)))
    wanted = np.stack([vectors[one] for one in names])
    told: tuple[str, ...] = ()
    if method == "auto":
        method = "exact" if len(embedding) <= EXACT else "index"
    if method == "exact":
        found, values = nearest(embedding, wanted, k + 1, progress)
    else:
        index, told = open_index(embedding, threads, progress)
        found, values = index.search(wanted, k + 1)
    rows, near = [], np.empty((len(names), min(k, len(embedding) - bool(known))), np.float32)
    for number, query in enumerate(names):
        others = [col for col, row in enumerate(found[number]) if embedding.ids[row] != query][: near.shape[1]]
        rows.append(tuple(embedding.ids[found[number, col]] for col in others))
        near[number] = values[number, others]
    return Neighbours(names, tuple(rows), near, method, told, pictures)


def _seen(
    embedding: Embedding, files: Sequence[str | Path], model: str | Path | None, engine: str, threads: int
) -> tuple[dict[str, Singles], dict[str, NDArray[np.uint8]]]:
    """The features and the pictures of files, by their names."""
    vectors, pictures = dict[str, Singles](), dict[str, NDArray[np.uint8]]()
    seer = embedding.seer(model, engine, threads) if files else None
    for one in files:
        assert seer is not None
        source = open_source(one)
        if len(source) != 1:
            raise RecipeError(f"'{one}' holds {len(source)} galaxies; embed it, or give one picture at a time")
        record = source.record(source.ids[0])
        try:
            vectors[str(one)] = seer.features_of(record)
        except BadImage as bad:
            raise BadImage(bad.reason, f"'{one}': {bad.detail}") from bad
        pictures[str(one)] = to_picture(record.cutout())
    return vectors, pictures


def _rows(embedding: Embedding, ids: Sequence[str]) -> Singles:
    """The features of some galaxies; only the parts of the file that hold them are read."""
    wanted = embedding.rows_of(ids)
    found = np.empty((len(wanted), embedding.n_features), np.float32)
    for places, block in embedding.some(wanted):
        found[places] = block
    return found


def nearest(
    embedding: Embedding, queries: Singles, k: int, progress: Progress | None = None
) -> tuple[NDArray[np.int64], Singles]:
    """The rows (Q, k) of the galaxies with the largest cosine to queries (Q, F), largest first, and the cosines.

    Every galaxy is looked at, block by block; of equal cosines the earlier row is first. Fewer than k where there are
    not so many galaxies.
    """
    wanted, k = unit(queries), min(k, len(embedding))
    query, row, value = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)  # the best so far, flat
    least = np.full(len(wanted), -np.inf, np.float32)  # the k-th best so far
    start = 0
    for block in embedding.blocks():
        mine = wanted @ unit(block).T  # (Q, n)
        if len(block) > k:
            least = np.maximum(least, np.partition(mine, len(block) - k, axis=1)[:, len(block) - k])
        ours, column = np.nonzero(mine >= least[:, None])
        query, value = np.concatenate([query, ours]), np.concatenate([value, mine[ours, column]])
        row = np.concatenate([row, column + start])
        order = np.lexsort((row, -value, query))
        query, row, value = query[order], row[order], value[order]
        rank = np.arange(len(query)) - np.searchsorted(query, query)
        query, row, value = query[rank < k], row[rank < k], value[rank < k]
        last = rank[rank < k] == k - 1
        least[query[last]] = value[last]
        start += len(block)
        if progress is not None:
            progress(start, len(embedding), "looking at every galaxy")
    return row.reshape(len(wanted), k), value.reshape(len(wanted), k)
