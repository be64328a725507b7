"""Volunteers of Galaxy Zoo 1, who tell a galaxy's type by one click, about galaxies of known truth."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
import pyarrow as pa

from ..galaxy.catalog import Catalog
from ..galaxy.tree import Tree
from .galaxies import identifier
from .survey import SimulatedSurvey, find_survey
from .truth import Galaxy
from .volunteers import VOLUNTEERS, expected_fractions, structures, visibility, vote

SLIP = 0.005  # of the hand: the share of clicks that go to each answer whatever the galaxy is


def expected_types(galaxy: Galaxy, survey: str | SimulatedSurvey = "sdss") -> np.ndarray:
    """The share of each answer of the tree "gz1" (6,), were there infinitely many volunteers; float64, sums to 1.

    A volunteer goes by what strikes the eye, judged as by Galaxy Zoo 2's (see ``volunteers``), in this order: a star
    or nothing that can be told (their "star or artifact"); two galaxies at work; a disk seen edge-on; arms, whose sense
    is clear to most who see them; bars, rings and the like without arms, of which half call the galaxy a spiral "edge
    on or unclear", the button's words. What remains is elliptical, which every galaxy becomes that is too small.
    """
    where = find_survey(survey)
    sight = visibility(galaxy, where)
    seen = structures(galaxy, sight)
    star = float(expected_fractions(galaxy, where, _second())[2])  # of smooth, features, star or artifact
    merging = {"merger": 0.25 + 0.75 * sight, "irregular": 0.1}.get(galaxy.kind, 0.1 * bool(galaxy.companions))
    edge = 1 - (1 - seen["edge"]) ** 2
    arms = 1 - (1 - seen["arms"]) ** 3  # one look at one arm is enough
    told = 1 - 0.5 * (1 - seen["arms"]) ** 2  # of these, who have its sense right: half at worst
    other = 1 - np.prod([1 - seen[name] for name in ("bar", "ring", "dust", "uneven")])
    left = 1.0
    shares = np.zeros(6)  # elliptical, clockwise, anticlockwise, edge on, don't know, merger
    for answer, share in ((4, star), (5, merging), (3, edge)):
        shares[answer] = left * share
        left -= shares[answer]
    right, wrong = (1, 2) if galaxy.direction >= 0 else (2, 1)
    shares[right], shares[wrong] = left * arms * told, left * arms * (1 - told)
    shares[3] += left * (1 - arms) * 0.5 * other
    shares[0] = left * (1 - arms) * (1 - 0.5 * other)
    return SLIP + (1 - 6 * SLIP) * shares


@cache
def _second() -> Tree:
    return Tree.load("gz2")


def type_votes(
    population: Iterable[Galaxy], survey: str | SimulatedSurvey = "sdss", volunteers: float = VOLUNTEERS
) -> Catalog:
    """The votes of simulated volunteers as Galaxy Zoo 1 publishes them, one row per galaxy, in the population's order.

    ``id`` as in the store of :func:`~tuningfork.simulate.galaxies.simulate_galaxies`, ``NVOTE`` (about ``volunteers``),
    ``P_EL``, ``P_CW``, ``P_ACW``, ``P_EDGE``, ``P_DK``, ``P_MG`` (sum 1) and ``P_CS``, the spirals of any kind. The
    same galaxy gets the same votes, always. A population is drawn by
    :func:`~tuningfork.simulate.truth.draw_population`.
    """
    tree = Tree.load("gz1")
    people = list(population)
    votes = [vote(galaxy, expected_types(galaxy, survey), tree, volunteers) for galaxy in people]
    counts = np.array(votes, np.int64).reshape(-1, tree.n_answers)
    shares = counts / counts.sum(axis=1, keepdims=True)
    answers = tree.questions[0].answers
    columns: dict[str, object] = {"id": pa.array([identifier(galaxy) for galaxy in people], pa.string())}
    columns["NVOTE"] = counts.sum(axis=1)
    columns |= {answer.alias: shares[:, number] for number, answer in enumerate(answers)}
    return Catalog({**columns, "P_CS": shares[:, 1:4].sum(axis=1)}, name="the simulated volunteers' votes")
