"""Parquet tables with a column of images, as Hugging Face data sets are published, as a source of galaxies."""

from __future__ import annotations

import bisect
import itertools
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import BadCatalog, BadImage, BadStore, Reason
from .catalog import ID_NAMES, Catalog
from .cutout import Record
from .fits import is_fits
from .folder import Found, image_format, look_through, stem, text
from .raster import kind as raster_kind
from .records import Source, digest_of, refuse_duplicates

_IMAGE_NAMES = ("image", "img", "picture", "jpeg", "jpg", "png", "bytes", "image_bytes", "data")
_BATCH = 64


class ImageTable(Source):
    """Galaxies of one Parquet file, or of all Parquet files below a folder, one a row.

    The image column is the one that the file's Hugging Face metadata calls an Image, else the first of type
    struct{bytes, path}, else a binary one of a usual name ("image", ...). Ids come from a column that names them (id,
    id_str, objid, ...); else from the names of the images' paths where these are all there and all different; else they
    are ``<file>_<row:05d>``. The other columns (numbers and texts) go into ``catalog``; the names of a ClassLabel
    column become ``class``, if no column has that name. Images are read a few at a time, however large the row groups.
    Rows that hold a path without bytes are rejected (missing): paths that a table names are never opened.
    Raises :class:`~tuningfork.errors.BadStore`, :class:`~tuningfork.errors.BadCatalog`, and
    :class:`~tuningfork.errors.DuplicateIds` where the id column has one twice.
    """

    kind = "image table"

    def __init__(
        self,
        path: str | Path,
        *,
        bands: tuple[str, ...] | None = None,
        pixel_scale: float | None = None,
        found: list[Found] | None = None,
    ) -> None:
        root = Path(path)
        found = (look_through(root) if found is None else found) if root.is_dir() else []
        names = [file.path for file in found if file.path.lower().endswith(".parquet")]
        files = [root / name for name in names] if root.is_dir() else [root]
        self._names = names or [root.name]
        try:
            self._files = [pq.ParquetFile(file, buffer_size=1 << 20) for file in files]
            schema = self._files[0].schema_arrow
            self._column = _image_column(schema, path)
            self._ends = list(itertools.accumulate(file.metadata.num_rows for file in self._files))
            table = self._columns(schema)
        except (OSError, pa.ArrowException) as error:
            raise BadStore(f"'{path}' cannot be read as Parquet: {error}") from error
        if not self._ends[-1]:
            raise BadStore(f"'{path}' is empty: its table has no rows")
        catalog = Catalog(table, table.column_names[0], name=f"'{path}'")
        stats = [file.stat() for file in files]
        lines = [f"{name}\n{s.st_size}\n{s.st_mtime_ns}" for name, s in zip(self._names, stats, strict=True)]
        super().__init__(path, catalog.ids, digest_of(lines), bands=bands, pixel_scale=pixel_scale, catalog=catalog)
        self.others = tuple(text(file.path) for file in found if file.path not in set(names))
        self.with_catalog(catalog)
        self._stream: Iterator[pa.RecordBatch] = iter(())
        self._batch: tuple[int, pa.Array] = (0, pa.array([], pa.null()))  # the row it starts at, and the images
        self._stop = 0  # the row behind the row group that the stream reads
        self._guard = threading.Lock()

    def _columns(self, schema: pa.Schema) -> pa.Table:
        """The catalogue's columns, ids first."""
        names = [f.name for f in schema if not pa.types.is_nested(f.type) and not _is_binary(f.type)]
        names = [name for name in names if name != self._column]
        for file, name in zip(self._files, self._names, strict=True):
            if not set(names) | {self._column} <= set(file.schema_arrow.names):
                raise BadStore(f"the files of '{name}' have not the same columns as '{self._names[0]}'")
        # use_threads False: the order of rows, and memory, stay as they are
        parts = [file.read(columns=names, use_threads=False) if names else None for file in self._files]
        table = pa.concat_tables([p for p in parts if p is not None], promote_options="permissive") if names else None
        id_name = next((n for wanted in ID_NAMES for n in names if n.casefold() == wanted), None)
        ordered: dict[str, Any] = {}
        if id_name is None or table is None:
            ordered["id"] = self._made_ids()
        else:
            ordered[id_name] = table[id_name]
            ids = [str(value) for value in table[id_name].to_pylist()]
            refuse_duplicates(ids, [f"row {row}" for row in range(len(ids))], "make the ids of the table unique first")
        for name in names:
            if table is not None and name != id_name:
                ordered[name] = table[name]
        labels = _class_labels(schema)
        if labels is not None and labels[0] in ordered and "class" not in ordered:
            ordered["class"] = _named(ordered[labels[0]].to_pylist(), *labels)
        return pa.table(ordered)

    def _made_ids(self) -> list[str]:
        """Ids for a table without any: the names of the images' paths, else file and row."""
        paths: list[str | None] = []
        if pa.types.is_struct(self._files[0].schema_arrow.field(self._column).type):
            for file in self._files:
                kept = [f"{self._column}.path"] if f"{self._column}.path" in _leaves(file) else []
                column = file.read(columns=kept, use_threads=False)[self._column] if kept else None
                paths += [row and row["path"] for row in column.to_pylist()] if column is not None else [None]
        ids = [stem(path) for path in paths if path]
        if ids and len(ids) == len(paths) == self._ends[-1] and len({i.casefold() for i in ids}) == len(ids):
            return ids
        made = []
        for name, file in zip(self._names, self._files, strict=True):
            prefix = text(name.removesuffix(".parquet"))
            made += [f"{prefix}_{row:05d}" for row in range(file.metadata.num_rows)]
        return made

    def _where(self, row: int) -> str:
        number = bisect.bisect_right(self._ends, row)
        return f"{text(self._names[number])} [{row - (self._ends[number - 1] if number else 0)}]"

    def _read(self, row: int) -> Record:
        with self._guard:
            try:
                value = self._value(row)
            except Exception as error:  # whatever Parquet says of damaged bytes
                self._batch, self._stop = (0, pa.array([], pa.null())), 0
                raise BadImage(Reason.CORRUPT, f"Parquet: {error}") from error
        data, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if not data:
            named = f"the table names only a path ('{path}'); put the bytes into it" if path else "no bytes in this row"
            raise BadImage(Reason.MISSING if data is None else Reason.EMPTY, named)
        told = raster_kind(data) or ("fits" if is_fits(data) else image_format(path or ""))
        return Record(self.ids[row], data, told, self.bands or (), self.pixel_scale, source=self._where(row))

    def _value(self, row: int) -> Any:
        start, images = self._batch
        if not start <= row < start + len(images):
            if not start + len(images) <= row < self._stop:
                self._begin(row)
            start, images = self._batch
            while row >= start + len(images):
                start += len(images)
                images = next(self._stream).column(0)
            self._batch = start, images
        return images[row - start].as_py()

    def _begin(self, row: int) -> None:
        """Start to stream the row group that holds ``row``."""
        number = bisect.bisect_right(self._ends, row)
        file, start = self._files[number], self._ends[number - 1] if number else 0
        group = 0
        while start + file.metadata.row_group(group).num_rows <= row:
            start += file.metadata.row_group(group).num_rows
            group += 1
        self._stream = file.iter_batches(_BATCH, row_groups=[group], columns=[self._column], use_threads=False)
        self._batch, self._stop = (start, pa.array([], pa.null())), start + file.metadata.row_group(group).num_rows


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _leaves(file: pq.ParquetFile) -> list[str]:
    return [file.schema.column(number).path for number in range(len(file.schema))]


def _features(schema: pa.Schema) -> dict[str, Any]:
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _image_column(schema: pa.Schema, path: str | Path) -> str:
    told = [name for name, f in _features(schema).items() if isinstance(f, dict) and f.get("_type") == "Image"]
    structs = [f.name for f in schema if pa.types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0]
    binary = [f.name for f in schema if _is_binary(f.type) and f.name.casefold() in _IMAGE_NAMES]
    for name in (*told, *structs, *binary):
        if name in structs or (name in schema.names and _is_binary(schema.field(name).type)):
            return name
    raise BadStore(
        f"'{path}' has no column of images (a struct of bytes and path, or binary): its columns are "
        f"{', '.join(schema.names[:12])}"
    )


def _class_labels(schema: pa.Schema) -> tuple[str, list[str]] | None:
    """The first ClassLabel column with its names."""
    for name, feature in _features(schema).items():
        if (
            isinstance(feature, dict)
            and feature.get("_type") == "ClassLabel"
            and isinstance(feature.get("names"), list)
        ):
            return name, [str(label) for label in feature["names"]]
    return None


def _named(labels: list[Any], column: str, names: list[str]) -> list[str | None]:
    wrong = [
        label for label in labels if label is not None and not (isinstance(label, int) and -1 <= label < len(names))
    ]
    if wrong:
        raise BadCatalog(f"column '{column}' has the label {wrong[0]!r}, its classes are 0..{len(names) - 1}")
    return [None if label is None or label < 0 else names[label] for label in labels]  # -1: unlabelled, in their words
