"""One shard of a store: its columns, and a file of them that is written whole or not at all."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from .. import disk
from ..errors import BadStore
from .cutout import Record, Rejected

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("ra", pa.float64()),  # ICRS degrees
        ("dec", pa.float64()),
        ("bands", pa.list_(pa.string())),
        ("pixel_scale", pa.float64()),  # arcsec per stored pixel
        ("format", pa.string()),
        ("data", pa.binary()),
        ("sha256", pa.string()),  # of data
        ("source", pa.string()),
    ]
)
SMALL = [name for name in SCHEMA.names if name != "data"]
REJECTED_SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "reason", "detail", "source")])
GROUP_ROWS, GROUP_BYTES = 64, 4_000_000  # one random access reads one row group, so they are small
SHARD_BYTES = 200_000_000
_AGAIN = "run the command that made the store again, it mends what is damaged"


class Shard(NamedTuple):
    """One shard as the manifest lists it: file name, galaxies, bytes, SHA-256 of the file."""

    name: str
    rows: int
    bytes: int
    sha256: str


class ShardWriter:
    """Writes one shard, row group by row group, under a temporary name; :meth:`close` names it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self.bytes = 0  # of images
        self._pending: list[Record] = []
        self._pending_bytes = 0
        self._stack = contextlib.ExitStack()
        part = self._stack.enter_context(disk.atomic(path))
        with contextlib.ExitStack() as opening:  # a writer that cannot be opened takes the temporary file with it
            opening.push(self._stack)
            self._file = self._stack.enter_context(
                pq.ParquetWriter(
                    part,
                    SCHEMA,
                    compression={name: "zstd" if name != "data" else "none" for name in SCHEMA.names},
                    use_dictionary=["bands.list.element", "format"],
                    write_statistics=["id"],
                    write_page_checksum=True,
                    store_schema=False,
                )
            )
            opening.pop_all()

    @property
    def full(self) -> bool:
        """True when the images have filled the shard's share of bytes."""
        return self.bytes >= SHARD_BYTES

    def add(self, record: Record) -> None:
        """Append one galaxy; ``record.sha256`` must be that of its data."""
        self._pending.append(record)
        self._pending_bytes += len(record.data)
        self.rows += 1
        self.bytes += len(record.data)
        if len(self._pending) >= GROUP_ROWS or self._pending_bytes >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            columns = {
                name: [getattr(record, name) if name != "bands" else list(record.bands) for record in self._pending]
                for name in SCHEMA.names
            }
            self._file.write_table(pa.table(columns, schema=SCHEMA))
            self._pending, self._pending_bytes = [], 0

    def close(self) -> Shard:
        """Give the shard its name; returns how the manifest lists it."""
        try:
            self._flush()
        except BaseException as error:
            self.abort(type(error), error, error.__traceback__)
            raise
        self._stack.close()
        return Shard(self.path.name, self.rows, self.path.stat().st_size, disk.sha256(self.path))

    def abort(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Remove the unfinished file; an error of writing is raised anew as :class:`~tuningfork.errors.DiskError`."""
        self._stack.__exit__(kind, error, trace)


class OpenShard:
    """The two handles of one shard: small columns are proven by page checksums, images by their own digests."""

    def __init__(self, path: Path, shard: Shard) -> None:
        size = path.stat().st_size
        if size != shard.bytes:
            raise ValueError(f"{size} bytes instead of {shard.bytes}")
        # No memory maps: reading a map of a file that somebody cuts kills the process (SIGBUS).
        self.images = pq.ParquetFile(path)
        self.small = pq.ParquetFile(path, page_checksum_verification=True)
        self.ends = group_ends(self.small)
        names = self.small.schema_arrow.names
        if self.small.metadata.num_rows != shard.rows or names != SCHEMA.names:
            raise ValueError(f"{self.small.metadata.num_rows} rows of {names} instead of {shard.rows} galaxies")

    def close(self) -> None:
        """Give the file handles back."""
        self.images.close()
        self.small.close()


class Group:
    """One row group in memory: the small columns as lists, the images as Arrow."""

    def __init__(self, shard: OpenShard, place: int) -> None:
        self.start = shard.ends[place - 1] if place else 0
        small = shard.small.read_row_group(place, columns=SMALL, use_threads=False)
        self.columns = {name: small[name].to_pylist() for name in SMALL}
        self.data = shard.images.read_row_group(place, columns=["data"], use_threads=False)["data"].combine_chunks()
        if not len(self.data) == len(small) == shard.ends[place] - self.start:
            raise ValueError("rows are missing")


def group_ends(file: pq.ParquetFile) -> list[int]:
    """The row after the last of each row group of a Parquet file."""
    meta = file.metadata
    return list(itertools.accumulate(meta.row_group(group).num_rows for group in range(meta.num_row_groups)))


def complaint(path: Path, digest: str) -> str:
    """What is wrong with a file that should have this SHA-256; "" if nothing is."""
    try:
        return "" if disk.sha256(path) == digest else "its bytes are not those that were stored"
    except OSError as error:
        return str(error.strerror or error)


def checked_table(path: Path, digest: str, columns: list[str] | None = None) -> pa.Table:
    """A small Parquet table of a store, its digest verified; raises :class:`~tuningfork.errors.BadStore`."""
    wrong = complaint(path, digest)
    if wrong:
        raise BadStore(f"'{path}': {wrong}; {_AGAIN}")
    return pq.read_table(path, columns=columns)


def rejected_table(rejected: Iterable[Rejected]) -> pa.Table:
    """The rejected table (id, reason, detail, source: strings), as every stage writes it."""
    rows = [{"id": r.id, "reason": str(r.reason), "detail": r.detail, "source": r.source} for r in rejected]
    return pa.Table.from_pylist(rows, schema=REJECTED_SCHEMA)
