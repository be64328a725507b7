"""A decision tree: what volunteers are asked and in which order, and what follows from that for counts and fractions.

A tree is a directed acyclic graph: a question may be reached from several answers of several questions, and several
answers of one question may lead to one question. All arrays hold one galaxy per row and one answer per column, in the
order of :attr:`Tree.columns`; functions take any leading shape, compute in float64 and leave their arguments alone.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import TreeError, describe
from .impossible import impossible_counts, impossible_cumulative, impossible_fractions, listed
from .question import (
    Answer,
    Question,
    check_questions,
    column_names,
    nearest,
    read_questions,
    take,
    toml,
    write_questions,
)
from .treetext import draw_attributes, draw_text

Floats = NDArray[np.float64]
FOLDER = Path(__file__).parent / "trees"
TREES = ("gz2", "gz1", "decals_dr12", "decals_dr5", "candels", "hubble", "efigi")
Q6 = Literal["as_published", "routed"]
CHALLENGE = tuple(f"Class{q}.{a}" for q, n in enumerate((3, 2, 2, 2, 4, 2, 3, 7, 3, 3, 6), 1) for a in range(1, n + 1))
# The questions of the Galaxy Challenge whose columns sum to 1: by a flaw in how they were made, the sixth too.
ALWAYS = {"as_published": ("t01_smooth_or_features", "t06_odd"), "routed": ("t01_smooth_or_features",)}


@dataclass(frozen=True)
class Tree:
    """A survey's questions. Make one with :meth:`load` or :meth:`from_toml`; it is checked as it is made (TreeError).

    ``kind`` is "votes", or "attributes" for a catalogue of measured quantities (EFIGI), whose ``questions`` have no
    answers and whose published bounds are the columns with the suffixes ``lower`` and ``upper``.
    """

    name: str
    title: str = ""
    kind: str = "votes"
    citation: str = ""
    source: str = ""
    lower: str = ""
    upper: str = ""
    questions: tuple[Question, ...] = ()

    def __post_init__(self) -> None:
        _ = self.order

    @staticmethod
    def load(name_or_path: str | Path) -> Tree:
        """A built-in tree by name (:data:`TREES`), or the user's own from a TOML file. Raises :class:`TreeError`."""
        path = FOLDER / f"{name_or_path}.toml" if str(name_or_path) in TREES else Path(name_or_path)
        if path.suffix != ".toml":
            raise TreeError(
                f"there is no tree {describe(name_or_path)}{nearest(str(name_or_path), TREES)}; built in are: "
                f"{', '.join(TREES)}; your own is a file that ends in .toml"
            )
        try:
            return Tree.from_toml(path.read_text(encoding="utf-8"), describe(path))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise TreeError(f"cannot read the tree {describe(path)}: {reason}") from error

    @staticmethod
    def from_toml(text: str, where: str = "this text") -> Tree:
        """The tree that ``text`` writes out, the inverse of :meth:`to_toml`. Raises :class:`TreeError`."""
        try:
            table: dict[str, Any] = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise TreeError(f"the tree in {where} is no TOML: {error}") from error
        given = {"question", "attribute"} & set(table)
        tables = [table.pop(key) for key in sorted(given)]
        content = take(Tree, table, f"the tree in {where}")
        kind = content.get("kind", "votes")
        expected = "attribute" if kind == "attributes" else "question"
        if given != {expected} or "questions" in content:
            found = ", ".join(f"[[{key}]]" for key in sorted(given)) or "neither"
            raise TreeError(f"the tree in {where} is of kind '{kind}' and needs [[{expected}]] tables; it has {found}")
        return Tree(**content, questions=read_questions(content["name"], kind, tables[0]))

    def to_toml(self) -> str:
        """The whole tree as TOML, which :meth:`from_toml` reads back to an equal tree (comments are not kept)."""
        keys = ("name", "title", "kind", "citation", "source", "lower", "upper")
        lines = [f"{key} = {toml(getattr(self, key))}" for key in keys if getattr(self, key)]
        return "\n".join(lines + write_questions(self.kind, self.questions)) + "\n"

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """``{question}_{answer}`` in order (letters, digits and underscores); for attributes, their own names."""
        return column_names(self.questions, self.kind)

    @property
    def n_answers(self) -> int:
        """How many columns there are."""
        return len(self.columns)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """For each question, its columns."""
        widths = [1 if self.kind == "attributes" else len(question.answers) for question in self.questions]
        ends = np.cumsum(widths).tolist()
        return {q.name: slice(end - n, end) for q, n, end in zip(self.questions, widths, ends, strict=True)}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what decides what numbers mean: names, routing and scales, in order; not titles or wording."""
        content = [
            [q.name, [[a.name, a.next] for a in q.answers], [q.low, q.high, q.undefined]] for q in self.questions
        ]
        return hashlib.sha256(json.dumps([self.kind, content], separators=(",", ":")).encode()).hexdigest()

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Indices of the questions, every one after all that lead to it; the whole tree is checked on the way."""
        return check_questions(self.name, self.kind, self.questions)

    def question(self, name: str = "") -> Question:
        """The question of that name ("" = the first); raises :class:`TreeError` with the nearest."""
        known = {question.name: question for question in self.questions}
        if not name:
            return self.questions[0]
        if name not in known:
            raise TreeError(
                f"the tree '{self.name}' has no question '{name}'{nearest(name, known)}: {', '.join(known)}"
            )
        return known[name]

    @cached_property
    def _parents(self) -> dict[str, tuple[int, ...]]:
        nexts = [answer.next for question in self.questions for answer in question.answers]
        return {q.name: tuple(i for i, name in enumerate(nexts) if name == q.name) for q in self.questions}

    def parents(self, question: str) -> tuple[int, ...]:
        """Indices of the columns (answers) that lead to ``question``; () for the first."""
        return self._parents[self.question(question).name]

    def _rows(self, values: ArrayLike, what: str, votes: bool = True) -> Floats:
        """``values`` as float64 of shape (..., n_answers), or the TreeError that says what came instead."""
        if votes and self.kind != "votes":
            raise TreeError(f"the tree '{self.name}' has attributes, not votes: there are no {what}; see Tree.scaled")
        array = np.asarray(np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan), dtype=np.float64)
        if array.shape[-1:] != (self.n_answers,):
            raise TreeError(
                f"{what} of shape {array.shape} do not fit the tree '{self.name}', which has {self.n_answers} columns; "
                "give one column per answer, in the order of its .columns"
            )
        return array

    def fractions(self, counts: ArrayLike) -> Floats:
        """Each answer's share of its question: ``f[a] = k[a] / sum of k over the question``; (..., A) -> (..., A).

        Takes counts, weighted counts, published fractions (whose rounding to three digits leaves sums of 0.999) and
        debiased fractions (whose sums drift from 1) alike. NaN throughout a question without votes (sum 0 or all NaN).
        """
        values = self._rows(counts, "counts")
        out = np.full(values.shape, np.nan)
        for part in self.slices.values():
            block = np.nan_to_num(values[..., part], nan=0.0)
            total = block.sum(axis=-1, keepdims=True)
            np.divide(block, total, out=out[..., part], where=total > 0)
        return out

    def totals(self, counts: ArrayLike) -> Floats:
        """Votes per question: (..., A) -> (..., Q); NaN counts as no vote."""
        values = np.nan_to_num(self._rows(counts, "counts"), nan=0.0)
        return np.stack([values[..., part].sum(axis=-1) for part in self.slices.values()], axis=-1)

    def counts(self, fractions: ArrayLike, totals: ArrayLike) -> Floats:
        """Counts from fractions (..., A) and votes per question (..., Q): the inverse of fractions and totals.

        Rounded to whole votes, hence exact for fractions that stem from counts; 0 where nothing was asked.
        """
        shares, asked = np.nan_to_num(self._rows(fractions, "fractions"), nan=0.0), np.asarray(totals, np.float64)
        if asked.shape != (*shares.shape[:-1], len(self.questions)):
            raise TreeError(f"totals of shape {asked.shape} for fractions of shape {shares.shape}: one per question")
        widths = [part.stop - part.start for part in self.slices.values()]
        return np.rint(shares * np.repeat(np.nan_to_num(asked, nan=0.0), widths, axis=-1))

    def _arrived(self, shares: Floats, cumulative: bool = False, always: Sequence[str] = ()) -> Floats:
        """What arrives at each question, (..., A) -> (..., Q), from shares of a question or from cumulative shares."""
        out = np.zeros((*shares.shape[:-1], len(self.questions)))
        index = {question.name: number for number, question in enumerate(self.questions)}
        for one in self.order:
            question = self.questions[one]
            if one == 0 or question.name in always:
                out[..., one] = 1.0
            block = shares[..., self.slices[question.name]]
            passed = block.copy() if cumulative else out[..., one, None] * block
            if len({answer.next for answer in question.answers}) == 1:
                passed[..., 0] = np.where(block.any(axis=-1), passed[..., 0], out[..., one])
            for number, answer in enumerate(question.answers):
                if answer.next:
                    out[..., index[answer.next]] += passed[..., number]
        return out

    def reach(self, fractions: ArrayLike) -> Floats:
        """The probability that each question is asked: (..., A) -> (..., Q).

        P(first) = 1 and P(q) = sum of P(p) f(a) over all answers a (of questions p) that lead to q: the paths to a
        question exclude each other, so that their probabilities add. Where a question got no vote (its fractions are
        NaN or all 0), nobody knows which way volunteers would have gone, and what arrived there ends there; but if all
        of its answers lead to one question, it goes on to that one, as in the Galaxy Challenge's published columns.
        """
        return self._arrived(np.nan_to_num(self._rows(fractions, "fractions"), nan=0.0))

    def cumulative(self, fractions: ArrayLike) -> Floats:
        """The probability that a volunteer gives each answer: its fraction times the reach of its question.

        (..., A) -> (..., A); 0 where a question got no vote.
        """
        return self._times_reach(fractions, ())

    def _times_reach(self, fractions: ArrayLike, always: Sequence[str]) -> Floats:
        shares = np.nan_to_num(self._rows(fractions, "fractions"), nan=0.0)
        widths = [part.stop - part.start for part in self.slices.values()]
        return shares * np.repeat(self._arrived(shares, always=always), widths, axis=-1)

    def from_cumulative(self, cumulative: ArrayLike) -> Floats:
        """The inverse of :meth:`cumulative`: each answer's share of its question's sum, which is the reach.

        NaN where that is 0: nobody got to the question, or nobody answered it, and no fraction is defined.
        """
        return self.fractions(self._rows(cumulative, "cumulative fractions"))

    def _challenge(self, q6: str) -> None:
        if self.digest != _gz2().digest:
            raise TreeError(f"the Galaxy Challenge's 37 columns belong to the tree 'gz2', not to '{self.name}'")
        if q6 not in ALWAYS:
            raise TreeError(f"q6 is '{q6}'; it may be 'as_published' (sums to 1) or 'routed' (sums to its reach)")

    def to_challenge(self, fractions: ArrayLike, q6: Q6 = "as_published") -> Floats:
        """The Galaxy Challenge's columns Class1.1 .. Class11.6 from GZ2 fractions: (..., 37) -> (..., 37).

        They are the cumulative fractions, but for a flaw in how the set was made: question 6 ("anything odd?") sums
        to 1 as if everybody were asked, those who saw a star included, and question 8 follows from it. With
        ``q6="as_published"`` that is reproduced (to the published six decimals); ``"routed"`` is what the tree says.
        """
        self._challenge(q6)
        return self._times_reach(fractions, ALWAYS[q6])

    def from_challenge(self, columns: ArrayLike, q6: Q6 = "as_published", tolerance: float = 0.01) -> Floats:
        """GZ2 fractions from the 37 columns; NaN where a question was not reached or got no vote.

        The columns are held against the convention that ``q6`` names, by :meth:`check_challenge`: a row that breaks it
        raises :class:`TreeError` (``tolerance=inf`` takes a network's raw output).
        """
        bad = self.check_challenge(columns, q6, tolerance)
        if bad:
            n = int(np.asarray(columns).size / self.n_answers)
            raise TreeError(f"{len(bad)} of {n} rows break q6='{q6}' ('as_published' or 'routed'): {listed(bad)}")
        return self.from_cumulative(columns)

    def check_challenge(
        self, columns: ArrayLike, q6: Q6 = "as_published", tolerance: float = 0.01
    ) -> list[tuple[int, str]]:
        """Rows of the 37 columns (..., 37) that cannot be, each with a message: see :func:`impossible_cumulative`.

        A question must sum to the columns that lead to it (the first, and as published the sixth, to 1) within
        ``tolerance``, or to 0 where nobody answered it; NaN counts as 0.
        """
        self._challenge(q6)
        rows = np.nan_to_num(self._rows(columns, "challenge columns"), nan=0.0).reshape(-1, self.n_answers)
        arrived = self._arrived(rows, cumulative=True, always=ALWAYS[q6])
        return impossible_cumulative(rows, self.slices, arrived, tolerance)

    def scaled(self, attributes: ArrayLike) -> Floats:
        """Attributes on [0, 1], (..., A) -> (..., A): ``(x - low) / (high - low)``; undefined values become NaN."""
        if self.kind != "attributes":
            raise TreeError(f"the tree '{self.name}' has votes, not attributes: see Tree.fractions")
        values = self._rows(attributes, "attributes", votes=False).copy()
        for number, one in enumerate(self.questions):
            column = values[..., number]
            if one.undefined is not None:
                column[column == one.undefined] = np.nan
            values[..., number] = (column - one.low) / (one.high - one.low)
        return values

    def merge(self, question: str, answers: Sequence[str], into: str) -> tuple[Tree, Callable[[ArrayLike], Floats]]:
        """The tree in which ``answers`` of ``question`` are one answer ``into``, and the function that sums columns.

        The function takes counts, fractions, cumulative fractions or Dirichlet concentrations, (..., A) -> (..., A').
        Answers that lead to different questions cannot be one (:class:`TreeError`).
        """
        old = self.question(question)
        known = [answer.name for answer in old.answers]
        for name in answers:
            if name not in known:
                raise TreeError(f"'{question}' has no answer '{name}'{nearest(name, known)}: {', '.join(known)}")
        merged = [answer for answer in old.answers if answer.name in answers]
        if len({answer.next for answer in merged}) != 1:
            ways = ", ".join(f"{answer.name} -> {answer.next or 'end'}" for answer in merged)
            raise TreeError(f"only answers that lead to one question can become one; got {ways or 'none'}")
        text = " or ".join(answer.text or answer.name for answer in merged)
        kept: list[Answer] = []
        groups: list[list[int]] = []
        start = self.slices[old.name].start
        for number, answer in enumerate(old.answers):
            if answer not in merged:
                kept.append(answer)
                groups.append([start + number])
            elif answer is merged[0]:
                kept.append(Answer(into, text, answer.next))
                groups.append([start + known.index(one.name) for one in merged])
        new = replace(old, answers=tuple(kept))
        tree = replace(self, questions=tuple(new if one is old else one for one in self.questions))
        tail = self.slices[old.name].stop
        everything = [[i] for i in range(start)] + groups + [[i] for i in range(tail, self.n_answers)]

        def add_up(values: ArrayLike) -> Floats:
            array = self._rows(values, "columns")
            return np.stack([array[..., group].sum(axis=-1) for group in everything], axis=-1)

        return tree, add_up

    def check_counts(self, counts: ArrayLike) -> list[tuple[int, str]]:
        """Rows of counts (N, A) that nobody can have cast, each with a message; see :func:`impossible_counts`."""
        return impossible_counts(self._rows(counts, "counts"), self.columns, self.slices, self._parents)

    def check_fractions(self, fractions: ArrayLike, sums: bool = True) -> list[tuple[int, str]]:
        """Rows of fractions (N, A) that cannot be, each with a message; see :func:`impossible_fractions`."""
        return impossible_fractions(self._rows(fractions, "fractions"), self.columns, self.slices, sums)

    def text(self) -> str:
        """The tree drawn for a terminal: each question in full once, later only by name with an arrow."""
        what = "attributes" if self.kind == "attributes" else f"questions, {self.n_answers} answers"
        head = [f"{self.title or self.name} ({self.name}): {len(self.questions)} {what}", self.citation]
        body = draw_attributes(self.questions) if self.kind == "attributes" else draw_text(self.questions)
        return "\n".join([line for line in head if line] + ["", body])


@cache
def _gz2() -> Tree:
    return Tree.load("gz2")
