"""Ingest: prove every galaxy of a source an image, join its labels, and put it into a store; killed, it goes on."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from .. import disk
from ..errors import BadImage, BadStore, Stopped
from .catalog import Catalog
from .crossmatch import JoinReport
from .cutout import Record, Rejected
from .records import Source, digest_of
from .source import open_source
from .store import StoreWriter

__all__ = ["Summary", "ingest"]

SHARD_ROWS = 4096


@dataclass(frozen=True)
class Summary:
    """What became of the galaxies: ``n_in`` = ``n_done`` + ``n_rejected``, always.

    ``rejected`` has one entry, with its reason, for each galaxy turned away. ``others`` are the files that are no
    images and were passed by. ``join`` is the report of the join with the labels, if there were any; galaxies that it
    left out (only with ``unmatched="drop"``) are not in ``n_in``.
    """

    path: str
    n_in: int
    n_done: int
    n_rejected: int
    rejected: tuple[Rejected, ...] = ()
    others: tuple[str, ...] = ()
    join: JoinReport | None = None

    def __str__(self) -> str:
        """The account as lines of text: what came in, what was done, why not, what was passed by."""
        lines = [f"{self.n_in:,} galaxies in = {self.n_done:,} done + {self.n_rejected:,} rejected: '{self.path}'"]
        for reason, number in Counter(str(item.reason) for item in self.rejected).most_common():
            first = [item.id for item in self.rejected if item.reason == reason][:3]
            lines.append(f"  {reason}: {number} ({', '.join(first)}{', ...' if number > 3 else ''})")
        if self.others:
            shown = ", ".join(self.others[:5]) + (", ..." if len(self.others) > 5 else "")
            what = "file that is no image was" if len(self.others) == 1 else "files that are no images were"
            lines.append(f"{len(self.others)} {what} passed by: {shown}")
        if self.join is not None:
            lines.append(str(self.join))
        return "\n".join(lines)


def ingest(
    source: Source | str | Path,
    out: str | Path,
    *,
    labels: Catalog | str | Path | None = None,
    id_column: str | None = None,
    unmatched: Literal["refuse", "drop"] = "refuse",
    bands: tuple[str, ...] | None = None,
    pixel_scale: float | None = None,
    stack: bool | None = None,
    threads: int | None = None,
    shard_size: int = SHARD_ROWS,
    progress: Callable[[int, int, str], None] | None = None,
) -> Summary:
    """Copy the galaxies of a source into a checked store, each decoded once to prove that it is an image.

    ``source`` is what :func:`~tuningfork.galaxy.source.open_source` opens, with ``bands``, ``pixel_scale`` and
    ``stack``. ``labels`` is a catalogue (or its file; ``id_column`` names its ids) whose columns join the galaxies by
    id, as text; a galaxy without labels refuses the run before any work, or with ``unmatched="drop"`` is left out.
    Pictures keep the bytes they came in; FITS, stacks and files per band become npy (float32). A galaxy that is no
    usable image goes to the store's rejected table with its reason, and the rest go on.

    The same call after a kill goes on where it ended, and ends with the same bytes; after it ended it changes nothing,
    or mends what was damaged since. Another source, or another choice, in the same folder is refused. ``progress`` is
    called as (galaxies accounted for, of how many, text). Memory does not grow with the number of galaxies, but for
    their ids and catalogue.

    Raises :class:`~tuningfork.errors.BadStore`, :class:`~tuningfork.errors.DuplicateIds`,
    :class:`~tuningfork.errors.Unmatched`, :class:`~tuningfork.errors.Locked`, :class:`~tuningfork.errors.DiskFull`;
    and :class:`~tuningfork.errors.Stopped` upon SIGTERM, after the galaxy at hand: full shards are kept.
    """
    if isinstance(source, Source):
        if bands is not None or pixel_scale is not None or stack is not None:
            raise BadStore("give bands, pixel_scale and stack to open_source, where the source is opened")
    else:
        source = open_source(source, bands=bands, pixel_scale=pixel_scale, stack=stack)
    catalog, report, labels_digest = source.catalog, None, ""
    if labels is not None:
        catalog, report, labels_digest = _joined(source, labels, id_column, unmatched)
        source.with_catalog(catalog)
    ids = source.ids if report is None else catalog.ids if catalog is not None else []
    plan = _plan(source, ids, labels_digest) | {"bands": list(bands) if bands else None, "pixel_scale": pixel_scale}
    with (
        disk.stop_on_sigterm() as asked,
        StoreWriter(out, catalog=catalog, shard_size=shard_size, plan=plan) as writer,
    ):
        left = ids[writer.n_in :]
        for item in _proved(source.records(left), threads or min(8, os.cpu_count() or 1)):
            if isinstance(item, Rejected):
                writer.reject(item)
            else:
                writer.add(item)
            if progress is not None:
                progress(writer.n_in, len(ids), f"{len(writer.rejected)} rejected")
            if asked.is_set() and writer.n_in < len(ids):
                raise Stopped(f"'{out}' keeps {writer.n_kept:,} of {len(ids):,} galaxies; run the same command again")
        if writer.n_in != len(ids):
            raise BadStore(f"{writer.n_in} of {len(ids)} galaxies came out of '{source.path}': a fault of tuningfork's")
    rejected = tuple(writer.rejected)
    return Summary(str(out), len(ids), writer.n_done, len(rejected), rejected, source.others, report)


def _plan(source: Source, ids: Sequence[str], labels_digest: str) -> dict[str, Any]:
    """What the folder remembers of a run, so that another run is not taken for the same."""
    return {
        "command": "ingest",
        "version": 1,
        "source": source.digest,
        "kind": source.kind,
        "n": len(ids),
        "ids": digest_of(ids),
        "labels": labels_digest,
    }


def _joined(
    source: Source, labels: Catalog | str | Path, id_column: str | None, unmatched: Literal["refuse", "drop"]
) -> tuple[Catalog, JoinReport, str]:
    """The galaxies' catalogue with the labels beside it, in the source's order."""
    if isinstance(labels, Catalog):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, labels.table.schema) as stream:
            stream.write_table(labels.table.combine_chunks())
        digest = disk.sha256(sink.getvalue().to_pybytes())
    else:
        digest = disk.sha256(labels) if Path(labels).is_file() else ""
        labels = Catalog.read(labels, id=id_column)
    own = source.catalog
    if own is None:
        own = Catalog(pa.table({"id": pa.array(source.ids, pa.string())}), name=f"'{source.path}'")
    joined, report = own.join(labels, unmatched=unmatched)
    return joined, report, digest


def _proved(items: Iterable[Record | Rejected], threads: int) -> Iterator[Record | Rejected]:
    """Decode on several threads (the decoders let go of the interpreter), in order, a few galaxies ahead."""
    waiting: deque[Future[Record | Rejected]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(_prove, item))
            if len(waiting) >= 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _prove(item: Record | Rejected) -> Record | Rejected:
    """A record that has been an image once, with what decoding told about it; or the reason why it is none."""
    if isinstance(item, Rejected):
        return item
    try:
        cutout = item.cutout()
    except BadImage as error:
        return Rejected(item.id, error.reason, error.detail, item.source)
    if item.format == "fits":
        item = Record.from_pixels(item.id, cutout.pixels, cutout.bands, source=item.source)
    return dataclasses.replace(
        item,
        bands=cutout.bands,
        pixel_scale=cutout.pixel_scale,
        ra=cutout.ra,
        dec=cutout.dec,
        sha256=item.sha256 or disk.sha256(item.data),
    )
