"""Targets: which number of a model is to be explained, a class's, an answer's or an attribute's."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import RecipeError
from ..galaxy.tree import Tree
from ..model.card import Card
from ..model.net import GalaxyNet
from ..predict.inwords import phrase, plain, share

LOG_ODDS, PROBABILITY, VALUE = "log odds", "probability", "value"


@dataclass(frozen=True)
class Target:
    """One number that a network gives about a galaxy: that of the answer ``name``.

    ``scale``: "log odds", log p / (1 - p) of its probability, or of the expected share of the votes for it; such a
    number does not level off where the network is sure, as p does, whose gradient then vanishes; and it sets the answer
    against its rivals, as one raw output z does not (softmax does not change when all z grow alike). "probability", p
    itself. "value", an attribute on its own scale, ``low`` to ``high``.

    ``column`` is its place among the answers, ``first`` and ``last`` (excluded) are those of its question, and
    ``words`` what it is called in a title.
    """

    name: str
    scale: str
    column: int
    first: int
    last: int
    words: str
    low: float = 0.0
    high: float = 1.0

    def score(self, net: GalaxyNet, x: Tensor) -> Tensor:
        """The number on its scale, float32 (N,), of pictures float32 (N, bands, size, size) in 0..1."""
        z = net(x)
        if self.scale != LOG_ODDS:
            return self.read(net, net.answers(z))
        if net.head.kind == "sigmoid":
            return z[:, self.column].float() / net.head.temperature  # type: ignore[operator]
        if net.head.kind == "dirichlet":  # shares a / A are a softmax of log a
            z = net.answers(z).log()
        elif net.head.kind == "classes":
            z = z.float() / net.head.temperature  # type: ignore[operator]
        rivals = [k for k in range(self.first, self.last) if k != self.column]
        return z[:, self.column].float() - z[:, rivals].float().logsumexp(dim=1)

    def read(self, net: GalaxyNet, answers: Tensor) -> Tensor:
        """The probability, expected share or value, float32 (N,), in answers (N, K) of the network."""
        p = answers[:, self.column].float()
        if net.head.kind == "dirichlet":
            p = p / answers[:, self.first : self.last].sum(dim=1)
        return self.low + p * (self.high - self.low)

    def chance(self, net: GalaxyNet, x: Tensor) -> Tensor:
        """:meth:`read` of pictures, (N,), without gradients."""
        with torch.no_grad():
            return self.read(net, net.answers(net(x)))

    def told(self, value: float) -> str:
        """A value of :meth:`read` in words: "merger, probability .93", "arms: 2, share of votes .40", "T = 4.1"."""
        if self.scale == VALUE and (self.low, self.high) != (0.0, 1.0):
            return f"{self.words} = {value:.1f}".replace("-", "\N{MINUS SIGN}")
        noun = {VALUE: "", PROBABILITY: "probability "}.get(self.scale, "probability ")
        voted = self.last - self.first > 1 and self.words != plain(self.name)
        return f"{self.words}, {'share of votes ' if voted else noun}{share(value)}"


def find_target(
    net: GalaxyNet, card: Card, name: str | None = None, *, scale: str = "", answers: NDArray[np.float32] | None = None
) -> Target:
    """The answer to explain: a class, a tree's answer (its column's name), an attribute, or a question's name.

    Args:
        name: of a question, and where None is given (the first question, the classes), the answer is the one that is
            likeliest in ``answers`` (K,), which are of the galaxy; of attributes, the first.
        scale: "log odds" or "probability"; "" takes log odds, the value of attributes, and the share itself of a
            fractions head whose link is "divisive", where shares may be exactly 0.

    Raises :class:`RecipeError` for a name that the model does not answer, which names the nearest, for another scale,
    and for log odds where there are none.
    """
    tree = card.load_tree()
    spans = tree.slices if tree is not None and card.head != "classes" else {}
    attributes = tree is not None and tree.kind == "attributes"
    if name in card.names:
        column = card.names.index(name)
    elif name is None or name in spans:
        span = next(iter(spans.values()), slice(0, len(card.names))) if name is None else spans[name]
        column = span.start if answers is None or attributes else span.start + int(answers[span].argmax())
    else:
        known = [*card.names, *spans]
        near = difflib.get_close_matches(name, known, 3, 0.4) or known[:5]
        raise RecipeError(f"'{card.name}' does not answer '{name}'; the nearest are {', '.join(near)}")
    span = next((one for one in spans.values() if one.start <= column < one.stop), slice(0, len(card.names)))
    divisive = card.head == "fractions" and card.link == "divisive"
    usual = VALUE if attributes else PROBABILITY if divisive else LOG_ODDS
    if scale not in ("", usual, PROBABILITY, LOG_ODDS):
        raise RecipeError(f"the scale is '{scale}'; it may be '{LOG_ODDS}' or '{PROBABILITY}'")
    alone = span.stop - span.start < 2 and card.head != "sigmoid"
    if (scale == LOG_ODDS and (divisive or alone)) or (not scale and alone):
        raise RecipeError(
            f"'{card.names[column]}' has no log odds: its share can be exactly 0 or 1; use '{PROBABILITY}'"
        )
    low, high = _ends(tree, column) if attributes and (scale or usual) == VALUE else (0.0, 1.0)
    words = _words(tree, card.names[column]) if spans else plain(card.names[column])
    return Target(card.names[column], scale or usual, column, span.start, span.stop, words, low, high)


def _ends(tree: Tree | None, column: int) -> tuple[float, float]:
    assert tree is not None
    return tree.questions[column].low, tree.questions[column].high


def _words(tree: Tree | None, name: str) -> str:
    """An answer of a tree so that it is understood alone; an attribute by its name."""
    if tree is None or tree.kind == "attributes":
        return plain(name)
    for question in tree.questions:
        columns = tree.columns[tree.slices[question.name]]
        if name in columns:
            return phrase(question, question.answers[columns.index(name)])
    return plain(name)
