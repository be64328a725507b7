"""What models say about one galaxy, as numbers: their heads, and the galaxy with its answers or its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..galaxy.frame import SourceFound
from ..galaxy.tree import Tree
from ..galaxy.votelayout import Layout, interval_fields
from ..model.calibration import CERTAINTY, INTERVALS, SETS


@dataclass(frozen=True)
class Head:
    """The answers of one model: its ``name``, what kind they are (``card.HEADS``), what each is called, and the tree.

    Everything about their meaning follows from the card, so that any model can be asked.
    """

    name: str
    kind: str
    names: tuple[str, ...]
    tree: Tree | None = None
    calibration: Mapping[str, Any] = field(default_factory=dict)  # as the card has it
    rates: Mapping[str, Any] = field(default_factory=dict)  # as the card has them
    costs: Mapping[str, float] = field(default_factory=dict)  # as the card has them

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
        costs = tuple(float(self.costs.get(name, 1.0)) for name in self.names) if self.costs else ()
        return Layout(self.kind, self.names, self.tree, costs)

    def chosen(self, said: Mapping[str, float]) -> str:
        """The class that a galaxy is given: see :meth:`~tuningfork.galaxy.votelayout.Layout.chosen`."""
        return self.names[int(self.layout.chosen(np.array([[said[name] for name in self.names]]))[0])]

    @property
    def level(self) -> float:
        """How often the truth is in the set or in an interval: 0.9, say; 0 where neither was fitted."""
        told = self.calibration.get(SETS) or self.calibration.get(INTERVALS) or {}
        return float(told.get("coverage", 0.0))

    @property
    def has_sets(self) -> bool:
        """Whether there are sets of classes: :meth:`likely`."""
        return SETS in self.calibration

    @property
    def with_intervals(self) -> tuple[str, ...]:
        """The answers that have an interval, in the order of all."""
        columns = self.calibration.get(INTERVALS, {}).get("columns", {})
        return tuple(name for name in self.names if name in columns)

    def likely(self, said: Mapping[str, float]) -> tuple[str, ...]:
        """The classes that hold the truth as often as :attr:`level` says, the likeliest first; () where not fitted.

        Those with 1 - p up to the card's threshold, and the likeliest always
        (:func:`tuningfork.evaluate.conformal.sets`).
        """
        if not self.has_sets:
            return ()
        ranked = sorted(self.names, key=lambda name: -said[name])
        threshold = self.calibration[SETS]["threshold"] + 1e-6  # answers are rounded to six digits
        return tuple(name for k, name in enumerate(ranked) if not k or 1 - said[name] <= threshold)

    def weighed(self, said: Mapping[str, float]) -> dict[str, float]:
        """Probabilities p of classes as they are where these have other shares r than the t of the training.

        p r / t over the sum of these (Bayes; Saerens et al. 2002, Neural Computation 14, 21, eq. 2.4), of the card's
        ``rates``; as they are without any.
        """
        if not self.rates:
            return dict(said)
        odds = {k: p * self.rates["shares"][k] / self.rates["learnt"][k] for k, p in said.items()}
        total = sum(odds.values())
        return {name: one / total for name, one in odds.items()}

    def intervals(self, said: Mapping[str, float]) -> dict[str, float]:
        """The ends of the intervals, by the answer's name with "_low" and "_high", within the attribute's scale."""
        ends = self.ends({name: np.array(said[name]) for name in self.with_intervals})
        return {name: round(float(end), 6) for name, end in ends.items()}

    def ends(self, said: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
        """:meth:`intervals` of many galaxies: of each answer (N,) by name, its two ends (N,)."""
        ends = {}
        for name in self.with_intervals:
            assert self.tree is not None
            column, scale = self.calibration[INTERVALS]["columns"][name], self.tree.question(name)
            value = np.asarray(said[name], np.float64)
            width = np.asarray(column["half_widths"], np.float64)[np.searchsorted(column["edges"], value, side="right")]
            ends[f"{name}_low"] = np.maximum(value - width, scale.low)
            ends[f"{name}_high"] = np.minimum(value + width, scale.high)
        return ends

    def interval_columns(self) -> list[Any]:
        """The columns of :meth:`ends` in a table."""
        columns = (self.layout.value_columns[self.names.index(name)] for name in self.with_intervals)
        return [one for column in columns for one in interval_fields(column, self.level)]

    def said(self, values: NDArray[np.float32]) -> dict[str, float]:
        """One galaxy's outputs (K,) by name.

        Probabilities as they are; of Dirichlet concentrations a the expected fractions a / A of each question; an
        attribute x in 0..1 as ``low + x (high - low)``, on its own scale, with :meth:`intervals` where they are known.
        """
        numbers = np.asarray(values, np.float64)
        if self.tree is not None and self.kind == "dirichlet":
            numbers = self.tree.fractions(numbers)
        elif self.tree is not None and self.is_attributes:
            numbers = self.on_scale(numbers)
        told = dict(zip(self.names, numbers.round(6).tolist(), strict=True))
        return told | self.intervals(told)

    def on_scale(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Attributes (..., K) in 0..1 on their own scales."""
        assert self.tree is not None
        low, high = (np.array([getattr(one, end) for one in self.tree.questions]) for end in ("low", "high"))
        return low + np.asarray(values, np.float64) * (high - low)


@dataclass(frozen=True)
class Galaxy:
    """One galaxy: where its source is, and what each model says about it; or the reason why it was rejected.

    ``x`` (column) and ``y`` (row), whole numbers being the middles of pixels, and ``petrosian_radius`` are in pixels of
    the file as stored, ``position_angle`` in degrees from the x axis towards growing y; None where no source was
    measured. ``answers`` holds, by the model's name, each answer by its own: see :meth:`Head.said`. ``likely`` holds in
    the same way the classes of its set: see :meth:`Head.likely`. ``p_typical`` is the share of galaxies like those
    of the training that look at least as strange to the encoder, None where that is not known.
    """

    id: str
    answers: dict[str, dict[str, float]] = field(default_factory=dict)
    likely: dict[str, tuple[str, ...]] = field(default_factory=dict)
    p_typical: float | None = None
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


def certain(answers: NDArray[np.float32], calibration: Mapping[str, Any], tree: Tree | None) -> NDArray[np.float32]:
    """Answers (N, K) as sure as a card's ``calibration`` makes them: Dirichlet concentrations times their question's
    scale; all else, and questions without a scale, as it is."""
    scales = calibration.get(CERTAINTY, {}).get("scales", {})
    if not scales or tree is None:
        return answers
    factors = np.ones(answers.shape[1], np.float32)
    for question, scale in scales.items():
        factors[tree.slices[question]] = scale
    return answers * factors
