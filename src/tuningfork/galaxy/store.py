"""Store: many galaxies at rest in checked Parquet shards, read by id or streamed in constant memory."""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import itertools
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from .. import disk
from ..errors import BadImage, BadStore, DiskError, DuplicateIds, Reason
from .catalog import Catalog
from .cutout import Record, Rejected
from .records import Source, digest_of
from .shard import SCHEMA, Group, OpenShard, Shard, ShardWriter, checked_table, complaint, rejected_table

__all__ = ["Store", "StoreWriter"]

MANIFEST, CATALOG, REJECTED = "store.json", "catalog.parquet", "rejected.parquet"
PLAN, LEDGER = "plan.json", "shards.jsonl"
_KEPT_GROUPS, _KEPT_FILES = 4, 8  # row groups (64 galaxies or 4 MB each) and open shards that wait for the next call


class Store(Source):
    """A folder of shards ``shard-00000.parquet`` ..., with ``store.json``, ``catalog.parquet``, ``rejected.parquet``.

    Each shard has one row per galaxy: id, ra, dec (ICRS degrees, null if unknown), bands, pixel_scale (arcsec per
    stored pixel), format, data (the image's bytes as they came, or npy), sha256 (of data), source (where it came from).
    Any Parquet reader opens them. Each galaxy's digest and each page's checksum are verified whenever it is read: a
    damaged galaxy comes as rejected (digest_mismatch), and the rest go on.
    """

    kind = "store"

    def __init__(self, path: str | Path, manifest: dict[str, Any]) -> None:
        self.folder = Path(path)
        try:
            self.shards = tuple(Shard(**entry) for entry in manifest["shards"])
            self._digests = {CATALOG: manifest["catalog_sha256"], REJECTED: manifest["rejected_sha256"]}
            self.n_rejected = int(manifest["n_rejected"])
            bands = tuple(manifest["bands"]) if manifest["bands"] is not None else None
            n, scale = manifest["n"], manifest["pixel_scale"]
        except (KeyError, TypeError, ValueError) as error:
            raise BadStore(f"'{self.folder / MANIFEST}' lacks or garbles a field: {error!r}") from error
        table = checked_table(self.folder / CATALOG, self._digests[CATALOG], columns=["id"])
        ids = table["id"].cast(pa.string()).to_pylist()
        self._ends = list(itertools.accumulate(shard.rows for shard in self.shards))
        if len(ids) != n or n != (self._ends[-1] if self._ends else 0):
            raise BadStore(f"'{self.folder}' contradicts itself: {n} galaxies, {len(ids)} ids; ingest them again")
        digest = digest_of([*(shard.sha256 for shard in self.shards), self._digests[CATALOG]])
        super().__init__(path, ids, digest, bands=bands, pixel_scale=scale)
        self._files: dict[int, OpenShard] = {}
        self._groups: OrderedDict[tuple[int, int], Group] = OrderedDict()
        self._guard = threading.Lock()

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a finished store; raises :class:`~tuningfork.errors.BadStore` saying what it is instead."""
        folder = Path(path)
        if not (folder / MANIFEST).exists():
            if any(folder.glob("shard-*.parquet")) or (folder / "plan.json").exists():
                raise BadStore(f"'{folder}' is an unfinished store: run the command that makes it again, it continues")
            raise BadStore(f"'{folder}' is no store: it has no {MANIFEST}")
        try:
            manifest = disk.read_json(folder / MANIFEST)
        except DiskError as error:
            raise BadStore(f"the store cannot be opened: {error}") from error
        if not isinstance(manifest, dict) or manifest.get("format") != "tuningfork store":
            raise BadStore(f"'{folder / MANIFEST}' is not the manifest of a tuningfork store")
        if manifest.get("version") != 1:
            raise BadStore(
                f"'{folder}' is a store of version {manifest.get('version')}; this tuningfork reads version 1"
            )
        return cls(path, manifest)

    @property
    def catalog(self) -> Catalog:
        """The catalogue joined when the galaxies were stored (at least id), ordered as ``ids``; read on first use."""
        if self._catalog is None:
            self._catalog = Catalog(checked_table(self.folder / CATALOG, self._digests[CATALOG]), name=f"'{self.path}'")
        return self._catalog

    @property
    def rejected(self) -> list[Rejected]:
        """The galaxies that were turned away when the store was made, with their reasons."""
        rows = checked_table(self.folder / REJECTED, self._digests[REJECTED]).to_pylist()
        return [Rejected(row["id"], Reason(row["reason"]), row["detail"], row["source"]) for row in rows]

    def verify(self, progress: Callable[[int, int, str], None] | None = None) -> list[str]:
        """Read everything and list what is not as it was stored: files by name, and in them galaxies by id.

        An empty list means that every byte is as it was written. The same ``ingest`` command, run again, makes damaged
        shards anew. ``progress`` is called as (galaxies done, of how many, text).
        """
        tables = {name: complaint(self.folder / name, digest) for name, digest in self._digests.items()}
        bad = [f"{name}: {wrong}" for name, wrong in tables.items() if wrong]
        for number, (shard, end) in enumerate(zip(self.shards, self._ends, strict=True)):
            wrong = complaint(self.folder / shard.name, shard.sha256)
            if wrong:
                self._forget(number)
                ids = self.ids[end - shard.rows : end]
                lost = [item for item in self.records(ids) if isinstance(item, Rejected)]
                bad.append(f"{shard.name}: {wrong}; {len(lost)} of {shard.rows} galaxies lost")
                bad += [f"{shard.name}: galaxy '{item.id}': {item.detail}" for item in lost]
            if progress is not None:
                progress(end, len(self), f"{len(bad)} damaged")
        return bad

    def _forget(self, number: int) -> None:
        with self._guard:
            if number in self._files:
                self._files.pop(number).close()
            for key in [key for key in self._groups if key[0] == number]:
                del self._groups[key]

    def _where(self, row: int) -> str:
        return self.shards[bisect.bisect_right(self._ends, row)].name

    def _read(self, row: int) -> Record:
        number = bisect.bisect_right(self._ends, row)
        shard = self.shards[number]
        group = self._group(number, start := row - (self._ends[number] - shard.rows))
        columns, offset = group.columns, start - group.start
        data: bytes = group.data[offset].as_py()
        identifier = self.ids[row]
        if columns["id"][offset] != identifier or disk.sha256(data) != columns["sha256"][offset]:
            raise BadImage(Reason.DIGEST_MISMATCH, f"its bytes in {shard.name} are not those that were stored")
        return Record(
            id=identifier,
            data=data,
            format=columns["format"][offset],
            bands=tuple(columns["bands"][offset]),
            pixel_scale=columns["pixel_scale"][offset],
            ra=columns["ra"][offset],
            dec=columns["dec"][offset],
            source=columns["source"][offset],
            sha256=columns["sha256"][offset],
        )

    def _group(self, number: int, row: int) -> Group:
        """The row group that holds ``row`` of one shard; damage becomes BadImage."""
        name = self.shards[number].name
        with self._guard:
            try:
                shard = self._file(number)
                key = (number, bisect.bisect_right(shard.ends, row))
                if key not in self._groups:
                    self._groups[key] = Group(shard, key[1])
                    if len(self._groups) > _KEPT_GROUPS:
                        self._groups.popitem(last=False)
                self._groups.move_to_end(key)
                return self._groups[key]
            except FileNotFoundError as error:
                raise BadImage(Reason.MISSING, f"{name} is not there") from error
            except PermissionError as error:
                raise BadImage(Reason.UNREADABLE, f"{name}: {error.strerror}") from error
            except Exception as error:  # whatever Parquet says of damaged bytes (ArrowInvalid, OSError, KeyError, ...)
                raise BadImage(Reason.DIGEST_MISMATCH, f"{name} is damaged: {error}") from error

    def _file(self, number: int) -> OpenShard:
        if number not in self._files:
            if len(self._files) >= _KEPT_FILES:
                self._files.pop(next(iter(self._files))).close()
            self._files[number] = OpenShard(self.folder / self.shards[number].name, self.shards[number])
        return self._files[number]


class StoreWriter:
    """Makes a store: a context manager that takes galaxies one by one and can be killed at any moment.

    ``plan`` says which command makes it, and from what (JSON values); it is kept in the folder. The same plan in the
    same folder goes on where a killed run ended: ``n_in`` then tells how many galaxies the earlier run has accounted
    for, and the caller goes on with the next. Shards that were damaged since, and all after them, are made again. A
    folder that holds anything else is refused. The store exists (has its manifest) only after a clean exit.
    ``catalog`` (also settable later) gives the columns for ``catalog.parquet``; ids that are not stored are left out.

    Raises :class:`~tuningfork.errors.BadStore`, :class:`~tuningfork.errors.Locked`, and
    :class:`~tuningfork.errors.DuplicateIds` when an id comes twice.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        catalog: Catalog | None = None,
        shard_size: int = 4096,
        plan: Mapping[str, Any] | None = None,
    ) -> None:
        if shard_size < 1:
            raise ValueError(f"a shard holds at least one galaxy, not {shard_size}")
        self.folder = Path(path)
        self.catalog = catalog
        self.rejected: list[Rejected] = []
        self.shards: list[Shard] = []
        self._plan = None if plan is None else {"shard_size": shard_size, **plan}
        self._size = shard_size
        self._seen: set[str] = set()
        self._kinds: list[tuple[tuple[str, ...], float | None]] = []  # distinct (bands, pixel scale); two are enough
        self._told = 0  # rejected galaxies that the ledger knows
        self._shard: ShardWriter | None = None
        self._ledger = disk.Ledger(self.folder / LEDGER)
        self._lock = contextlib.ExitStack()

    @property
    def n_done(self) -> int:
        """Galaxies stored so far."""
        return sum(shard.rows for shard in self.shards) + (self._shard.rows if self._shard else 0)

    @property
    def n_in(self) -> int:
        """Galaxies accounted for so far: stored or rejected."""
        return self.n_done + len(self.rejected)

    @property
    def n_kept(self) -> int:
        """Galaxies accounted for on the disk: what the same plan goes on from after a kill now."""
        return sum(shard.rows for shard in self.shards) + self._told

    @property
    def store(self) -> Store:
        """The finished store."""
        return Store.open(self.folder)

    def __enter__(self) -> Self:
        self._refuse_strangers()
        self._lock.enter_context(disk.lock(self.folder))
        with contextlib.ExitStack() as opening:
            opening.push(self._lock)
            self._refuse_strangers()
            disk.sweep(self.folder)
            if self._plan is not None and not (self.folder / PLAN).exists():
                disk.write_json(self.folder / PLAN, self._plan)
            self._resume()
            opening.pop_all()
        return self

    def _refuse_strangers(self) -> None:
        folder = self.folder
        if not folder.exists():
            return
        if not folder.is_dir():
            raise BadStore(f"'{folder}' is a file; a store is a folder: choose another name")
        if self._plan is not None and (folder / PLAN).exists():
            found = disk.read_json(folder / PLAN)
            if found != self._plan:
                keys = sorted(set(found) | set(self._plan)) if isinstance(found, dict) else ["plan"]
                differ = [key for key in keys if found.get(key) != self._plan.get(key)]
                raise BadStore(
                    f"'{folder}' was made by another command or from other data (they differ in {', '.join(differ)}): "
                    "choose another folder, or remove this one first"
                )
            return
        content = sorted(p.name for p in folder.iterdir() if p.name != ".lock" and not p.name.startswith(".part-"))
        if content:
            shown = ", ".join(content[:3]) + (", ..." if len(content) > 3 else "")
            raise BadStore(f"'{folder}' is not empty (it holds {shown}): a new store needs a folder of its own")

    def _resume(self) -> None:
        entries = self._ledger.read()
        for number, entry in enumerate(entries):
            shard = None if entry["shard"] is None else Shard(**entry["shard"])
            if shard is not None and complaint(self.folder / shard.name, shard.sha256):
                kept = "".join(json.dumps(kept) + "\n" for kept in entries[:number])
                disk.write_text(self.folder / LEDGER, kept)
                break
            if shard is not None:
                self.shards.append(shard)
                self._seen.update(pq.read_table(self.folder / shard.name, columns=["id"])["id"].to_pylist())
            self.rejected += [Rejected(i, Reason(why), detail, source) for i, why, detail, source in entry["rejected"]]
            for bands, scale in entry["kinds"]:
                self._note(tuple(bands), scale)
        self._told = len(self.rejected)

    def add(self, record: Record) -> None:
        """Store one galaxy; its digest is taken here if the record has none."""
        if record.id in self._seen:
            raise DuplicateIds(f"the id '{record.id}' was stored before; an id stands for one galaxy")
        if not record.sha256:
            record = dataclasses.replace(record, sha256=disk.sha256(record.data))
        if self._shard is None:
            self._shard = ShardWriter(self.folder / f"shard-{len(self.shards):05d}.parquet")
        self._shard.add(record)
        self._seen.add(record.id)
        self._note(record.bands, record.pixel_scale)
        if self._shard.rows >= self._size or self._shard.full:
            self._checkpoint()

    def reject(self, rejected: Rejected) -> None:
        """Account for one galaxy that is not stored."""
        self.rejected.append(rejected)
        if len(self.rejected) - self._told >= self._size:
            self._checkpoint()

    def _note(self, bands: tuple[str, ...], scale: float | None) -> None:
        if (bands, scale) not in self._kinds and len(self._kinds) < 8:
            self._kinds.append((bands, scale))

    def _checkpoint(self) -> None:
        """Name the open shard, then tell the ledger: what is not in the ledger is made again."""
        shard = self._shard.close() if self._shard is not None else None
        self._shard = None
        new = self.rejected[self._told :]
        if shard is None and not new:
            return
        entry = {
            "shard": None if shard is None else shard._asdict(),
            "rejected": [[r.id, str(r.reason), r.detail, r.source] for r in new],
            "kinds": [[list(bands), scale] for bands, scale in self._kinds],
        }
        self._ledger.append(entry)
        self._told = len(self.rejected)
        if shard is not None:
            self.shards.append(shard)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if error is not None:
                if self._shard is not None:
                    self._shard.abort(kind, error, trace)
                return
            self._checkpoint()
            self._finish()

    def _finish(self) -> None:
        names = [self.folder / shard.name for shard in self.shards]
        columns = ["id", "ra", "dec"]
        places = pa.concat_tables(
            [SCHEMA.empty_table().select(columns)] + [pq.read_table(n, columns=columns) for n in names]
        )
        if self.catalog is None:
            catalog = Catalog(places, id="id")
        else:
            catalog = self.catalog.select(places["id"].to_pylist())
            if not {"ra", "dec"} & set(catalog.columns) and places["ra"].null_count < len(places):
                catalog = catalog.with_columns({"ra": places["ra"].to_numpy(), "dec": places["dec"].to_numpy()})
        catalog.write(self.folder / CATALOG)
        with disk.atomic(self.folder / REJECTED) as part:
            pq.write_table(rejected_table(self.rejected), part)
        bands, scales = {bands for bands, _ in self._kinds}, {scale for _, scale in self._kinds}
        manifest = {
            "format": "tuningfork store",
            "version": 1,
            "n": self.n_done,
            "n_rejected": len(self.rejected),
            "bands": list(bands.pop()) if len(bands) == 1 else None,
            "pixel_scale": scales.pop() if len(scales) == 1 else None,
            "shards": [shard._asdict() for shard in self.shards],
            "catalog_sha256": disk.sha256(self.folder / CATALOG),
            "rejected_sha256": disk.sha256(self.folder / REJECTED),
        }
        disk.write_json(self.folder / MANIFEST, manifest)
