"""Questions and their answers, as TOML and back, and the checks that make of them a tree that can be walked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from ..errors import TreeError

NAME = re.compile(r"[A-Za-z0-9_]+")
MOST = 300  # questions of a tree, and answers of a question: far above any survey's, far below what could hurt


@dataclass(frozen=True)
class Answer:
    """One answer; ``next`` is the question that follows it ("" = the classification ends).

    ``alias`` is the published name of its column, where that is not ``{question}_{answer}`` (``P_EL`` of Galaxy Zoo 1).
    """

    name: str
    text: str = ""
    next: str = ""
    alias: str = ""


@dataclass(frozen=True)
class Question:
    """One question with its answers; or, in a tree of attributes, one measured attribute without any.

    ``total`` names the published column that counts the votes on the question. For an attribute, ``low`` and ``high``
    are the ends of its scale and ``undefined`` the value that stands for "not defined" (None: it always is).
    """

    name: str
    text: str = ""
    answers: tuple[Answer, ...] = ()
    total: str = ""
    low: float = 0.0
    high: float = 1.0
    undefined: float | None = None


def nearest(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the known name nearest to ``word``, or nothing where none is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def plain_name(name: str) -> str:
    """``name`` as a column name: whatever is not a letter, a digit or an underscore becomes an underscore."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")


def column_names(questions: Sequence[Question], kind: str) -> tuple[str, ...]:
    """The columns of a tree in order: ``{question}_{answer}``, or the attributes' own names."""
    if kind == "attributes":
        return tuple(question.name for question in questions)
    return tuple(f"{question.name}_{answer.name}" for question in questions for answer in question.answers)


def check_questions(tree: str, kind: str, questions: Sequence[Question]) -> tuple[int, ...]:
    """The questions' indices in an order in which every question comes after all that lead to it.

    Among questions that may come next the first written comes first. Raises :class:`TreeError`, which quotes the
    offending name and the nearest that exists, for: no question; names of other characters than letters, digits and
    underscores; one name twice (case-blind, as FITS columns are); a question without answers; an answer that leads to
    an unknown question; a circle; a question that cannot be reached from the first.
    """
    where = f"in the tree '{tree}'"
    if kind not in ("votes", "attributes"):
        raise TreeError(f"{where}: kind is '{kind}'; it may be 'votes' or 'attributes'{nearest(kind, _KINDS)}")
    if not questions or len(questions) > MOST or any(len(question.answers) > MOST for question in questions):
        counted = f"{len(questions)} questions, {max((len(q.answers) for q in questions), default=0)} answers on one"
        raise TreeError(f"{where}: {counted}; a tree has 1 to {MOST} questions of 1 to {MOST} answers")
    _check_names(where, kind, questions)
    if kind == "attributes":
        _check_attributes(where, questions)
        return tuple(range(len(questions)))
    index = {question.name: number for number, question in enumerate(questions)}
    for question in questions:
        if not question.answers:
            raise TreeError(f"{where}: the question '{question.name}' has no answers; give it [[question.answers]]")
        for answer in question.answers:
            if answer.next and answer.next not in index:
                raise TreeError(
                    f"{where}: the answer '{answer.name}' of '{question.name}' leads to '{answer.next}', which is no "
                    f"question of this tree{nearest(answer.next, index)}"
                )
    return _walk_order(where, questions, index)


_KINDS = ("votes", "attributes")


def _check_names(where: str, kind: str, questions: Sequence[Question]) -> None:
    """Characters, then duplicates among questions, among one question's answers, and among all columns."""
    named = [("question" if kind == "votes" else "attribute", question.name) for question in questions]
    named += [(f"answer of '{question.name}'", answer.name) for question in questions for answer in question.answers]
    for what, name in named:
        if not NAME.fullmatch(name):
            hint = f": write '{plain_name(name)}'" if plain_name(name) else ""
            raise TreeError(f"{where}: the {what} '{name}' may have letters, digits and underscores only{hint}")
    lists: list[tuple[str, Sequence[str]]] = [("questions", [question.name for question in questions])]
    lists += [(f"answers of '{question.name}'", [a.name for a in question.answers]) for question in questions]
    lists += [("columns", column_names(questions, kind))]
    for what, names in lists:
        seen: dict[str, str] = {}
        for name in names:
            if name.lower() in seen:
                raise TreeError(f"{where}: two {what} are named '{seen[name.lower()]}' and '{name}'; rename one")
            seen[name.lower()] = name


def _check_attributes(where: str, questions: Sequence[Question]) -> None:
    for question in questions:
        if question.answers:
            raise TreeError(f"{where}: the attribute '{question.name}' has answers; those belong to kind = 'votes'")
        if not question.low < question.high:
            raise TreeError(
                f"{where}: the attribute '{question.name}' runs from {question.low} to {question.high}; low is less"
            )


def _walk_order(where: str, questions: Sequence[Question], index: Mapping[str, int]) -> tuple[int, ...]:
    """Kahn's topological order from the first question, or the TreeError of a circle or of an island."""
    follows = [{index[a.next] for a in question.answers if a.next} for question in questions]
    reachable, front = {0}, [0]
    while front:
        front = sorted({after for one in front for after in follows[one]} - reachable)
        reachable.update(front)
    waits = [sum(one in follows[before] for before in reachable) for one in range(len(questions))]
    order: list[int] = []
    ready = {0} if waits[0] == 0 else set()
    while ready:
        one = min(ready)
        ready.remove(one)
        order.append(one)
        for after in follows[one]:
            waits[after] -= 1
            if waits[after] == 0:
                ready.add(after)
    stuck = reachable - set(order)
    if stuck:
        circle = _circle(min(stuck), follows, stuck)
        raise TreeError(f"{where}: the questions go in a circle: {' -> '.join(questions[i].name for i in circle)}")
    islands = [questions[one].name for one in range(len(questions)) if one not in reachable]
    if islands:
        raise TreeError(
            f"{where}: no answer leads to the question '{islands[0]}' from the first, '{questions[0].name}'; let an "
            f'answer have next = "{islands[0]}", or take it out'
        )
    return tuple(order)


def _circle(start: int, follows: Sequence[set[int]], stuck: set[int]) -> list[int]:
    """One circle among the questions that no order can hold; every one of them has a stuck predecessor."""
    path = [start]
    while True:
        before = min(one for one in stuck if path[0] in follows[one])
        path.insert(0, before)
        if before in path[1:]:
            return path[: path.index(before, 1) + 1]


def read_questions(tree: str, kind: str, tables: Any) -> tuple[Question, ...]:
    """Questions from the parsed ``[[question]]`` (or ``[[attribute]]``) tables; unknown keys raise TreeError."""
    if not isinstance(tables, list):
        raise TreeError(
            f"in the tree '{tree}': write [[{'question' if kind == 'votes' else 'attribute'}]], in two brackets"
        )
    questions = []
    for number, table in enumerate(tables, 1):
        where = f"question {number} of the tree '{tree}'"
        content = {**take(Question, table, where)}
        answers = content.get("answers", [])
        if not isinstance(answers, list):
            raise TreeError(f"{where}: answers is {answers!r}; it is a list of tables {{ name, text, next }}")
        content["answers"] = tuple(
            Answer(**take(Answer, one, f"answer {i} of question '{content['name']}' of the tree '{tree}'"))
            for i, one in enumerate(answers, 1)
        )
        questions.append(Question(**content))
    return tuple(questions)


def take(cls: type, table: Any, where: str) -> dict[str, Any]:
    """The keys and values of a TOML table that are fields of ``cls``, typed as they are; all else is a TreeError."""
    if not isinstance(table, Mapping):
        raise TreeError(f"{where} is {table!r}; it is a table of {', '.join(f.name for f in fields(cls))}")
    known = {field.name: field for field in fields(cls)}
    taken: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            raise TreeError(f"{where}: there is no key '{key}'{nearest(key, known)}; there are: {', '.join(known)}")
        number = "float" in str(known[key].type)
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) if number else isinstance(value, str)
        if not fits and key not in ("answers", "questions"):
            raise TreeError(f"{where}: {key} is {value!r}; it takes a {'number' if number else 'string'}")
        taken[key] = float(value) if number else value
    missing = [name for name, field in known.items() if field.default is MISSING and name not in taken]
    if missing:
        raise TreeError(f"{where}: '{missing[0]}' is missing; it has {', '.join(table) or 'nothing'}")
    return taken


def write_questions(kind: str, questions: Sequence[Question]) -> list[str]:
    """The lines of TOML that :func:`read_questions` reads back to equal questions; what is default is not written."""
    lines: list[str] = []
    for question in questions:
        lines += ["", f"[[{'question' if kind == 'votes' else 'attribute'}]]"]
        lines += [f"{key} = {toml(value)}" for key, value in _set_keys(question) if key != "answers"]
        if question.answers:
            rows = [
                ", ".join(f"{key} = {toml(value)}" for key, value in _set_keys(answer)) for answer in question.answers
            ]
            lines += ["answers = [", *(f"  {{ {row} }}," for row in rows), "]"]
    return lines


def _set_keys(one: Question | Answer) -> list[tuple[str, Any]]:
    pairs = [(field.name, getattr(one, field.name), field.default) for field in fields(one)]
    return [(name, value) for name, value, default in pairs if value != default]


def toml(value: str | float) -> str:
    """A string or a number as TOML; characters that do not print are escaped."""
    if isinstance(value, str):
        return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08X}" for c in value) + '"'
    return repr(float(value))
