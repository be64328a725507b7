"""Votes beside the truth: joined by id or by position, with an account of every galaxy that is left out, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .. import recipe
from ..errors import BadCatalog, BadVotes, LabelError
from ..galaxy.catalog import Catalog
from ..galaxy.crossmatch import UnmatchedChoice, pair_ids, pair_positions, refuse_unmatched
from ..galaxy.labels import LabelChoice, Labels, find_votes, make_labels
from ..galaxy.tree import Tree
from ..galaxy.votes import Votes, column_name
from .bootstrap import Floats, Ints

TIGHT = 1e-3  # how far from 1 probabilities may sum before the report says that it divided them by their sum


@dataclass(frozen=True)
class Account:
    """What became of the galaxies: ``n_in = n_done + n_rejected``, and of the done ones, who is judged.

    ``n_done = n_judged + n_unlabelled + n_without_truth``; ``rejected`` and ``unlabelled`` count them per reason;
    ``n_truth`` is the number of rows of the truth, ``n_truth_without_votes`` that of those without a prediction.
    """

    n_in: int
    n_done: int
    n_rejected: int
    rejected: dict[str, int]
    n_judged: int
    n_unlabelled: int
    unlabelled: dict[str, int]
    n_without_truth: int
    n_truth: int
    n_truth_without_votes: int
    joined_by: str
    separation_arcsec: tuple[float, float] | None = None  # median and largest, of a join by position


@dataclass(frozen=True, eq=False)
class Joined:
    """The judged galaxies, sorted by id so that the order of no file matters.

    ``predicted`` (N, K) holds what the votes say about ``names``: probabilities, Dirichlet concentrations or vote
    fractions, as ``head`` says ("classes", "dirichlet", "fractions"; "sigmoid" for attributes, scaled to [0, 1]).
    ``truth`` are the labels of the same galaxies in the same order, their columns brought into the order of ``names``;
    ``notes`` say what was done on the way. ``bounds`` are the published lower and upper bounds of attributes, (N, K)
    each, scaled like them, NaN where undefined; None of all else, and where the truth lacks any of their columns.
    ``intervals`` are the lower and upper ends that the votes give attributes, in the same way, NaN of those without;
    None where they give none. ``level`` is the share of galaxies that these are meant for, 0 where it is not told.
    ``costs`` (K,) of missing each class, as the votes have them, choose the class that is judged (:attr:`given`).
    """

    ids: tuple[str, ...]
    head: str
    names: tuple[str, ...]
    predicted: Floats
    truth: Floats
    labels: Labels
    account: Account
    notes: tuple[str, ...] = field(default=())
    bounds: tuple[Floats, Floats] | None = None
    intervals: tuple[Floats, Floats] | None = None
    level: float = 0.0
    costs: Floats | None = None

    @property
    def attributes(self) -> bool:
        """Whether measured attributes were predicted, not classes or votes."""
        return self.labels.tree is not None and self.labels.tree.kind == "attributes"

    @property
    def classes(self) -> Ints:
        """The index in ``names`` of each galaxy's true class, shape (N,)."""
        return self.truth.argmax(1) if len(self.truth) else np.zeros(0, np.int64)

    @property
    def given(self) -> Ints:
        """The index in ``names`` of the class that each galaxy is given, (N,): argmax of cost times probability."""
        weighed = self.predicted if self.costs is None else self.predicted * self.costs
        return weighed.argmax(1) if len(weighed) else np.zeros(0, np.int64)


def default_choice(votes: Votes, truth: Catalog, changes: Mapping[str, Any] | None = None) -> LabelChoice:
    """How the model's card in the votes makes labels, with some choices changed (as by :func:`recipe.replace`).

    Votes without a card are judged by the volunteers' votes on their tree, or by the column "class". A changed column
    means kind "column". A changed tree alone means, for votes on a tree, counts or fractions, whichever the truth has;
    for classes, kind "largest" unless the card makes classes of votes already.
    """
    changes = dict(changes or {})
    told = _told(votes)
    choice = recipe.from_mapping(LabelChoice, told) if told else LabelChoice()
    guessed = not told and votes.tree is not None
    if guessed and votes.tree is not None:
        choice = LabelChoice(kind="counts", tree=votes.tree.name)
    if "kind" not in changes and "column" in changes:
        changes["kind"] = "column"
    elif "kind" not in changes and (guessed or "tree" in changes) and choice.kind in ("column", "counts", "fractions"):
        tree = votes.tree if guessed and "tree" not in changes else Tree.load(changes.get("tree", choice.tree))
        assert tree is not None
        changes["kind"] = "largest" if votes.head == "classes" else _kind_of_votes(truth, tree)
    return recipe.replace(choice, changes)


def _told(votes: Votes) -> dict[str, Any]:
    """The choice of labels in the card of these votes, {} without one."""
    card = votes.metadata.get("card")
    told = card.get("labels") if isinstance(card, dict) else None
    return told if isinstance(told, dict) else {}


def _kind_of_votes(truth: Catalog, tree: Tree) -> str:
    return "counts" if find_votes(truth, tree)[0] == "counts" else "fractions"


def true_labels(
    votes: Votes, truth: Catalog, choice: LabelChoice | None = None, changes: Mapping[str, Any] | None = None
) -> Labels:
    """The labels of the truth, made as ``choice`` says, or else as :func:`default_choice` with ``changes``.

    Raises :class:`LabelError`, which says what to choose, where the truth has nothing of the kind.
    """
    if choice is not None:
        return make_labels(truth, recipe.replace(choice, changes or {}), strict=False)
    choice = default_choice(votes, truth, changes)
    if choice.kind == "column" and choice.column not in truth and "column" not in (changes or {}):
        why = (
            f"the card of these votes says that the true class is in a column '{choice.column}', but"
            if _told(votes)
            else f"these votes do not say how their truth is made; taken was the column '{choice.column}', but"
        )
        raise LabelError(
            f"{why} {truth.name} has no such column: name the column of the true classes (--column, in Python "
            "choice=LabelChoice(column=...)), or the decision tree of its votes (--tree, LabelChoice(kind='counts', "
            f"tree=...)). Its columns are: {', '.join(truth.columns[:20])}"
        )
    return make_labels(truth, choice, strict=False)


def join(
    votes: Votes,
    truth: Catalog,
    choice: LabelChoice | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    radius_arcsec: float | None = None,
    unmatched: UnmatchedChoice = "refuse",
) -> Joined:
    """Join the votes with the truth by id, or by position where a radius is given, and make the labels.

    Rows of the truth without votes are counted (a held-out part is a part); votes without a row of truth raise
    :class:`~tuningfork.errors.Unmatched` unless ``unmatched="drop"``. Rejected galaxies need no truth. A galaxy whose
    truth gives no label (too little agreement, a class that was left out) is counted under its reason. Where the choice
    merges classes that the votes still tell apart, their probabilities are summed, which a note says. Raises
    :class:`LabelError` where the votes know nothing of a true class or are of another kind than the labels.
    """
    labels = true_labels(votes, truth, choice, changes)
    done = votes.done
    ids = np.array(votes.ids, dtype=object)[done]
    rows, partners, separation, by = _pairs(votes, ids, truth, radius_arcsec, unmatched)
    true_ids = np.array(truth.ids, dtype=object)[partners]
    place = {name: index for index, name in enumerate(labels.ids)}
    known = np.flatnonzero(np.array([name in place for name in true_ids], dtype=bool))
    known = known[np.argsort(ids[rows[known]].astype(str), kind="stable")]
    judged = labels.select(tuple(str(name) for name in true_ids[known]))
    predicted = votes.values[done][rows[known]].astype(np.float64)
    names, predicted, values, notes = _aligned(votes, predicted, judged)
    account = Account(
        n_in=votes.n_in,
        n_done=votes.n_done,
        n_rejected=votes.n_rejected,
        rejected=votes.reasons(),
        n_judged=len(known),
        n_unlabelled=len(rows) - len(known),
        unlabelled={str(reason): int(number) for reason, number in labels.dropped.items()},
        n_without_truth=votes.n_done - len(rows),
        n_truth=len(truth),
        n_truth_without_votes=len(truth) - len(rows),
        joined_by=by,
        separation_arcsec=(float(np.median(separation)), float(separation.max())) if len(separation) else None,
    )
    kept = tuple(str(name) for name in ids[rows[known]])
    bounds = _bounds(truth.rows(partners[known]), judged.tree)
    ends = _intervals(votes, np.flatnonzero(done)[rows[known]], judged.tree)
    return Joined(
        kept, votes.head, names, predicted, values, judged, account, notes, bounds, ends, _level(votes),
        _costs(votes, names),
    )  # fmt: skip


def _costs(votes: Votes, names: tuple[str, ...]) -> Floats | None:
    """What missing each class costs by the votes, (K,), 1 for merged classes; None where all cost the same."""
    told = dict(zip(votes.names, votes.layout.costs, strict=False))
    return np.array([told.get(name, 1.0) for name in names]) if told else None


def _bounds(truth: Catalog, tree: Tree | None) -> tuple[Floats, Floats] | None:
    """The published bounds of each attribute, (N, K) each, scaled to [0, 1]; None where the truth lacks a column."""
    if tree is None or tree.kind != "attributes" or not (tree.lower and tree.upper):
        return None
    wanted = [[f"{name}{ending}" for name in tree.columns] for ending in (tree.lower, tree.upper)]
    if any(name not in truth for names in wanted for name in names):
        return None
    lower, upper = (
        tree.scaled(np.column_stack([np.ma.filled(truth[name].astype(np.float64), np.nan) for name in names]))
        for names in wanted
    )
    return lower, upper


def _intervals(votes: Votes, rows: Ints, tree: Tree | None) -> tuple[Floats, Floats] | None:
    """The ends of the predictions' intervals in some rows, (N, K) each, scaled to [0, 1]; None without any."""
    if tree is None or tree.kind != "attributes":
        return None
    ends = [np.full((len(rows), tree.n_answers), np.nan) for _ in range(2)]
    for number, name in enumerate(tree.columns):
        columns = [f"{column_name(name)}_{end}" for end in ("low", "high")]
        if {*columns} <= {*votes.table.column_names}:
            for end, column in zip(ends, columns, strict=True):
                end[:, number] = votes.table.column(column).to_numpy().astype(np.float64)[rows]
    lower, upper = (tree.scaled(end) for end in ends)
    return (lower, upper) if np.isfinite(lower).any() else None


def _level(votes: Votes) -> float:
    """How often the intervals of attributes are meant to hold the truth, by the card in the votes; 0 if not told."""
    card = votes.metadata.get("card")
    told = card.get("calibration") if isinstance(card, dict) else None
    intervals = told.get("intervals") if isinstance(told, dict) else None
    level = intervals.get("coverage") if isinstance(intervals, dict) else None
    return float(level) if isinstance(level, int | float) else 0.0


def _pairs(
    votes: Votes, ids: NDArray[np.object_], truth: Catalog, radius: float | None, unmatched: UnmatchedChoice
) -> tuple[Ints, Ints, Floats, str]:
    """Rows among the done votes, their rows of the truth, separations (arcsec), and how they were joined."""
    texts = pa.array(ids.tolist(), pa.string())
    if radius is None:
        rows, partners, report = pair_ids(texts, truth.id_texts)
        separation = np.zeros(0)
    else:
        if truth.ra is None or truth.dec is None:
            raise BadCatalog(f"{truth.name} has no positions, so that nothing can be joined within {radius:g} arcsec")
        sky = np.column_stack([votes.ra, votes.dec])[votes.done].astype(np.float64)
        if not np.isfinite(sky).all(1).any():
            raise BadVotes(f"{votes.name} holds no positions (ra and dec are empty): join by id, without a radius")
        there = np.column_stack([truth.ra, truth.dec])
        rows, partners, separation, report = pair_positions(texts, sky, truth.id_texts, there, radius)
    refuse_unmatched(report, unmatched, (votes.name, truth.name))
    return rows, partners, separation, report.by


def _aligned(
    votes: Votes, predicted: Floats, labels: Labels
) -> tuple[tuple[str, ...], Floats, Floats, tuple[str, ...]]:
    """Names, predictions (N, K), truth (N, K) in one order of columns, and notes.

    Votes on a tree come into the order of the truth's tree. Of classes the votes may know more than the truth holds.
    """
    truth = np.asarray(labels.values, dtype=np.float64)
    measured = votes.tree is not None and votes.tree.kind == "attributes"
    if votes.head == "sigmoid" and not measured:
        raise LabelError(
            f"{votes.name} holds a sigmoid head's answers that are no attributes (classes or answers that do not "
            "exclude each other), for which there is no report: compare its columns with the truth's, or train a head "
            "of classes or of votes"
        )
    if (labels.kind == "classes") != (votes.head == "classes"):
        raise LabelError(
            f"{votes.name} predicts {_what(votes)} "
            f"({', '.join(votes.names[:4])} ...), but the truth was read as {labels.kind}: choose other labels "
            f"(LabelChoice.kind, now '{labels.choice.kind}')"
        )
    if labels.tree is not None and votes.head != "classes" and (labels.tree.kind == "attributes") != measured:
        what = "measured attributes" if measured else "answers to questions"
        raise LabelError(
            f"{votes.name} predicts {what}, but the truth was read on the tree "
            f"'{labels.choice.tree}', which is of the other kind: name the tree of these votes (LabelChoice.tree)"
        )
    named, predicted, merged = _merged(votes, predicted, labels)
    alike = {_plain(name): i for i, name in enumerate(named)}
    columns = [alike.get(_plain(name), -1) for name in labels.names]
    missing = [name for name, column in zip(labels.names, columns, strict=True) if column < 0]
    bare = votes.head == "classes" and bool(np.isin(predicted, (0.0, 1.0)).all())
    if missing and not bare:
        raise LabelError(
            f"the truth holds {', '.join(map(repr, missing[:5]))}, of which {votes.name} says nothing (it knows "
            f"{', '.join(votes.names[:12])}): merge or drop these classes (--merge, --drop; in Python LabelChoice), or "
            "judge votes that predict them"
        )
    if votes.head != "classes":
        return labels.names, predicted[:, columns], truth, ()
    extra = [i for i in range(len(named)) if i not in columns]
    names = (*labels.names, *(named[i] for i in extra))
    known = np.column_stack([predicted, np.zeros(len(predicted))])  # column -1: never predicted
    predicted, notes = _renormalised(known[:, columns + extra], labels.ids)
    if bare and len(predicted):
        notes = ("The votes are bare classes without probabilities: what ranks or weighs probabilities means little.",)
    return names, predicted, np.pad(truth, ((0, 0), (0, len(extra)))), (*merged, *notes)


def _what(votes: Votes) -> str:
    if votes.head == "classes":
        return "classes"
    return "attributes" if votes.head == "sigmoid" else "the answers of a decision tree"


def _merged(votes: Votes, predicted: Floats, labels: Labels) -> tuple[tuple[str, ...], Floats, tuple[str, ...]]:
    """Class names and probabilities (N, K) with those columns summed that the labels merge, and notes of it."""
    if votes.head != "classes":
        return votes.names, predicted, ()
    names, notes = list(votes.names), []
    for new, olds in labels.choice.merge.items():
        wanted = {_plain(name) for name in (new, *olds)}
        members = [i for i, name in enumerate(names) if _plain(name) in wanted]
        if new not in labels.names or not any(_plain(names[i]) != _plain(new) for i in members):
            continue
        notes.append(f"The probabilities of {' + '.join(names[i] for i in members)} were summed to that of {new}.")
        rest = [i for i in range(len(names)) if i not in members]
        predicted = np.column_stack([predicted[:, rest], predicted[:, members].sum(1)])
        names = [*(names[i] for i in rest), new]
    return tuple(names), predicted, tuple(notes)


def _plain(name: str) -> str:
    return column_name(f"p_{name}").lower()


def _renormalised(values: Floats, ids: tuple[str, ...]) -> tuple[Floats, tuple[str, ...]]:
    """Probabilities divided by their sum, which rounding may have moved from 1, and a note where that shows."""
    sums = values.sum(1)
    off = np.abs(sums - 1) > TIGHT
    if not off.any():
        return values / sums[:, None], ()
    note = (
        f"The probabilities of {int(off.sum()):,} galaxies (such as {ids[int(off.argmax())]}) summed to "
        f"{sums.min():.3f} to {sums.max():.3f}, rounded perhaps, and were divided by their sum."
    )
    return values / sums[:, None], (note,)
