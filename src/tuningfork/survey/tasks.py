"""Which question of a tree a Zooniverse task asks, and which answer a text is: by wording, or by the user's map."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import TreeError, describe
from ..galaxy.question import nearest
from ..galaxy.tree import Tree
from .annotations import NOTHING, Said

Flaw = tuple[str, str]
"""What could not be used of an answer: a kind of :data:`FLAWS`, and what it was."""

FLAWS = {
    "task": "tasks that are no question of the tree",
    "answer": "answers that are not in the tree",
    "empty": "questions left without an answer",
    "repeated": "questions answered again in one classification (the first answer counts)",
    "several": "questions with several answers ticked (each counts)",
}


def plain(text: str) -> str:
    """A text's letters and digits, for comparison: no pictures, links or tags, lower case, single spaces.

    ``"![tight.png](https://...) **Can't tell**"`` and ``"cant-tell"`` are both ``"cant tell"``.
    """
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)|<[^>]*>", " ", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"[\W_]+", " ", re.sub(r"['\u2019\u2018`]", "", text)).strip().casefold()


@dataclass(frozen=True)
class Answered:
    """What one classification adds: columns of the tree, and what of it could not be used.

    ``error`` is the reason why nothing of it can be: text that is no JSON, or not of Panoptes' form.
    """

    columns: tuple[int, ...] = ()
    flaws: tuple[Flaw, ...] = ()
    error: str = ""


class TaskMap:
    """Finds questions and answers of ``tree`` (kind "votes") for tasks and texts of a project.

    A task is a question if its wording, less pictures and punctuation, is the question's, or if its key or wording is
    the question's name (``t03_bar``, or ``bar``); an answer likewise. What is worded otherwise is never guessed: it is
    counted as a flaw, and a map says what it is. ``choices`` is that map, or its TOML file::

        [T0]                                  # a task, by its key or its whole wording
        question = "t01_smooth_or_features"   # "" leaves the task out, without being counted
        [T0.answers]                          # optional: those not named are matched by wording
        "Features or Disc" = "a02_features_or_disk"
        "nothing" = "a03_star_or_artifact"    # what an empty list, or a picture without marks, stands for

    Raises :class:`~tuningfork.errors.TreeError` for a map that names what the tree does not have.
    """

    def __init__(self, tree: Tree, choices: Mapping[str, Any] | str | Path | None = None) -> None:
        if tree.kind != "votes":
            raise TreeError(f"the tree '{tree.name}' has attributes, which nobody votes on")
        self.tree = tree
        self._questions = _by_wording({q.name: _spellings(q.name, q.text) for q in tree.questions})
        self._answers: dict[str, dict[str, str]] = {
            q.name: _by_wording({a.name: _spellings(a.name, a.text) for a in q.answers}) for q in tree.questions
        }
        self._columns = {
            (q.name, a.name): tree.slices[q.name].start + number
            for q in tree.questions
            for number, a in enumerate(q.answers)
        }
        self._given: dict[str, tuple[str, dict[str, str]]] = {}
        where = describe(choices) if isinstance(choices, (str, Path)) else "the map"
        for task, one in _table(choices, where).items():
            self._given[task] = self._given[plain(task)] = self._checked(task, one, where)

    def _checked(self, task: str, one: Any, where: str) -> tuple[str, dict[str, str]]:
        if not isinstance(one, Mapping) or set(one) - {"question", "answers"} or "question" not in one:
            raise TreeError(f"in {where}: the task '{task}' takes question = \"...\" and a table answers, not {one!r}")
        answers = one.get("answers", {})
        if not one["question"]:
            return "", {}
        question = self.tree.question(str(one["question"]))
        known = [answer.name for answer in question.answers]
        if not isinstance(answers, Mapping):
            raise TreeError(f'in {where}: the answers of \'{task}\' are a table "text" = "answer", not {answers!r}')
        for text, name in answers.items():
            if name and name not in known:
                raise TreeError(
                    f"in {where}: '{question.name}' has no answer '{name}' for \"{text}\"{nearest(str(name), known)}: "
                    f"{', '.join(known)}"
                )
        return question.name, {key: str(name) for text, name in answers.items() for key in (text, plain(text))}

    def question(self, task: str, label: str) -> str | None:
        """The name of the question that a task asks; "" for a task that the map leaves out, None for an unknown one."""
        for key in (task, label, plain(label)):
            if key and key in self._given:
                return self._given[key][0]
        return self._questions.get(plain(label)) or self._questions.get(plain(task))

    def column(self, task: str, label: str, question: str, text: str) -> int | None:
        """The column of an answer; -1 for one that the map leaves out, None for one that is not in the tree."""
        for key in (task, label, plain(label)):
            if key and key in self._given:
                answers = self._given[key][1]
                name = answers.get(text, answers.get(plain(text)))
                if name is not None:
                    return self._columns[question, name] if name else -1
        name = self._answers[question].get(plain(text))
        return None if name is None else self._columns[question, name]

    def answered(self, text: str, read: Callable[[str], list[Said]]) -> Answered:
        """What ``text``, which ``read`` takes apart, adds to the votes."""
        try:
            said = read(text)
        except (ValueError, RecursionError) as error:
            return Answered(error=str(error)[:200])
        columns: list[int] = []
        flaws: list[Flaw] = []
        seen: set[str] = set()
        for one in said:
            question = self.question(one.task, one.label)
            if question is None:
                flaws.append(("task", f"{one.task} {one.label[:80]!r}" if one.label != one.task else one.task))
            elif question and not one.texts:
                flaws.append(("empty", question))
            elif question and question in seen:
                flaws.append(("repeated", question))
            elif question:
                found = self._found(one, question, flaws)
                seen.update([question] if found else [])
                columns += found
        return Answered(tuple(columns), tuple(flaws))

    def _found(self, one: Said, question: str, flaws: list[Flaw]) -> list[int]:
        found = []
        for text in one.texts:
            column = self.column(one.task, one.label, question, text)
            if column is None:
                kind = "empty" if text == NOTHING else "answer"
                flaws.append((kind, question if text == NOTHING else f"{question}: {text[:80]!r}"))
            elif column >= 0:
                found.append(column)
        if len(found) > 1:
            flaws.append(("several", question))
        return found


def _spellings(name: str, text: str) -> set[str]:
    """How a question or answer may be worded: its text (can-t-tell, too), its name, with its number or not."""
    return {plain(text), plain(text.replace("'", " ")), plain(name), plain(re.sub(r"^[at]\d+_", "", name))} - {""}


def _by_wording(spellings: Mapping[str, set[str]]) -> dict[str, str]:
    """Wordings to names; a wording that two share means neither."""
    shared = Counter(word for words in spellings.values() for word in words)
    return {word: name for name, words in spellings.items() for word in words if shared[word] == 1}


def _table(choices: Mapping[str, Any] | str | Path | None, where: str) -> Mapping[str, Any]:
    if choices is None:
        return {}
    if isinstance(choices, Mapping):
        return choices
    try:
        return tomllib.loads(Path(choices).read_text(encoding="utf-8"))
    except OSError as error:
        raise TreeError(f"cannot read the map {where}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise TreeError(f"the map {where} is no TOML: {error}") from error
