"""An export of clicks read in blocks: which of four layouts it has, and of each row who answered what about whom."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from ..errors import BadCatalog
from ..galaxy.csvfile import refuse_twins
from .annotations import JOIN, NOTHING

LAYOUTS = ("classifications", "extracts", "clicks", "reductions")
BLOCK_BYTES = 8 << 20
_SUBJECT = ("subject_id", "subject_ids", "subject", "galaxy", "asset_id")
_USER = ("user_name", "user", "user_id", "volunteer")
_QUESTION = ("question", "task_label", "task")
_ANSWER = ("answer", "value")
_NO_ANSWER = ("data.aggregation_version", "data.classifier_version", "data.gold_standard", "data.user_ids")


class Fault(StrEnum):
    """Why a row of an export was rejected: the closed list that stands in the column ``reason``."""

    RAGGED = "ragged"  # not as many cells as the header has
    NOT_UTF8 = "not_utf8"  # bytes that are no text
    BROKEN_JSON = "broken_json"  # annotations or subject data that are no JSON, or not of Panoptes' form
    NO_SUBJECT = "no_subject"  # no subject, or one without the id that was asked for
    SEVERAL_SUBJECTS = "several_subjects"  # one classification of several subjects
    DUPLICATE = "duplicate"  # the same volunteer on the same subject again
    NOT_A_COUNT = "not_a_count"  # a reduction whose counts are no whole numbers
    NO_TIME = "no_time"  # no time, where the order of the clicks matters


@dataclass(frozen=True)
class Layout:
    """An export's kind (of :data:`LAYOUTS`) and its columns by what they hold; "" or () where it has none."""

    kind: str
    subject: str
    user: str = ""
    task: str = ""
    answers: tuple[str, ...] = ()
    time: str = ""
    unit: str = ""
    workflow: str = ""

    @property
    def used(self) -> list[str]:
        """The columns that are read, each once; those of a classification that tell who it was among them."""
        more = ["user_id", "user_ip", "metadata", "subject_data"] if self.kind == "classifications" else []
        named = [self.subject, self.user, self.task, *self.answers, self.time, self.unit, self.workflow, *more]
        return list(dict.fromkeys(name for name in named if name))


def find_layout(names: Sequence[str], path: str | Path) -> Layout:
    """The layout of an export with these columns; raises :class:`~tuningfork.errors.BadCatalog` for a table of none.

    - "classifications": Panoptes' classification export (``annotations``, ``subject_ids``).
    - "extracts": question extracts of panoptes_aggregation or Caesar (``classification_id``, ``task`` or
      ``extractor_key``, ``data.yes``, ``data.no``, ...).
    - "reductions": their question reductions (``reducer`` or ``reducer_key``): counts, and no volunteers.
    - "clicks": one answer a row (subject, user, question, answer).
    """

    def one(known: Sequence[str]) -> str:
        return next((name for name in known if name in names), "")

    subject, user, task = one(_SUBJECT), one(_USER), one(("task", "extractor_key", "reducer_key"))
    data = tuple(name for name in names if name.startswith("data.") and name not in _NO_ANSWER)
    workflow = one(("workflow_id",))
    if "annotations" in names and subject:
        return Layout("classifications", subject, one(("user_name",)), "annotations", (), one(("created_at",)),
                      workflow=workflow)  # fmt: skip
    if subject and task and one(("reducer", "reducer_key")) and (data or "data" in names):
        return Layout("reductions", subject, task=task, answers=data or ("data",), workflow=workflow)
    if subject and task and data and user:
        unit = one(("classification_id",))
        return Layout("extracts", subject, user, task, data, one(("created_at",)), unit, workflow)
    if subject and user and one(_QUESTION) and one(_ANSWER):
        time = one(("created_at", "time", "timestamp"))
        return Layout("clicks", subject, user, one(_QUESTION), (one(_ANSWER),), time, workflow=workflow)
    raise BadCatalog(
        f"'{path}' is no export of clicks that is known here: its columns are {', '.join(names[:20])}. Give Panoptes' "
        "classification export (annotations, subject_ids), panoptes_aggregation's question extracts or reductions "
        "(subject_id, task, data.<answer>), or a table of subject, user, question and answer"
    )


@dataclass(frozen=True, eq=False)
class Block:
    """Some rows of an export: their numbers as a spreadsheet counts (the header is 1), and their columns as text."""

    rows: NDArray[np.int64]
    cells: pa.Table

    def __len__(self) -> int:
        return len(self.rows)

    def text(self, name: str) -> pa.Array:
        """One column as text without nulls; empty throughout where the export does not have it."""
        if name not in self.cells.column_names:
            return pa.array([""] * len(self), pa.string())
        return self.cells.column(name).combine_chunks()

    def take(self, kept: NDArray[np.bool_]) -> Block:
        """The rows of a mask."""
        return self if kept.all() else Block(self.rows[kept], self.cells.filter(pa.array(kept)))


Rejection = tuple[int, Fault, str]


class Export:
    """A CSV (gzipped or not) in one of the layouts, read block by block: memory does not grow with its length.

    Iterating gives :class:`Block` after :class:`Block`; rows that are none go to ``rejected``, a list that the reader
    of the blocks empties. ``n_rows`` counts all rows so far; ``position`` and ``size`` are in bytes of the file.
    Raises :class:`~tuningfork.errors.BadCatalog` for a file without rows, of no known layout, or with a quotation mark
    that is never closed.
    """

    def __init__(self, path: str | Path, *, block_bytes: int = BLOCK_BYTES) -> None:
        self.path = Path(path)
        self.rejected: list[Rejection] = []
        self.n_rows = 0
        self._skipped: list[int] = []
        self._next = 2
        try:
            self.size = self.path.stat().st_size
            self._file = self.path.open("rb")
        except OSError as error:
            raise BadCatalog(f"cannot read '{path}': {error.strerror or error}") from error
        try:
            self.layout, self._reader = self._opened(block_bytes)
        except BaseException:
            self._file.close()
            raise

    def _opened(self, block_bytes: int) -> tuple[Layout, Any]:
        gzipped = self._file.read(2) == b"\x1f\x8b"
        self._file.seek(0)
        names = self._header(gzipped)
        layout = find_layout(names, self.path)
        self._file.seek(0)
        with self._told():
            reader = pa_csv.open_csv(
                pa.CompressedInputStream(self._file, "gzip") if gzipped else self._file,
                pa_csv.ReadOptions(use_threads=False, block_size=block_bytes),
                pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=self._ragged),
                pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.binary()),
                    include_columns=[name for name in layout.used if name in names],
                    strings_can_be_null=False,
                ),
            )
        return layout, reader

    def _header(self, gzipped: bool) -> list[str]:
        """The names of the columns: the first record."""
        with self._told():
            lines = io.TextIOWrapper(gzip.GzipFile(fileobj=self._file) if gzipped else self._file, "utf-8-sig")
            try:
                names = next(csv.reader(lines), [])
            finally:
                lines.detach()
        if not any(names):
            raise BadCatalog(f"'{self.path}' is empty")
        refuse_twins(names, self.path)
        return names

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowInvalid, csv.Error, UnicodeDecodeError, EOFError, gzip.BadGzipFile, OSError) as error:
            raise BadCatalog(
                f"'{self.path}' cannot be read on from row {self._next}: {str(error)[:200]}. A quotation mark may be "
                "open there, or the download cut short: fetch the export again"
            ) from error

    def _ragged(self, row: Any) -> str:
        number = int(row.number or 0)
        self._skipped.append(number)
        detail = f"{row.actual_columns} cells, not {row.expected_columns}: {row.text[:100]!r}"
        self.rejected.append((number, Fault.RAGGED, detail))
        return "skip"

    @property
    def position(self) -> int:
        """How many bytes of the file have been read."""
        return 0 if self._file.closed else self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Export:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Block]:
        while True:
            with self._told():
                batch = next(self._reader, None)
            if batch is None:
                break
            if batch.num_rows:
                yield self._block(batch)
        self.n_rows = self._next - 2 + len(self._skipped)

    def _block(self, batch: pa.RecordBatch) -> Block:
        n = batch.num_rows
        rows = np.arange(self._next, self._next + n + len(self._skipped))
        rows = rows[~np.isin(rows, self._skipped)][:n]  # rows that were skipped have their numbers too
        self._next = int(rows[-1]) + 1
        self._skipped = [number for number in self._skipped if number >= self._next]
        self.n_rows = self._next - 2
        columns, good = {}, np.ones(n, dtype=bool)
        for name in batch.schema.names:
            try:
                columns[name] = batch.column(name).cast(pa.string())
            except pa.ArrowInvalid:
                columns[name] = pa.array(
                    [self._decoded(cell, good, row) for row, cell in enumerate(batch.column(name))]
                )
        for row in rows[~good].tolist():
            self.rejected.append((row, Fault.NOT_UTF8, "bytes that are no UTF-8"))
        return Block(rows, pa.table(columns)).take(good)

    @staticmethod
    def _decoded(cell: pa.Scalar, good: NDArray[np.bool_], row: int) -> str:
        try:
            return cell.as_py().decode()
        except UnicodeDecodeError:
            good[row] = False
            return ""


def subjects_of(block: Block, layout: Layout) -> pa.Array:
    """The subject of each row as text: "" where it has none, and with a ";" in it where it has several."""
    return pc.replace_substring_regex(pc.utf8_trim_whitespace(block.text(layout.subject)), r"[;,|]\s*", ";")


def volunteers_of(block: Block, layout: Layout) -> pa.Array:
    """Who answered, as text: the user name (``not-logged-in-<hash of the address>`` for those without an account).

    Where a classification has no name: the account's number; the hash of the address; the browser's session; and
    where there is none of these, the row itself, so that nobody is taken for somebody else.
    """
    names = pc.utf8_trim_whitespace(block.text(layout.user))
    nameless = pc.or_(pc.equal(names, ""), pc.equal(names, "not-logged-in"))
    if not pc.any(nameless).as_py():
        return names
    session = pc.extract_regex(block.text("metadata"), r'"session":\s*"(?P<session>[^"]+)"')
    rows = pa.array([f"row {row}" for row in block.rows.tolist()])
    choices = [
        _prefixed("user ", block.text("user_id")),
        _prefixed("not-logged-in-", block.text("user_ip")),
        _prefixed("session ", pc.fill_null(pc.struct_field(session, "session"), "")),
        rows,
    ]
    return pc.if_else(nameless, pc.coalesce(*choices), names)


def _prefixed(prefix: str, values: pa.Array) -> pa.Array:
    """``prefix`` before each text, null where that is empty."""
    return pc.if_else(pc.equal(values, ""), None, pc.binary_join_element_wise(prefix, values, ""))


def answers_of(block: Block, layout: Layout) -> pa.Array:
    """What was answered, one text a row, that :mod:`~tuningfork.survey.annotations` takes apart.

    For "classifications" the JSON; else the task and the answers that were given (of extracts: whose cell is neither
    empty nor 0), joined.
    """
    if layout.kind == "classifications":
        return block.text(layout.task)
    if layout.kind == "clicks":
        return pc.binary_join_element_wise(block.text(layout.task), block.text(layout.answers[0]), JOIN)
    parts = [block.text(layout.task)]
    for name in layout.answers:
        chosen = pc.invert(pc.is_in(block.text(name), pa.array(["", "0", "0.0"])))
        answer = name.removeprefix("data.")
        parts.append(pc.if_else(chosen, NOTHING if answer == "None" else answer, ""))
    return pc.binary_join_element_wise(*parts, JOIN)


def times_of(block: Block, layout: Layout) -> NDArray[np.int64]:
    """When each row was made, in seconds since 1970 (UTC); the smallest int64 where it does not say."""
    texts = pc.replace_substring(pc.utf8_slice_codeunits(block.text(layout.time), 0, 19), "T", " ")
    seconds = pc.strptime(texts, format="%Y-%m-%d %H:%M:%S", unit="s", error_is_null=True)
    return pc.fill_null(seconds.cast(pa.int64()), np.iinfo(np.int64).min).to_numpy(zero_copy_only=False)
