"""Votes on a tree read as probabilities of classes, as labels are made from the volunteers' votes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from ..errors import LabelError
from ..galaxy.catalog import Catalog
from ..galaxy.labels import LabelChoice, make_labels
from ..galaxy.tree import Tree
from ..galaxy.votelayout import Layout
from ..galaxy.votes import Votes

SHARED = ("largest", "threshold", "draw")  # kinds of labels whose classes are the answers of one question


def shares_of(choice: LabelChoice) -> LabelChoice:
    """The same classes as shares of the votes, of every galaxy, however large its largest share is.

    Raises :class:`LabelError` for kinds of labels whose classes are not the answers of one question.
    """
    if choice.kind not in SHARED:
        raise LabelError(
            f"labels of kind '{choice.kind}' are no shares of votes: choose {', '.join(SHARED)} with the votes' tree"
        )
    return replace(choice, kind="threshold", threshold=0.0)


def as_classes(votes: Votes, choice: LabelChoice) -> Votes:
    """The votes themselves where they are of classes; of a vote head, the fractions of ``choice.question`` as such.

    Classes are merged, dropped and renormalised as :func:`~tuningfork.galaxy.labels.make_labels` does with people's
    votes. A galaxy whose predicted fractions are all for dropped classes gets equal probabilities. Rejected rows stay
    rejected. Raises :class:`LabelError` where the choice is of another tree, or of labels that are no shares.
    """
    if votes.head == "classes":
        return votes
    if votes.tree is None or votes.tree.kind != "votes":
        raise LabelError(f"{votes.name} holds no classes and no votes on a tree of questions")
    shares = shares_of(choice)
    if Tree.load(choice.tree).columns != votes.tree.columns:
        raise LabelError(
            f"{votes.name} predicts the tree '{votes.tree.name}', but the labels are of '{choice.tree}': choose labels "
            "of one tree"
        )
    done = votes.done
    ids = [one for one, good in zip(votes.ids, done, strict=True) if good]
    fractions = votes.fractions[done].astype(np.float64)
    columns = {f"{name}_fraction": fractions[:, column] for column, name in enumerate(votes.names)}
    labels = make_labels(Catalog({"id": pa.array(ids, pa.string()), **columns}), replace(shares, votes="fractions"))
    values = np.full((len(ids), len(labels.names)), 1 / len(labels.names), np.float32)
    row = {one: number for number, one in enumerate(ids)}
    values[[row[one] for one in labels.ids]] = labels.values / labels.values.sum(1, keepdims=True)
    layout = Layout("classes", labels.names, None)
    reasons = votes.table.column("reason").to_pylist()
    table = layout.table(votes.ids, votes.ra, votes.dec, values, reasons)
    return Votes(table, layout, votes.name)
