"""What models say about one galaxy, as numbers: their heads, and the galaxy with its answers or its reason."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..galaxy.frame import SourceFound
from ..galaxy.tree import Tree
from ..galaxy.votelayout import Layout


@dataclass(frozen=True)
class Head:
    """The answers of one model: its ``name``, what kind they are (``card.HEADS``), what each is called, and the tree.

    Everything about their meaning follows from the card, so that any model can be asked.
    """

    name: str
    kind: str
    names: tuple[str, ...]
    tree: Tree | None = None

    @property
    def is_attributes(self) -> bool:
        """Numbers on scales of their own, such as EFIGI's Hubble stage."""
        return self.tree is not None and self.tree.kind == "attributes"

    @property
    def is_path(self) -> bool:
        """Fractions of votes on questions of which one leads to the next."""
        return self.tree is not None and self.tree.kind == "votes"

    @cached_property
    def layout(self) -> Layout:
        """The columns that these answers have in a table."""
        return Layout(self.kind, self.names, self.tree)

    def said(self, values: NDArray[np.float32]) -> dict[str, float]:
        """One galaxy's outputs (K,) by name.

        Probabilities as they are; of Dirichlet concentrations a the expected fractions a / A of each question; an
        attribute x in 0..1 as ``low + x (high - low)``, on its own scale.
        """
        numbers = np.asarray(values, np.float64)
        if self.tree is not None and self.kind == "dirichlet":
            numbers = self.tree.fractions(numbers)
        elif self.tree is not None and self.is_attributes:
            low, high = (np.array([getattr(one, end) for one in self.tree.questions]) for end in ("low", "high"))
            numbers = low + numbers * (high - low)
        return dict(zip(self.names, numbers.round(6).tolist(), strict=True))


@dataclass(frozen=True)
class Galaxy:
    """One galaxy: where its source is, and what each model says about it; or the reason why it was rejected.

    ``x`` (column) and ``y`` (row), whole numbers being the middles of pixels, and ``petrosian_radius`` are in pixels of
    the file as stored, ``position_angle`` in degrees from the x axis towards growing y; None where no source was
    measured. ``answers`` holds, by the model's name, each answer by its own: see :meth:`Head.said`.
    """

    id: str
    answers: dict[str, dict[str, float]] = field(default_factory=dict)
    x: float | None = None
    y: float | None = None
    petrosian_radius: float | None = None
    axis_ratio: float | None = None
    position_angle: float | None = None
    ra: float | None = None
    dec: float | None = None
    reason: str = ""
    detail: str = ""

    @property
    def status(self) -> str:
        """ "done" or "rejected"."""
        return "rejected" if self.reason else "done"

    def at(self, source: SourceFound) -> Galaxy:
        """The galaxy with its source, in pixels of the file."""
        names = ("x", "y", "petrosian_radius", "axis_ratio", "position_angle")
        return replace(self, **{name: getattr(source, name) for name in names})

    def as_json(self) -> dict[str, Any]:
        """Every entry that has a value, as JSON takes it."""
        told = {key: value for key, value in vars(self).items() if value not in (None, "", {})}
        return {"id": told.pop("id"), "status": self.status, **told}


def averaged(answers: NDArray[np.float32], kind: str, tree: Tree | None) -> NDArray[np.float32]:
    """The mean (N, K) of answers (views, N, K).

    Arithmetic of probabilities and fractions. Of Dirichlet concentrations a it is that of the expected fractions a / A,
    times the mean of A, for each question.
    """
    if len(answers) == 1 or kind != "dirichlet" or tree is None:
        return answers.mean(axis=0)
    mean = np.empty_like(answers[0])
    for columns in tree.slices.values():
        alpha = answers[..., columns]  # (views, N, answers of one question)
        strength = alpha.sum(axis=-1, keepdims=True)
        mean[:, columns] = (alpha / strength).mean(axis=0) * strength.mean(axis=0)
    return mean
