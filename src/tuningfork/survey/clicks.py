"""Clicks of volunteers: read once from an export into a compact spill on disk, from which they can be counted again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .. import disk
from ..errors import BadCatalog
from .account import Account, Rejects
from .annotations import read_annotations, read_columns
from .exports import Block, Export, Fault, Layout, answers_of, subjects_of, times_of, volunteers_of
from .tasks import Answered, TaskMap

Progress = Callable[[int, int, str], None]
_SPILL = pa.schema([("entry", pa.int32()), ("subject", pa.int32()), ("user", pa.int32()), ("column", pa.int16())])
_USER_BITS = 28
_REMEMBERED = 100_000  # different answers whose meaning is kept in mind


@dataclass(eq=False)
class Clicks:
    """All clicks of an export: subjects and volunteers by number, and the clicks themselves on disk.

    ``subject_of``, ``user_of`` and ``time_of`` are of each entry (a row of the export that was used), ``kept`` is False
    for repeated ones. Times are there only where they were asked for. ``n_volunteers`` is per subject. :meth:`close`
    removes the spill.
    """

    tasks: TaskMap
    subjects: list[str]
    users: list[str]
    kept: NDArray[np.bool_]
    n_volunteers: NDArray[np.int32]
    time_of: NDArray[np.int64] | None
    spill: Path
    _file: Any = None

    def batches(self) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]]:
        """The clicks that count, about a million at a time: their entries, subjects, users and columns of the tree."""
        self._file = self._file or pq.ParquetFile(self.spill)
        for batch in self._file.iter_batches(batch_size=1 << 20):
            entry, subject, user, column = (batch.column(name).to_numpy() for name in _SPILL.names)
            good = self.kept[entry]
            yield entry[good], subject[good], user[good], column[good]

    def counts(self) -> NDArray[np.int32]:
        """Votes (subjects, answers of the tree)."""
        counts = np.zeros((len(self.subjects), self.tasks.tree.n_answers), np.int32)
        for _, subject, _, column in self.batches():
            np.add.at(counts, (subject, column), 1)
        return counts

    def close(self) -> None:
        """Remove the spill."""
        if self._file is not None:
            self._file.close()
            self._file = None
        disk.remove(self.spill)


class _Numbered:
    """Texts by number, in the order of their first coming."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def of(self, text: str) -> int:
        number = self._numbers.setdefault(text, len(self.texts))
        if number == len(self.texts):
            self.texts.append(text)
        return number

    def all(self, values: pa.Array) -> NDArray[np.int32]:
        coded = values.dictionary_encode()
        numbers = np.array([self.of(text) for text in coded.dictionary.to_pylist()], np.int32)
        return numbers[coded.indices.to_numpy()] if len(values) else np.zeros(0, np.int32)


class _Reading:
    """The state of one pass over an export."""

    def __init__(self, tasks: TaskMap, layout: Layout, account: Account, rejects: Rejects, id_key: str) -> None:
        self.tasks, self.layout, self.account, self.rejects, self.id_key = tasks, layout, account, rejects, id_key
        self.subjects, self.users = _Numbered(), _Numbered()
        self.galaxies: dict[str, str] = {}  # subject -> the id that its metadata gives
        self.meanings: dict[str, Answered] = {}
        self.n_entries = 0
        self.keys: list[NDArray[np.int64]] = []
        self.units: list[NDArray[np.int64]] = []
        self.rows: list[NDArray[np.int32]] = []
        self.times: list[NDArray[np.int64]] = []
        questions = list(tasks.tree.slices)
        self.question_of = np.array(
            [questions.index(q) for q, part in tasks.tree.slices.items() for _ in range(part.start, part.stop)],
            np.int64,
        )

    def meaning(self, text: str) -> Answered:
        """What an answer's text adds, remembered: most classifications of a tree are among a few thousand."""
        found = self.meanings.get(text)
        if found is None:
            if len(self.meanings) >= _REMEMBERED:
                self.meanings.clear()
            read = read_annotations if self.layout.kind == "classifications" else read_columns
            found = self.meanings[text] = self.tasks.answered(text, read)
        return found

    def refuse(self, block: Block, bad: NDArray[np.bool_], reason: Fault, details: list[str]) -> None:
        """Reject the rows of a mask, each with its detail."""
        for row, detail in zip(block.rows[bad].tolist(), details, strict=True):
            self.rejects.add(row, reason, detail)

    def checked(self, block: Block) -> tuple[Block, pa.Array]:
        """The rows that have one subject, and the galaxies' ids."""
        names = subjects_of(block, self.layout)
        none = pc.equal(names, "").to_numpy(zero_copy_only=False)
        many = pc.match_substring(names, ";").to_numpy(zero_copy_only=False)
        self.refuse(block, none, Fault.NO_SUBJECT, ["an empty cell"] * int(none.sum()))
        self.refuse(block, many, Fault.SEVERAL_SUBJECTS, names.filter(pa.array(many)).to_pylist())
        good = ~none & ~many
        block, names = block.take(good), names.filter(pa.array(good))
        if not self.id_key or not len(block):
            return block, names
        coded = names.dictionary_encode()
        codes = coded.indices.to_numpy()
        data = block.text("subject_data")
        first = np.unique(codes, return_index=True)[1]
        found = []
        for name, row in zip(coded.dictionary.to_pylist(), first.tolist(), strict=True):
            if name not in self.galaxies:
                self.galaxies[name] = _id_within(data[row].as_py(), self.id_key)
            found.append(self.galaxies[name])
        ids = pa.array(found, pa.string()).take(pa.array(codes))
        bad = pc.equal(ids, "").to_numpy(zero_copy_only=False)
        details = [f"subject {name} has no '{self.id_key}'" for name in names.filter(pa.array(bad)).to_pylist()]
        self.refuse(block, bad, Fault.NO_SUBJECT, details)
        return block.take(~bad), ids.filter(pa.array(~bad))

    def add(self, block: Block, timed: bool) -> pa.Table | None:
        """Take in one block; the clicks as rows of the spill."""
        block, ids = self.checked(block)
        if not len(block):
            return None
        coded = answers_of(block, self.layout).dictionary_encode()
        codes = coded.indices.to_numpy()
        meant = [self.meaning(text) for text in coded.dictionary.to_pylist()]
        broken = np.array([bool(one.error) for one in meant])[codes]
        self.refuse(block, broken, Fault.BROKEN_JSON, [meant[code].error for code in codes[broken].tolist()])
        for one, number in zip(meant, np.bincount(codes, minlength=len(meant)).tolist(), strict=True):
            for flaw in one.flaws:
                self.account.flaws[flaw] += number
        good = ~broken
        times = times_of(block, self.layout) if timed and self.layout.time else None
        if times is not None:
            late = good & (times == np.iinfo(np.int64).min)
            self.refuse(block, late, Fault.NO_TIME, ["no time that can be read"] * int(late.sum()))
            good &= ~late
            self.times.append(times[good])
        block, ids, codes = block.take(good), ids.filter(pa.array(good)), codes[good]
        return self._spilled(block, ids, codes, meant)

    def _spilled(self, block: Block, ids: pa.Array, codes: NDArray[Any], meant: list[Answered]) -> pa.Table:
        subject, user = self.subjects.all(ids), self.users.all(volunteers_of(block, self.layout))
        if len(self.users.texts) >= 1 << _USER_BITS:
            raise BadCatalog(f"more than {1 << _USER_BITS:,} volunteers; split the export")
        lengths = np.array([len(one.columns) for one in meant], np.int64)
        columns = np.array([column for one in meant for column in one.columns], np.int16)
        starts = np.cumsum(lengths) - lengths
        each = lengths[codes]
        entry = np.repeat(np.arange(len(block)), each)
        place = np.arange(int(each.sum())) - np.repeat(np.cumsum(each) - each, each) + starts[codes][entry]
        question = np.zeros(len(block), np.int64)
        if self.layout.kind == "clicks":  # without classifications, a volunteer answers each question once
            question[entry] = 1 + self.question_of[columns[place]]
        spread = len(self.tasks.tree.slices) + 1
        self.keys.append(((subject.astype(np.int64) * spread + question) << _USER_BITS) | user)
        if self.layout.unit:
            self.units.append(_whole(block.text(self.layout.unit), self.layout.unit))
        self.rows.append(block.rows.astype(np.int32))
        table = [self.n_entries + entry, subject[entry], user[entry], columns[place]]
        self.n_entries += len(block)
        return pa.table([pa.array(c, f.type) for c, f in zip(table, _SPILL, strict=True)], schema=_SPILL)

    def settled(self) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
        """Which entries count (of each volunteer's on a subject only the first), and volunteers per subject."""
        keys = np.concatenate(self.keys) if self.keys else np.zeros(0, np.int64)
        rows = np.concatenate(self.rows) if self.rows else np.zeros(0, np.int32)
        self.keys.clear()
        self.rows.clear()
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        fresh = np.ones(len(keys), bool)
        fresh[1:] = ordered[1:] != ordered[:-1]
        first = order[np.maximum.accumulate(np.where(fresh, np.arange(len(keys)), 0))]  # of each key, in file order
        if self.units:
            units = np.concatenate(self.units)
            again = units[order] != units[first]
        else:
            again = ~fresh
        kept = np.ones(len(keys), bool)
        kept[order[again]] = False
        for row, before in zip(rows[order[again]].tolist(), rows[first[again]].tolist(), strict=True):
            self.rejects.add(row, Fault.DUPLICATE, f"the same volunteer on the same subject as in row {before}")
        spread = len(self.tasks.tree.slices) + 1
        pairs = ((ordered[fresh] >> _USER_BITS) // spread << _USER_BITS) | (ordered[fresh] & ((1 << _USER_BITS) - 1))
        pairs = np.unique(pairs) if self.layout.kind == "clicks" else pairs
        people = np.bincount(pairs >> _USER_BITS, minlength=len(self.subjects.texts))
        return kept, people.astype(np.int32)


def _whole(texts: pa.Array, name: str) -> NDArray[np.int64]:
    try:
        return texts.cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise BadCatalog(f"the column '{name}' should hold whole numbers: {error}") from error


def _id_within(text: str, key: str) -> str:
    """The value of ``key`` (perhaps hidden from volunteers by #, ! or //) in a subject's metadata, "" if none."""
    try:
        subjects = json.loads(text)
        one = next(iter(subjects.values()))
        value = next(one[name] for name in (key, f"#{key}", f"!{key}", f"//{key}") if name in one)
    except (ValueError, RecursionError, AttributeError, StopIteration, TypeError):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return "" if value is None or isinstance(value, (list, dict)) else str(value).strip()


def read_clicks(
    export: Export,
    spill: str | Path,
    tasks: TaskMap,
    account: Account,
    rejects: Rejects,
    *,
    id_key: str = "",
    workflow: str = "",
    timed: bool = False,
    progress: Progress | None = None,
) -> Clicks:
    """Read an export whose rows name volunteers; of a volunteer's classifications of one subject, the first counts.

    The clicks go to ``spill``, 14 bytes each before compression. In memory stay 12 bytes per row (20 for extracts, 8
    more with ``timed``), the names of subjects and volunteers, and twice that while repeated rows are sought. (Galaxy
    Zoo 2 kept the last instead of the first; one row in a hundred is repeated.) ``id_key`` names the field of the
    subjects' metadata that is the galaxy's id; "" takes Zooniverse's own number. ``workflow`` leaves other workflows
    out. ``account`` and ``rejects`` are filled. Raises :class:`~tuningfork.errors.BadCatalog` as :class:`Export` does.
    """
    reading = _Reading(tasks, export.layout, account, rejects, id_key)
    account.layout = export.layout.kind
    with disk.atomic(spill) as part, pq.ParquetWriter(part, _SPILL) as writer:
        for block in export:
            pass_on(export, rejects)
            block = chosen(block, export.layout, workflow, account)
            table = reading.add(block, timed) if len(block) else None
            if table is not None and table.num_rows:
                writer.write_table(table)
            if progress is not None:
                progress(export.position, export.size, f"{reading.n_entries:,} classifications")
        pass_on(export, rejects)
    account.n_in = export.n_rows - account.n_left_out
    kept, people = reading.settled()
    account.n_done = int(kept.sum())
    times = np.concatenate(reading.times) if reading.times else None
    return Clicks(tasks, reading.subjects.texts, reading.users.texts, kept, people, times, Path(spill))


def pass_on(export: Export, rejects: Rejects) -> None:
    """Hand the rows that are none over to the rejected ones."""
    for row, reason, detail in export.rejected:
        rejects.add(row, reason, detail)
    export.rejected.clear()


def chosen(block: Block, layout: Layout, workflow: str, account: Account) -> Block:
    """The rows of the workflow ("" = all), every row counted under its own."""
    if not layout.workflow:
        return block
    names = block.text(layout.workflow)
    for one in pc.value_counts(names).to_pylist():
        account.workflows[one["values"]] += one["counts"]
    if not workflow:
        return block
    good = pc.equal(names, workflow).to_numpy(zero_copy_only=False)
    account.n_left_out += int((~good).sum())
    return block.take(good)
