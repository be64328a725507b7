"""Votes from reductions, which somebody has counted already: one row per subject and task, one column per answer."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .account import Account, Rejects
from .clicks import Progress, chosen, pass_on
from .exports import Export, Fault, subjects_of
from .tasks import TaskMap


def read_reductions(
    export: Export,
    tasks: TaskMap,
    account: Account,
    rejects: Rejects,
    *,
    workflow: str = "",
    progress: Progress | None = None,
) -> tuple[list[str], NDArray[np.int32]]:
    """The subjects of a reductions export, and their counts (subjects, answers of the tree).

    The answers are columns ``data.<answer>`` or one column ``data`` with an object, as JSON or as Python writes it. An
    empty cell is no vote. A second row for a question of a subject is rejected as a duplicate, one whose counts are no
    whole numbers as "not_a_count". Raises :class:`~tuningfork.errors.BadCatalog` as :class:`Export` does.
    """
    layout = export.layout
    account.layout = layout.kind
    numbers: dict[str, int] = {}
    counts: list[NDArray[np.int32]] = []
    seen: set[tuple[int, str]] = set()
    for block in export:
        pass_on(export, rejects)
        block = chosen(block, layout, workflow, account)
        cells = [block.text(name).to_pylist() for name in layout.answers]
        names = [name.removeprefix("data.") for name in layout.answers]
        subjects, asked = subjects_of(block, layout).to_pylist(), block.text(layout.task).to_pylist()
        for row, subject, task, *values in zip(block.rows.tolist(), subjects, asked, *cells, strict=True):
            fault, detail, votes = _votes(subject, values, names)
            question = tasks.question(task, task)
            number = numbers.setdefault(subject, len(numbers)) if fault is None else -1
            if fault is None and question and (number, question) in seen:
                fault, detail = Fault.DUPLICATE, f"{question} of subject {subject} again"
            if fault is not None:
                rejects.add(row, fault, detail)
                continue
            if number == len(counts):
                counts.append(np.zeros(tasks.tree.n_answers, np.int32))
            if question is None:
                account.flaws["task", task] += 1
            elif question:
                seen.add((number, question))
                _add(counts[number], tasks, account, task, question, votes)
            account.n_done += 1
        if progress is not None:
            progress(export.position, export.size, f"{len(numbers):,} subjects")
    pass_on(export, rejects)
    account.n_in = export.n_rows - account.n_left_out
    return list(numbers), np.stack(counts) if counts else np.zeros((0, tasks.tree.n_answers), np.int32)


def _votes(subject: str, values: list[str], names: list[str]) -> tuple[Fault | None, str, dict[str, int]]:
    """The counts of one row by answer, or why there are none."""
    if not subject or ";" in subject:
        return (Fault.SEVERAL_SUBJECTS if subject else Fault.NO_SUBJECT), subject or "an empty cell", {}
    pairs: dict[str, Any] = dict(zip(names, values, strict=True))
    if names == ["data"]:
        try:
            pairs = json.loads(values[0].replace("'", '"')) if values[0] else {}
            if not isinstance(pairs, dict):
                raise ValueError("no object")
        except (ValueError, RecursionError) as error:
            return Fault.BROKEN_JSON, f"data is {values[0][:80]!r}: {error}", {}
    votes = {}
    for name, value in pairs.items():
        try:
            number = float(value or 0)
        except (TypeError, ValueError):
            number = -1.0
        if number < 0 or number != int(min(number, 2**31)):
            return Fault.NOT_A_COUNT, f"{name} is {str(value)[:60]!r}", {}
        if number:
            votes[str(name)] = int(number)
    return None, "", votes


def _add(
    row: NDArray[np.int32], tasks: TaskMap, account: Account, task: str, question: str, votes: dict[str, int]
) -> None:
    for text, number in votes.items():
        column = tasks.column(task, task, question, text)
        if column is None:
            account.flaws["answer", f"{question}: {text!r}"] += number
        elif column >= 0:
            row[column] += number
