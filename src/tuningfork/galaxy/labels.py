"""What to learn from votes: counts, fractions, or classes made from them in one of six ways; nothing dropped unseen."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import LabelError
from .catalog import Catalog
from .classnames import class_text, in_order, no_such_column, regrouped
from .question import nearest
from .tree import TREES, Tree
from .votecolumns import find_votes

__all__ = ["LabelChoice", "Labels", "find_votes", "make_labels"]

Floats = NDArray[np.float64]
Kind = Literal["column", "largest", "threshold", "kmeans", "mode", "draw", "counts", "fractions", "several"]
Votes = Literal["", "counts", "fractions", "debiased", "challenge"]


@dataclass(frozen=True)
class LabelChoice:
    """How labels are made of a catalogue; see :func:`make_labels`."""

    kind: Kind = "column"  # where the labels come from
    column: str = "class"  # for "column": the column that holds class names
    tree: str = ""  # for votes: a built-in tree's name, or the path of a TOML file
    question: str = ""  # for "largest", "threshold", "draw": whose answers are the classes; "" = the first question
    threshold: float = 0.95  # for "threshold": the least share of the votes that the class must have
    merge: dict[str, tuple[str, ...]] = field(default_factory=dict)  # new class = ["old", "old"]
    drop: tuple[str, ...] = ()  # classes to leave out
    clusters: int = 20  # for "kmeans": how many types
    seed: int = 0  # for "kmeans" and "draw"
    votes: Votes = ""  # which votes, where a catalogue has several kinds; "" = published fractions before counts
    parts: tuple[LabelChoice, ...] = ()  # for "several": labels learnt together, of some galaxies each
    name: str = ""  # of such a part
    weight: float = 1.0  # of such a part in the loss


@dataclass(frozen=True, eq=False)
class Labels:
    """What is to be learnt of each galaxy.

    ``values`` is float32 of shape (N, K), K the length of ``names``: for ``kind`` "classes" each row sums to 1 (one-hot
    or shares); for "counts" whole numbers of votes; for "fractions" shares of each question, NaN where it was not asked
    (and attributes scaled to [0, 1], NaN where undefined). ``dropped`` counts the galaxies left out, by reason.
    ``centres`` are the (K, answers) cluster centres of kind "kmeans". Of "several" the columns are those of ``parts``
    side by side, named "part:answer", NaN in all columns of a part that says nothing about a galaxy.
    """

    ids: tuple[str, ...]
    kind: Literal["classes", "counts", "fractions", "several"]
    names: tuple[str, ...]
    values: NDArray[np.float32]
    tree: Tree | None
    choice: LabelChoice
    dropped: dict[str, int]
    centres: Floats | None = None
    parts: tuple[Labels, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def _row(self) -> dict[str, int]:
        return {identifier: row for row, identifier in enumerate(self.ids)}

    def select(self, ids: Iterable[str]) -> Labels:
        """The labels of these galaxies, in this order; raises :class:`LabelError` for an id without a label."""
        wanted = tuple(ids)
        missing = [one for one in wanted if one not in self._row]
        if missing:
            shown = ", ".join(f"'{one}'" for one in missing[:5])
            raise LabelError(f"{len(missing)} of {len(wanted)} galaxies have no label: {shown}; see Labels.dropped")
        rows = np.array([self._row[one] for one in wanted], dtype=np.int64)
        return replace(self, ids=wanted, values=self.values[rows])

    @property
    def classes(self) -> NDArray[np.int64]:
        """For classes: the index of each galaxy's class among ``names``, (N,)."""
        if self.kind != "classes":
            raise LabelError(f"these labels are {self.kind}, not classes: choose kind 'largest' or 'threshold'")
        return self.values.argmax(axis=1)

    @property
    def counts_per_class(self) -> dict[str, int]:
        """How many galaxies each class has, also none."""
        counted = np.bincount(self.classes, minlength=len(self.names))
        return dict(zip(self.names, counted.tolist(), strict=True))


def make_labels(catalog: Catalog, choice: LabelChoice, *, strict: bool = True) -> Labels:
    """The labels of a catalogue's galaxies, by ``choice.kind``:

    - "column": class names from ``choice.column`` (text or integers, folders named by class among them); one-hot.
    - "largest": the answer of ``choice.question`` with the largest share, the first of equals; one-hot.
    - "threshold": as "largest", for galaxies whose largest share is at least ``choice.threshold``. The values are the
      shares themselves (Night Sky Net, experiment S3). S3's code combined clockwise and anticlockwise by the larger of
      the two; here merged classes are summed, as probabilities of "either" are.
    - "draw": one answer of the question drawn from its shares, by a hash of the seed and the id, so that a galaxy's
      label depends neither on the order of the rows nor on what other galaxies there are; one-hot (experiment S5).
    - "mode": the largest of all cumulative columns of the tree; for gz2 the Galaxy Challenge's 37 (experiment S1).
      There, question 6 sums to 1, so that "nothing odd" is the label of nearly all, unless it is dropped.
    - "kmeans": the nearest of ``choice.clusters`` centres (k-means of the cumulative columns); classes are named
      type_00, type_01, ... from the largest cluster down (experiment S1).
    - "several": the labels of each of ``choice.parts``, which have names, of all galaxies that one of them labels.
    - "counts": whole votes, for the Dirichlet-multinomial. "fractions": shares, for regression; or attributes.

    ``choice.merge`` sums classes into new ones, ``choice.drop`` leaves classes out, and the rest is renormalised to a
    sum of 1. Names are answers, columns of the tree, or published names. For counts and fractions, merged answers must
    be of one question and lead to one question, and none can be dropped. Every name must be known; of "column" without
    ``strict`` it need not (a truth to be judged by need not hold every class). Galaxies without a usable label are left
    out and counted in ``dropped``. Raises :class:`LabelError` where nothing can be made, with the nearest name, and
    what :func:`find_votes` raises.
    """
    if choice.kind == "column":
        return _from_column(catalog, choice, strict)
    if choice.kind == "several":
        return _several(catalog, choice, strict)
    if not choice.tree:
        raise LabelError(
            f"labels of kind '{choice.kind}' need the votes' tree (--tree NAME, labels.tree): one of "
            f"{', '.join(TREES)}, or a file"
        )
    tree = Tree.load(choice.tree)
    maker = _MAKERS.get(choice.kind)
    if maker is None:
        known = ["column", *_MAKERS, "several"]
        raise LabelError(
            f"there are no labels of kind '{choice.kind}'{nearest(choice.kind, known)}: {', '.join(known)}"
        )
    if tree.kind == "attributes" and choice.kind != "fractions":
        raise LabelError(f"the tree '{tree.name}' has attributes: learn them with kind = 'fractions'")
    labels = maker(catalog, tree, choice)
    if not labels.ids:
        raise LabelError(
            f"none of {len(catalog)} galaxies has a label of kind '{choice.kind}': {_account(labels.dropped)}"
        )
    return labels


def _several(catalog: Catalog, choice: LabelChoice, strict: bool) -> Labels:
    names = [part.name for part in choice.parts]
    if not names or "" in names or len(set(names)) < len(names) or any(part.kind == "several" for part in choice.parts):
        raise LabelError(
            f"labels of kind 'several' need parts, each with a name of its own and none of several: {names}"
        )
    parts = tuple(make_labels(catalog, part, strict=strict) for part in choice.parts)
    empty = [part.choice.name for part in parts if not part.values.size]
    if empty:
        raise LabelError(f"no galaxy of {len(catalog):,} has labels of {empty}: leave these parts out of labels.parts")
    labelled = set().union(*(part.ids for part in parts))
    ids = tuple(one for one in catalog.ids if one in labelled)
    row = {identifier: number for number, identifier in enumerate(ids)}
    columns = [np.full((len(ids), len(part.names)), np.nan, np.float32) for part in parts]
    for part, values in zip(parts, columns, strict=True):
        values[[row[one] for one in part.ids]] = part.values
    told = [f"{part.choice.name}:{answer}" for part in parts for answer in part.names]
    dropped = {"without any of the labels": len(catalog) - len(ids)}
    return Labels(ids, "several", tuple(told), np.hstack(columns), None, choice, dropped, parts=parts)


def _account(dropped: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in dropped.items()) or "the catalogue is empty"


def _found(catalog: Catalog, tree: Tree, choice: LabelChoice) -> tuple[str, Floats]:
    """The kind of the votes and fractions (N, A), NaN where a question was not asked."""
    kind, values = find_votes(catalog, tree, (choice.votes,) if choice.votes else _PREFERRED)
    if kind == "challenge":
        return kind, tree.from_challenge(values)
    return kind, tree.fractions(values)


_PREFERRED = ("fractions", "counts", "debiased", "challenge")


def _classes(
    catalog: Catalog,
    choice: LabelChoice,
    names: Sequence[str],
    values: Floats,
    dropped: dict[str, int],
    tree: Tree | None,
) -> Labels:
    """Labels of the rows of ``values`` (N, K) that are not all NaN."""
    kept = np.flatnonzero(~np.isnan(values).any(axis=1))
    ids = tuple(catalog.ids[row] for row in kept.tolist())
    return Labels(ids, "classes", tuple(names), values[kept].astype(np.float32), tree, choice, dropped)


def _one_hot(classes: NDArray[np.int64], n: int) -> Floats:
    """(N,) indices to (N, n); NaN rows for -1."""
    out = np.where((classes < 0)[:, None], np.nan, np.zeros((len(classes), n)))
    rows = np.flatnonzero(classes >= 0)
    out[rows, classes[rows]] = 1.0
    return out


def _spellings(tree: Tree) -> list[tuple[str, ...]]:
    """For each column of the tree, all the names that a user may call it by."""
    answers = [(question, answer) for question in tree.questions for answer in question.answers]
    return [
        (column, answer.name, re.sub(r"^a\d+_", "", answer.name), answer.alias)
        for column, (_, answer) in zip(tree.columns, answers, strict=True)
    ]


def _resolve(name: str, spellings: Sequence[tuple[str, ...]], what: str) -> int:
    """The index of the class that ``name`` means; the fullest spelling wins, and an ambiguous one is refused."""
    for level in range(len(spellings[0])):
        hits = [number for number, names in enumerate(spellings) if names[level] and names[level] == name]
        if len(hits) == 1:
            return hits[0]
        if hits:
            which = ", ".join(spellings[number][0] for number in hits[:5])
            raise LabelError(f"'{name}' may be {which}: write the whole name")
    known = [name for names in spellings for name in names[:2]]
    raise LabelError(f"{what} has no class '{name}'{nearest(name, known)}: {', '.join(dict.fromkeys(known))}")


def _combine(
    names: Sequence[str], spellings: Sequence[tuple[str, ...]], values: Floats, choice: LabelChoice, what: str
) -> tuple[list[str], Floats]:
    """Classes merged by sum, then without those dropped, in the order of their first member."""
    groups: dict[str, list[int]] = {}
    for new, olds in choice.merge.items():
        groups[new] = sorted(_resolve(old, spellings, what) for old in olds)
    members = [number for group in groups.values() for number in group]
    twice = [names[number] for number in members if members.count(number) > 1]
    if twice:
        raise LabelError(f"the class '{twice[0]}' is merged twice; a class goes into one")
    gone = {_resolve(one, spellings, what) for one in choice.drop if one not in groups}
    both = gone & set(members)
    if both:
        raise LabelError(f"the class '{names[min(both)]}' is merged and dropped; choose one")
    for one in choice.drop:
        groups.pop(one, None)
    alone = {names[n]: [n] for n in range(len(names)) if n not in members and n not in gone}
    clash = set(alone) & set(groups)
    if clash:
        raise LabelError(f"the merged class '{min(clash)}' has the name of one that is not merged into it")
    kept = sorted((group[0], name, group) for name, group in {**alone, **groups}.items() if group)
    if len(kept) < 2:
        raise LabelError(f"merge and drop leave {len(kept)} class of {what}; at least two are needed")
    return [name for _, name, _ in kept], np.column_stack([values[:, group].sum(axis=1) for _, _, group in kept])


def _shares(catalog: Catalog, tree: Tree, choice: LabelChoice) -> tuple[list[str], Floats, dict[str, int]]:
    """Classes and their shares (N, K) of the votes on one question, summing to 1, NaN where there are none."""
    question = tree.question(choice.question)
    _, fractions = _found(catalog, tree, choice)
    part = tree.slices[question.name]
    names = [answer.name for answer in question.answers]
    spellings = [(names[i], *spelling) for i, spelling in enumerate(_spellings(tree)[part])]
    values = fractions[:, part]
    silent = np.isnan(values).all(axis=1)
    names, values = _combine(names, spellings, values, choice, f"the question '{question.name}'")
    total = values.sum(axis=1, keepdims=True)
    empty = ~silent & ~(total[:, 0] > 0)
    dropped = {"without votes on the question": int(silent.sum())}
    if choice.drop:
        dropped["with votes for dropped classes only"] = int(empty.sum())
    return names, np.divide(values, total, out=np.full(values.shape, np.nan), where=total > 0), dropped


def _top(values: Floats) -> NDArray[np.int64]:
    """The index of each row's largest value, -1 for rows of NaN."""
    blank = np.isnan(values).any(axis=1)
    return np.where(blank, -1, np.argmax(np.nan_to_num(values, nan=0.0), axis=1))


def _largest(catalog: Catalog, tree: Tree, choice: LabelChoice) -> Labels:
    names, shares, dropped = _shares(catalog, tree, choice)
    return _classes(catalog, choice, names, _one_hot(_top(shares), len(names)), dropped, tree)


def _threshold(catalog: Catalog, tree: Tree, choice: LabelChoice) -> Labels:
    if not 0 <= choice.threshold <= 1:
        raise LabelError(f"the threshold is a share of the votes, 0 to 1, not {choice.threshold:g}")
    names, shares, dropped = _shares(catalog, tree, choice)
    low = shares.max(axis=1) < choice.threshold - 1e-9  # a share of 19 in 20 is 0.95, whatever its last bit
    dropped[f"below the threshold {choice.threshold:g}"] = int(low.sum())
    shares[low] = np.nan
    return _classes(catalog, choice, names, shares, dropped, tree)


def _draw(catalog: Catalog, tree: Tree, choice: LabelChoice) -> Labels:
    names, shares, dropped = _shares(catalog, tree, choice)
    # "draw:" keeps these numbers apart from those of the split, which hashes the same seed and ids
    heads = [hashlib.sha256(f"draw:{choice.seed}:{one}".encode()).digest()[:8] for one in catalog.ids]
    chance = np.array([int.from_bytes(head, "big") >> 11 for head in heads], dtype=np.float64) * 2.0**-53
    steps = np.cumsum(np.nan_to_num(shares, nan=0.0), axis=1)
    drawn = (chance[:, None] * steps[:, -1:] >= steps).sum(axis=1)
    drawn[np.isnan(shares).any(axis=1)] = -1
    return _classes(catalog, choice, names, _one_hot(drawn, len(names)), dropped, tree)


def _vectors(catalog: Catalog, tree: Tree, choice: LabelChoice) -> tuple[Floats, dict[str, int]]:
    """Cumulative columns (N, A), NaN for galaxies without a vote; for gz2 those of the Galaxy Challenge."""
    _, fractions = _found(catalog, tree, choice)
    silent = np.isnan(fractions[:, tree.slices[tree.questions[0].name]]).all(axis=1)
    values = tree.to_challenge(fractions) if tree.digest == Tree.load("gz2").digest else tree.cumulative(fractions)
    values[silent] = np.nan
    return values, {"without votes": int(silent.sum())}


def _mode(catalog: Catalog, tree: Tree, choice: LabelChoice) -> Labels:
    values, dropped = _vectors(catalog, tree, choice)
    names, values = _combine(tree.columns, _spellings(tree), values, choice, f"the tree '{tree.name}'")
    return _classes(catalog, choice, names, _one_hot(_top(values), len(names)), dropped, tree)


def _kmeans(catalog: Catalog, tree: Tree, choice: LabelChoice) -> Labels:
    from sklearn.cluster import KMeans  # a second to import, for one kind of label

    if choice.merge or choice.drop:
        raise LabelError("the types of 'kmeans' are not known before they are found: leave out merge and drop")
    values, dropped = _vectors(catalog, tree, choice)
    known = np.flatnonzero(~np.isnan(values).any(axis=1))
    known = known[np.argsort(np.array(catalog.ids, dtype=object)[known].astype(str), kind="stable")]
    distinct = len(np.unique(values[known], axis=0))
    if not 2 <= choice.clusters <= distinct:
        raise LabelError(f"{distinct} different galaxies with votes cannot form {choice.clusters} clusters")
    fitted = KMeans(choice.clusters, n_init=10, random_state=choice.seed).fit(values[known])
    sizes = np.bincount(fitted.labels_, minlength=choice.clusters)
    order = np.lexsort((*fitted.cluster_centers_.T[::-1], -sizes))
    classes = np.full(len(values), -1, dtype=np.int64)
    classes[known] = np.argsort(order)[fitted.labels_]
    names = [f"type_{number:02d}" for number in range(choice.clusters)]
    labels = _classes(catalog, choice, names, _one_hot(classes, len(names)), dropped, tree)
    return replace(labels, centres=fitted.cluster_centers_[order])


def _answers(catalog: Catalog, tree: Tree, choice: LabelChoice) -> Labels:
    """Counts or fractions of every answer, or scaled attributes."""
    if choice.drop:
        raise LabelError(f"answers of a tree cannot be dropped for {choice.kind} ({choice.drop[0]!r}): merge them")
    if choice.kind == "counts":
        values = find_votes(catalog, tree, ("counts",))[1]
        usable = np.nansum(values[:, tree.slices[tree.questions[0].name]], axis=1) > 0
        values = np.nan_to_num(values, nan=0.0)
    elif tree.kind == "attributes":
        values = tree.scaled(find_votes(catalog, tree)[1])
        usable = ~np.isnan(values).all(axis=1)
    else:
        values = _found(catalog, tree, choice)[1]
        usable = ~np.isnan(values[:, tree.slices[tree.questions[0].name]]).all(axis=1)
    for new, olds in choice.merge.items():
        columns = [_resolve(old, _spellings(tree), f"the tree '{tree.name}'") for old in olds]
        asked = {name for name, part in tree.slices.items() for column in columns if part.start <= column < part.stop}
        if len(asked) != 1:
            raise LabelError(
                f"'{new}' merges answers of several questions ({', '.join(sorted(asked))}); only one's can be"
            )
        (question,) = (one for one in tree.questions if one.name in asked)
        start = tree.slices[question.name].start
        tree, add_up = tree.merge(question.name, [question.answers[c - start].name for c in columns], new)
        values = add_up(values)
    dropped = {"without votes" if tree.kind == "votes" else "without any attribute": int((~usable).sum())}
    ids = tuple(one for one, keep in zip(catalog.ids, usable.tolist(), strict=True) if keep)
    kind: Literal["counts", "fractions"] = "counts" if choice.kind == "counts" else "fractions"
    return Labels(ids, kind, tree.columns, values[usable].astype(np.float32), tree, choice, dropped)


_MAKERS = {
    "largest": _largest,
    "threshold": _threshold,
    "draw": _draw,
    "mode": _mode,
    "kmeans": _kmeans,
    "counts": _answers,
    "fractions": _answers,
}


def _from_column(catalog: Catalog, choice: LabelChoice, strict: bool) -> Labels:
    if choice.column not in catalog.columns:
        raise no_such_column(choice.column, catalog.columns, catalog.name)
    texts = [class_text(value) for value in catalog[choice.column]]
    known = sorted({text for text in texts if text}, key=in_order)
    renamed = regrouped(known, choice.merge, choice.drop, strict=strict)
    classes = [renamed.get(text, "") for text in texts]
    dropped = {"without a class": classes.count("")}
    dropped |= {f"of the dropped class '{one}'": classes.count(one) for one in choice.drop}
    names = sorted({renamed[text] for text in known} - set(choice.drop), key=in_order)
    index = {name: number for number, name in enumerate(names)}
    values = _one_hot(np.array([index.get(name, -1) for name in classes], dtype=np.int64), len(names))
    labels = _classes(catalog, choice, names, values, dropped, None)
    if not labels.ids:
        raise LabelError(f"no galaxy of {catalog.name} has a class in '{choice.column}': {_account(dropped)}")
    return labels
