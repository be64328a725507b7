"""What one classification says: the JSON that Panoptes writes for tasks of every kind, as tasks and chosen texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

NOTHING = "nothing"
"""The text of an answer that leaves all boxes unticked, or the picture unmarked."""

JOIN = "\x1f"
"""Stands between a task and its answers where an export has them in columns of their own."""


class Said(NamedTuple):
    """One task of one classification: its key (``T0``), its wording, and the texts that were chosen.

    ``texts`` is () where the volunteer left without an answer; :data:`NOTHING` stands for a list without entries.
    """

    task: str
    label: str
    texts: tuple[str, ...]


def read_annotations(text: str) -> list[Said]:
    """The tasks of a classification export's ``annotations``; raises ValueError, with the reason, for broken JSON.

    Single questions have a text; questions with check boxes, drop-downs and drawings a list; combinations a list of
    annotations, which stand for themselves here. Of a drawing, the texts are the labels of the tools that were used
    (each once, however many marks); of a survey task, the choices.
    """
    try:
        annotations = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"annotations are no JSON: {error}") from None
    if not isinstance(annotations, list):
        raise ValueError(f"annotations are {type(annotations).__name__}, not a list")
    return list(_said(annotations, 0))


def _said(annotations: list[Any], depth: int) -> Iterator[Said]:
    for one in annotations:
        if not isinstance(one, dict) or depth > 8:
            raise ValueError(f"an annotation is no object but {str(one)[:60]!r}")
        value = one.get("value")
        if isinstance(value, list) and any(isinstance(part, dict) and "task" in part for part in value):
            yield from _said(value, depth + 1)
            continue
        yield Said(str(one.get("task") or ""), str(one.get("task_label") or ""), _texts(value))


def _texts(value: Any) -> tuple[str, ...]:
    """A value's texts, each once, in order."""
    if isinstance(value, list):
        found = dict.fromkeys(text for part in value for text in _texts(part))
        return tuple(found) or (NOTHING,)
    if isinstance(value, dict):
        for key in ("tool_label", "label", "choice", "value", "tool"):
            if value.get(key) not in (None, ""):
                inner = value[key]
                return _texts(inner) if isinstance(inner, (list, dict)) else (str(inner),)
        return ()
    return () if value is None or value == "" else (str(value),)


def read_columns(text: str) -> list[Said]:
    """The one task of a row whose task and answers stand in columns: ``task JOIN answer JOIN answer ...``."""
    task, *texts = text.split(JOIN)
    return [Said(task, task, tuple(one for one in texts if one))]
