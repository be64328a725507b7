"""Embedding: what a model's network sees in every galaxy, before its last layer, as rows of numbers at rest."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .. import __version__, disk, recipe
from ..errors import BadCatalog, BadStore, BandError, Reason, RecipeError, Stopped
from ..galaxy.cutout import Record, Rejected
from ..galaxy.display import Display, render
from ..galaxy.source import Source, open_source
from ..galaxy.tablefile import KEY
from ..model.card import Card, find_model
from ..model.encoder import find_encoder
from ..predict.ahead import ahead
from ..predict.engine import ENGINES, Graph, open_engines
from ..predict.predict import Account, Batch, Prediction, Progress, render_chunk, wanted_ids
from ..predict.sight import seen_as
from ..predict.views import chosen_views, margin, view

FORMAT = "tuningfork features 1"
CONTENT = "tuningfork_content"  # key of the file's metadata: SHA-256 of its ids and features
PRECISIONS = {"float16": pa.float16(), "float32": pa.float32()}
ROW_GROUP = 1024  # rows held in memory before they are written, and read for any one of them: 2.6 MB of 1280 features

Singles = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Seer:
    """A model that tells what it sees: its card, how galaxies are shown to it, and what runs it.

    ``digest`` is that of the weights which the features depend on: of the encoder, where the model shares one.
    """

    folder: Path
    card: Card
    display: Display
    numbers: tuple[int, ...]  # of the views that are averaged
    digest: str
    engine: str
    graph: Graph

    def features(self, images: NDArray[np.uint8]) -> Singles:
        """Features (N, F) of images (N, bands, M, M) that have the margin of the views: the mean over these."""
        total = sum(self.graph(view(images, one, self.display.size)).astype(np.float64) for one in self.numbers)
        return np.asarray(total / len(self.numbers), np.float32)

    def features_of(self, record: Record) -> Singles:
        """Features (F,) of one galaxy, of flux as the picture that the model knows; raises BadImage."""
        sight = seen_as(record, record.cutout(), self.card.bands)
        image = render(sight.cutout, self.display, margin(self.numbers, self.display.size))
        return self.features(image[None])[0]


def open_seer(model: str | Path, views: int = 1, engine: str = "auto", threads: int = 0) -> Seer:
    """Open a model (as :func:`~tuningfork.model.card.find_model`) for its features, proved on its golden pair.

    Where it shares an encoder, ``engine`` runs that; of other models the exported file gives answers alone, so that
    torch runs their weights, whatever ``engine`` is: their features want the extra [train].
    """
    numbers = chosen_views(views)
    folder = find_model(model)
    card, found = Card.load(folder), find_encoder(folder)
    graph: Graph
    if found is not None:
        engines = open_engines([folder], engine, threads)
        name, graph = engines.name, engines.features
    else:
        name, graph = "torch", ENGINES["torch"](threads).encoder(folder)
    display = recipe.from_mapping(Display, card.display)
    return Seer(folder, card, display, numbers, found[1].digest if found else card.digest, name, graph)


def embed(
    source: str | Path | Source,
    model: str | Path,
    out: str | Path,
    *,
    views: int = 1,
    precision: str = "float16",
    ids: Sequence[str] | None = None,
    part: str | None = None,
    bands: tuple[str, ...] | None = None,
    batch: int = 64,
    engine: str = "auto",
    threads: int = 0,
    progress: Progress | None = None,
) -> Prediction:
    """Write what ``model`` sees in every galaxy of ``source`` to the Parquet file ``out``, in constant memory.

    Args:
        source, ids, part, bands, batch, threads: as for :func:`~tuningfork.predict.predict.predict`.
        model: the folder of a run or a model, or a shipped model's name.
        views: 1, 2, 4, 8 or 60, whose features are averaged: 4 take away how a galaxy is turned; 8, which has the
            mirror images, also which way its arms wind.
        precision: "float16" (relative error 2^-11, half the room) or "float32".
        engine: see :func:`open_seer`.

    One row per galaxy asked for, in the order of the source: ``id``, ``ra``, ``dec``, ``status`` ("done" or
    "rejected"), ``reason``, and ``feature``, a list of F numbers, null where rejected. Beside them in the file: the
    model, the digests of weights and source, the views. :meth:`Embedding.open` reads it. Raises :class:`RecipeError`,
    :class:`BandError`, :class:`Stopped` upon SIGTERM, and what opening the model and the source raises.
    """
    _check(out, precision, batch, threads)
    cores = threads or len(os.sched_getaffinity(0))
    source = open_source(source, bands=bands) if isinstance(source, str | Path) else source
    seer = open_seer(model, views, engine, threads)
    lacking = [band for band in seer.card.bands if source.bands is not None and band not in source.bands]
    if lacking:
        raise BandError(
            f"'{source.path}' has the bands {', '.join(source.bands or ())}; the model '{seer.card.name}' was trained "
            f"on {', '.join(seer.card.bands)}: choose a model of these bands, or tell them with --bands"
        )
    wanted = wanted_ids(source, [seer.folder], ids, part)
    account = Account(len(wanted), progress)
    edge = margin(seer.numbers, seer.display.size)
    look = partial(render_chunk, displays=[seer.display], margins=[edge])
    writer = _Writer(out, precision, _provenance(seer, source, views, precision))
    with writer, ThreadPoolExecutor(cores) as pool, disk.stop_on_sigterm() as asked:
        for done in ahead(pool, look, source.records(wanted), batch, 2 * cores + 1):
            images = done.images[0]
            account.add(writer.write(done, seer.features(images) if len(images) else None), len(done.ids))
            if asked.is_set():
                raise Stopped(f"'{out}' is not written, since it would not be whole; run the same command again")
    return account.close(str(out), seer.engine, ())


def save_features(
    path: str | Path,
    ids: Sequence[str],
    features: NDArray[Any] | Iterable[NDArray[Any]],
    *,
    model: str = "",
    source: str | Path = "",
    precision: str = "float16",
) -> None:
    """Write features that come from elsewhere as :func:`embed` writes its own, to be searched and learnt from.

    ``features`` is an array (N, F), or blocks (n, F) of it, one after the other. ``model`` says in words what they are
    of, ``source`` where the pictures are. Raises :class:`BadCatalog` where ids and features are not as many, an id
    comes twice, or a number is not finite.
    """
    _check(path, precision, 1, 0)
    names, start, blocks = list(ids), 0, [features] if isinstance(features, np.ndarray) else features
    told: dict[str, Any] = {"model": {"name": model, "digest": "", "folder": ""}, "weights": "", "views": 1}
    told |= {"precision": precision, "source": str(source), "input_digest": ""}
    with _Writer(path, precision, told | {"format": FORMAT, "version": __version__}) as writer:
        for block in blocks:
            if block.ndim != 2 or not block.size or start + len(block) > len(names):
                raise BadCatalog(f"features of shape {block.shape} from row {start} on, for {len(names)} ids")
            for first in range(0, len(block), ROW_GROUP):
                values = np.asarray(block[first : first + ROW_GROUP], np.float32)
                some = names[start : start + len(values)]
                if bad := writer.write(Batch(some, [(None, None)] * len(some), [], []), values):
                    raise BadCatalog(f"{bad[0].id}: {bad[0].detail}")
                start += len(values)
        if start < len(names) or len(set(names)) < len(names):
            raise BadCatalog(f"features of {start} galaxies for {len(names)} ids, {len(set(names))} of them different")


def _check(out: str | Path, precision: str, batch: int, threads: int) -> None:
    if Path(out).suffix != ".parquet" or Path(out).is_dir():
        raise RecipeError(f"'{out}': features are written as Parquet, so name a file that ends in .parquet")
    if precision not in PRECISIONS:
        near = recipe.nearest(precision, list(PRECISIONS))
        raise RecipeError(f"--precision is '{precision}'{near}; it may be {' or '.join(PRECISIONS)}")
    for flag, value, least in (("--batch", batch, 1), ("--threads", threads, 0)):
        if value < least:
            raise RecipeError(f"{flag} is {value}; it must be {least} or more")


def _provenance(seer: Seer, source: Source, views: int, precision: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "model": {"name": seer.card.name, "digest": seer.card.digest, "folder": str(seer.folder)},
        "weights": seer.digest,
        "display": recipe.to_mapping(seer.display),
        "views": views,
        "precision": precision,
        "source": source.path,
        "input_digest": source.digest,
        "version": __version__,
    }


class _Writer:
    """Features as they come, to one Parquet file that is whole or absent."""

    def __init__(self, path: str | Path, precision: str, told: dict[str, Any]) -> None:
        self.path, self.told, self.kind = Path(path), told, PRECISIONS[precision]
        self.type = np.dtype(precision)
        self.file: pq.ParquetWriter | None = None
        self.schema: pa.Schema | None = None
        self.waiting: list[tuple[list[str], Any, dict[str, str], NDArray[Any]]] = []
        self.content = [hashlib.sha256() for _ in range(3)]  # of ids, which are done, features: in batches of any size

    def __enter__(self) -> Self:
        disk.sweep_dead(self.path)
        self.door = disk.atomic(self.path)
        self.part = self.door.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._flush()
                if self.file is None:
                    raise BadCatalog(f"'{self.path}' is not written: not one galaxy gave features")
                self.file.add_key_value_metadata({CONTENT: disk.sha256(b"".join(one.digest() for one in self.content))})
            if self.file is not None:
                self.file.close()
        except BaseException as failed:
            self.door.__exit__(type(failed), failed, failed.__traceback__)
            raise
        self.door.__exit__(kind, error, trace)

    def write(self, done: Batch, values: Singles | None) -> list[Rejected]:
        """One batch, in the order it came; features that are no finite numbers in this precision reject a galaxy."""
        rejected = list(done.rejected)
        refused = {one.id for one in rejected}
        kept = [one for one in done.ids if one not in refused]
        with np.errstate(over="ignore"):
            stored = np.zeros((0, 0), self.type) if values is None else values.astype(self.type)
        good = np.asarray(np.isfinite(stored).all(axis=1))
        rejected += [
            Rejected(one, Reason.NOT_FINITE, f"the features are no finite numbers in {self.type}")
            for one, fine in zip(kept, good.tolist(), strict=True)
            if not fine
        ]
        why = {one.id: str(one.reason) for one in rejected}
        self.waiting.append((done.ids, done.positions, why, stored[good]))
        if sum(len(ids) for ids, *_ in self.waiting) >= ROW_GROUP:
            self._flush()
        return rejected

    def _flush(self) -> None:
        width = max((its.shape[1] for *_, its in self.waiting if len(its)), default=0)
        if self.schema is None and width:
            self.schema = _schema(self.kind, width).with_metadata({KEY: json.dumps(self.told, allow_nan=False)})
            # a dictionary of numbers is larger than they are, and three times as slow to read
            self.file = pq.ParquetWriter(
                self.part, self.schema, compression="zstd", use_dictionary=["status", "reason"]
            )
        if self.schema is None or self.file is None or not self.waiting:
            return  # where all were rejected so far, they wait until the width is known
        width, tables = self.schema.field("feature").type.list_size, []
        for ids, positions, why, stored in self.waiting:
            done = np.array([one not in why for one in ids], np.bool_)
            whole = np.zeros((len(ids), width), self.type)
            if done.any():  # of batches without a good galaxy the width is not known
                whole[done] = stored
            names = "".join(one + "\0" for one in ids).encode()
            for hashed, told in zip(self.content, (names, done.tobytes(), whole.tobytes()), strict=True):
                hashed.update(told)
            tables.append(_table(ids, positions, why, done, whole, self.schema))
        self.file.write_table(pa.concat_tables(tables))
        self.waiting = []


def _schema(kind: pa.DataType, width: int) -> pa.Schema:
    columns = [("id", pa.string()), ("ra", pa.float64()), ("dec", pa.float64()), ("status", pa.string())]
    return pa.schema([*columns, ("reason", pa.string()), ("feature", pa.list_(kind, width))])


def _table(
    ids: list[str], positions: Any, why: dict[str, str], done: NDArray[np.bool_], whole: NDArray[Any], schema: pa.Schema
) -> pa.Table:
    feature = pa.FixedSizeListArray.from_arrays(pa.array(whole.ravel()), whole.shape[1], mask=pa.array(~done))
    status = ["done" if one else "rejected" for one in done.tolist()]
    ra, dec = zip(*positions, strict=True)
    arrays = [ids, list(ra), list(dec), status, [why.get(one) for one in ids]]
    typed = [pa.array(values, field.type) for values, field in zip(arrays, schema, strict=False)]
    return pa.Table.from_arrays([*typed, feature], schema=schema)


class Embedding:
    """Features at rest: ``n`` galaxies with ``n_features`` numbers each, read from the disk as they are needed.

    ``ids`` are of the galaxies that have features, in the order of the file; ``rejected`` has the others' reasons.
    ``metadata`` is what :func:`embed` told; ``content`` a digest of ids and features, which changes with
    any of them.
    """

    def __init__(self, path: str | Path, file: pq.ParquetFile, metadata: dict[str, Any], content: str) -> None:
        self.path, self.metadata, self.content = str(path), metadata, content
        self.n_features: int = file.schema_arrow.field("feature").type.list_size
        table = file.read(columns=["id", "status", "reason"])
        done = pc.equal(table["status"], "done")
        self.ids: list[str] = table["id"].filter(done).to_pylist()
        bad = table.filter(pc.is_valid(table["reason"]))
        self.rejected = {one["id"]: Reason(one["reason"]) for one in bad.select(["id", "reason"]).to_pylist()}
        ends = np.cumsum([0, *(file.metadata.row_group(one).num_rows for one in range(file.num_row_groups))])
        self._starts = np.concatenate([[0], np.cumsum(done.to_numpy())])[ends]  # the first row of each group, and n

    @classmethod
    def open(cls, path: str | Path) -> Embedding:
        """The features in a file of :func:`embed`; raises :class:`BadStore` where it is none, or holds no galaxy."""
        told = f"'{path}' holds no features: write them with tuningfork embed GALAXIES --model MODEL --out {path}"
        if not Path(path).is_file():
            raise BadStore(f"there is no file '{path}'; {told.partition(': ')[2]}")
        try:
            file = pq.ParquetFile(path)
            kept = file.metadata.metadata or {}
            metadata = json.loads(kept.get(KEY.encode(), b"{}"))
            feature = file.schema_arrow.field("feature").type
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise BadStore(f"{told} ({error})") from error
        if metadata.get("format") != FORMAT or not pa.types.is_fixed_size_list(feature):
            raise BadStore(f"{told} (its format is {metadata.get('format')!r}, not {FORMAT!r})")
        return cls(path, file, metadata, kept.get(CONTENT.encode(), b"").decode())

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def row(self) -> dict[str, int]:
        """The row of each id."""
        return {one: number for number, one in enumerate(self.ids)}

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The rows of some ids; raises :class:`BadCatalog` with those that are not here and the nearest names."""
        missing = [one for one in ids if one not in self.row]
        if missing:
            gone = [one for one in missing if one in self.rejected]
            why = f"; of these {len(gone)} were rejected when the features were made" if gone else ""
            raise BadCatalog(
                f"{len(missing)} of {len(ids)} galaxies have no features in '{self.path}': {missing[:5]}{why}; "
                f"its galaxies are called {self.ids[:3]}"
            )
        return np.array([self.row[one] for one in ids], np.int64)

    def blocks(self) -> Iterator[Singles]:
        """The features from the first row to the last, float32 (n, F), some thousand rows at a time."""
        file = pq.ParquetFile(self.path)
        return (self._group(file, group).astype(np.float32) for group in range(file.num_row_groups))

    def some(self, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Singles]]:
        """The features of some rows, part by part: their places in ``rows`` (n,), and float32 (n, F).

        Only the row groups of the file that hold them are read, each once, in the order of the file.
        """
        groups = np.searchsorted(self._starts, rows, side="right") - 1
        file = pq.ParquetFile(self.path)
        for group in np.unique(groups).tolist():
            places = np.flatnonzero(groups == group)
            yield places, self._group(file, group)[rows[places] - self._starts[group]].astype(np.float32)

    def _group(self, file: pq.ParquetFile, group: int) -> NDArray[Any]:
        column = file.read_row_group(group, columns=["feature"])["feature"].combine_chunks()
        values: NDArray[Any] = column.drop_null().flatten().to_numpy(zero_copy_only=False)
        return values.reshape(-1, self.n_features)

    def values(self) -> Singles:
        """All features in memory, float32 (n, F)."""
        found = np.empty((len(self), self.n_features), np.float32)
        start = 0
        for block in self.blocks():
            found[start : start + len(block)] = block
            start += len(block)
        return found

    def source(self, galaxies: str | Path | Source | None = None) -> Source:
        """Where the pictures of these galaxies are: ``galaxies``, or the source that they were read from."""
        if isinstance(galaxies, Source):
            return galaxies
        return open_source(self.metadata["source"] if galaxies is None else galaxies)

    def seer(self, model: str | Path | None = None, engine: str = "auto", threads: int = 0) -> Seer:
        """The model that these features are of, as :func:`open_seer`, to see other galaxies alike.

        ``model`` says where it is, if it has moved. Raises :class:`BadStore` where its weights are others.
        """
        told = self.metadata["model"]
        if not self.metadata["weights"]:
            raise BadStore(f"the features in '{self.path}' are of no model of ours: ask by id, not by a picture")
        seer = open_seer(told["folder"] if model is None else model, self.metadata["views"], engine, threads)
        if seer.digest != self.metadata["weights"]:
            raise BadStore(
                f"the features in '{self.path}' are of '{told['name']}' with other weights than '{seer.folder}' has "
                "now: name that model with --model, or embed the galaxies again"
            )
        return seer
