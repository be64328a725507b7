"""Index: a graph through shortened features, by which the nearest are found without looking at every galaxy."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import disk
from ..errors import DiskError, MissingExtra
from .embedding import Embedding, Singles

Progress = Callable[[int, int, str], None]
SUFFIX, AXES = ".usearch", ".axes.npy"

# Measured by benchmarks/neighbours.py
DIMENSIONS = 128  # of a vector in the graph, one byte each
CANDIDATES = 64  # of the graph for each query, of which the exact cosines choose
SAMPLE, PIECES = 16_384, 64  # galaxies that the axes are learnt from, in so many places of the file
# of the graph (Malkov & Yashunin 2018, HNSW): links per vector, and how many are looked at when adding and searching;
# with 128 instead of 1024 looked at, 94% instead of 96% of the neighbours were found among 10 million
CONNECTIVITY, ADDING, SEARCHING = 16, 64, 1024
KEEP = 600.0  # seconds after which a graph in the making is written, to be gone on with after a kill


@dataclass(frozen=True, eq=False)
class Index:
    """What finds the neighbours among N galaxies of an ``embedding``: a graph of codes, then their exact cosines.

    The code of a galaxy is its features at length 1, turned to the D principal axes of a sample of them and rounded to
    int8, one step for all axes: distances between codes are those between the features, so far as these axes carry
    them. ``axes`` (F + 1, D) float32 has the axes divided by the step, and the codes of the origin in its last row.
    The graph gives some candidates by their codes; their features are read, and the largest cosines win. So cosines
    are exact, and a neighbour is missed only where it is none of the candidates.
    """

    embedding: Embedding
    axes: Singles
    graph: Any
    threads: int = 0

    def __len__(self) -> int:
        return len(self.graph)

    def search(self, queries: Singles, k: int) -> tuple[NDArray[np.int64], Singles]:
        """The rows (Q, k) of the galaxies most alike to queries (Q, F), and their cosines, largest first.

        As :func:`~tuningfork.insight.neighbours.nearest` but for what the graph misses; -1 and minus infinity where it
        finds fewer than k. k is cut to the number of galaxies.
        """
        k = min(k, len(self))
        found = self.graph.search(
            encode(queries, self.axes), min(len(self), max(CANDIDATES, 4 * k)), threads=self.threads
        )
        rows = np.atleast_2d(found.keys).astype(np.int64)
        counts: Any = getattr(found, "counts", rows.shape[1])  # one query has exactly what it found
        rows[np.arange(rows.shape[1]) >= np.reshape(counts, (-1, 1))] = -1
        values = cosines(self.embedding, queries, rows)
        order = np.lexsort((rows, -values))[:, :k]
        return np.take_along_axis(rows, order, 1), np.take_along_axis(values, order, 1)


def unit(rows: Singles) -> Singles:
    """Rows (N, F) of length 1; a row of zeros stays."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1), np.float32)


def cosines(embedding: Embedding, queries: Singles, rows: NDArray[np.int64]) -> Singles:
    """The cosines (Q, C) between queries (Q, F) and for each of them the galaxies in ``rows`` (Q, C); of -1 none.

    Every part of the file that holds one of them is read once, whatever the number of queries.
    """
    wanted = unit(queries)
    values = np.full(rows.size, -np.inf, np.float32)
    order = np.argsort(rows, axis=None, kind="stable")
    order = order[np.count_nonzero(rows < 0) :]
    different, its = np.unique(rows.ravel()[order], return_inverse=True)
    for places, block in embedding.some(different):
        seen = unit(block)
        start, end = np.searchsorted(its, [places[0], places[-1] + 1])
        for first in range(start, end, 4096):  # what is copied here stays within 20 MB of 1280 features
            pairs = slice(first, min(first + 4096, end))
            mine, theirs = wanted[order[pairs] // rows.shape[1]], seen[its[pairs] - places[0]]
            values[order[pairs]] = np.einsum("nf,nf->n", mine, theirs)
    return values.reshape(rows.shape)


def learn_axes(embedding: Embedding, dimensions: int = DIMENSIONS) -> Singles:
    """The ``axes`` of :class:`Index` (F + 1, D), D = min(F, ``dimensions``), from galaxies all over the file."""
    n = len(embedding)
    length = -(-min(n, SAMPLE) // PIECES)
    starts = np.linspace(0, n - length, PIECES).astype(np.int64)
    rows = np.unique(starts[:, None] + np.arange(length))
    sample = np.concatenate([unit(block) for _, block in embedding.some(rows)]).astype(np.float64)
    mean = sample.mean(axis=0)
    _, turned = np.linalg.eigh((sample - mean).T @ (sample - mean))  # the least first
    turned = turned[:, ::-1][:, :dimensions]
    step = max(float(np.abs((sample - mean) @ turned).max()) / 127, 1e-12)
    return np.concatenate([turned, -mean[None] @ turned]).astype(np.float32) / np.float32(step)


def encode(rows: Singles, axes: Singles) -> NDArray[np.int8]:
    """The codes (N, D) int8 of features (N, F); what lies beyond the sample's range is cut to it."""
    return np.clip(np.rint(unit(rows) @ axes[:-1] + axes[-1]), -127, 127).astype(np.int8)


def make_graph(dimensions: int) -> Any:
    """An empty graph of codes by the distance between them; raises :class:`MissingExtra`."""
    try:
        from usearch.index import Index as Graph
    except ImportError as error:
        raise MissingExtra("usearch", "insight") from error
    return Graph(
        ndim=dimensions, metric="l2sq", dtype="i8", connectivity=CONNECTIVITY, expansion_add=ADDING,
        expansion_search=SEARCHING,
    )  # fmt: skip


def open_index(
    embedding: Embedding, threads: int = 0, progress: Progress | None = None
) -> tuple[Index, tuple[str, ...]]:
    """The index of an embedding, and notes: that which lies beside it, or a new one, which is written there.

    Its two files' names hold the digest of the features, so that one of other features is never taken for it; such are
    removed. The graph is mapped, not read: what a search does not touch takes no memory. While it is made it is in
    memory (about 530 bytes a galaxy, of the features one block; in the file 280), and every ten minutes it is written,
    whole or not at all: a run that was killed is gone on with by the next. Where nothing can be written, the index is
    in memory alone, with a note.
    """
    place = Path(embedding.path)
    path = place.with_name(f"{place.stem}.{embedding.content[:16]}{SUFFIX}")
    notes: list[str] = []
    make_graph(1)  # whether the library is there, before any work
    axes = _read_axes(path.with_suffix(AXES), embedding.n_features)
    graph = None if axes is None else _read_graph(path, axes.shape[1], len(embedding), notes)
    if axes is None or graph is None:
        axes = learn_axes(embedding)
        graph = make_graph(axes.shape[1])
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, axes, allow_pickle=False)
        _kept(lambda: disk.write_bytes(path.with_suffix(AXES), buffer.getvalue()), notes)
    if len(graph) < len(embedding):
        _fill(graph, axes, embedding, path, threads, progress, notes)
    return Index(embedding, axes, graph, threads), tuple(notes)


def _fill(
    graph: Any,
    axes: Singles,
    embedding: Embedding,
    path: Path,
    threads: int,
    progress: Progress | None,
    notes: list[str],
) -> None:
    """Add the galaxies that are not in the graph yet, and write it."""

    def save() -> None:
        disk.sweep_dead(path)
        with disk.atomic(path) as part:
            graph.save(str(part))

    began = kept = time.monotonic()
    had, start = len(graph), 0
    for block in embedding.blocks():
        end = start + len(block)
        if end > had:
            keys = np.arange(max(start, had), end, dtype=np.uint64)
            graph.add(keys, encode(block[-len(keys) :], axes), threads=threads)
            if progress is not None:
                progress(end, len(embedding), f"making the index, {graph.memory_usage / 1e6:,.0f} MB in memory")
            if time.monotonic() - kept > KEEP:
                _kept(save, notes)
                kept = time.monotonic()
        start = end
    if _kept(save, notes):
        seconds, size = time.monotonic() - began, path.stat().st_size
        notes.append(
            f"made the index of {len(graph) - had:,} galaxies in {seconds:,.0f} s: '{path}', {size / 1e6:,.1f} MB"
        )
        for end_of_name in (SUFFIX, AXES):
            for other in path.parent.glob(f"{Path(embedding.path).stem}.{'[0-9a-f]' * 16}{end_of_name}"):
                if other.name not in (path.name, path.with_suffix(AXES).name):
                    disk.remove(other)


def _kept(write: Callable[[], None], notes: list[str]) -> bool:
    """Whether ``write`` could write; where not, a note, once."""
    try:
        write()
    except DiskError as error:
        notes[:] = [
            *(one for one in notes if not one.startswith("the index is in memory alone")),
            f"the index is in memory alone: {error}",
        ]
        return False
    return True


def _read_axes(path: Path, n_features: int) -> Singles | None:
    try:
        axes = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    good = axes.ndim == 2 and len(axes) == n_features + 1 and axes.dtype == np.float32 and bool(np.isfinite(axes).all())
    return axes if good else None


def _read_graph(path: Path, dimensions: int, n: int, notes: list[str]) -> Any:
    """The graph of a file: mapped where it is whole, read where it is to be gone on with, None where it is neither."""
    if not path.is_file():
        return None
    graph = make_graph(dimensions)
    try:
        graph.view(str(path))
        had = len(graph)
        if graph.ndim == dimensions and had < n:
            graph = make_graph(dimensions)
            graph.load(str(path))
            notes.append(f"the index '{path}' had {had:,} of {n:,} galaxies and was gone on with")
    except Exception as error:  # the library raises RuntimeError and others for a file that is none of its own
        notes.append(f"the index '{path}' could not be read ({error}) and was made anew")
        return None
    if graph.ndim == dimensions and had <= n:
        return graph
    notes.append(f"the index '{path}' had {had:,} galaxies of {graph.ndim} numbers and was made anew")
    return None
