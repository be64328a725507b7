"""Galaxy Zoo 1's volunteers: the published layout, types that follow the truth, doubt that grows with distance."""

from dataclasses import replace

import numpy as np
import pytest

from tuningfork.galaxy.labels import LabelChoice, find_votes, make_labels
from tuningfork.galaxy.tree import Tree
from tuningfork.simulate.galaxies import identifier
from tuningfork.simulate.oneclick import SLIP, expected_types, type_votes
from tuningfork.simulate.truth import Galaxy, draw_population

TREE = Tree.load("gz1")
NAMES = [answer.name for answer in TREE.questions[0].answers]
SPIRAL = Galaxy(
    "spiral", magnitude=14.5, radius=7.0, bulge_fraction=0.12, bulge_radius=1.0, inclination=20.0, arms=2, pitch=20.0,
    direction=1, arm_strength=0.65, flocculence=0.1, disk_youth=0.7,
)  # fmt: skip
ELLIPTICAL = Galaxy("elliptical", magnitude=14.5, radius=5.0, bulge_fraction=1.0, bulge_index=4, bulge_radius=5.0)


def test_shares_of_every_galaxy_sum_to_one_and_none_is_below_a_slip_of_the_hand() -> None:
    for survey in ("sdss", "des"):
        shares = np.array([expected_types(galaxy, survey) for galaxy in draw_population(3, 150, survey)])
        np.testing.assert_allclose(shares.sum(1), 1)
        assert shares.min() >= SLIP - 1e-12


@pytest.mark.parametrize(
    ("galaxy", "answer"),
    [
        (ELLIPTICAL, "elliptical"),
        (SPIRAL, "spiral_clockwise"),
        (replace(SPIRAL, direction=-1), "spiral_anticlockwise"),
        (replace(SPIRAL, inclination=88.0), "edge_on"),
        (replace(ELLIPTICAL, kind="merger", companions=(ELLIPTICAL,)), "merger"),
        (Galaxy("star", magnitude=14), "dont_know"),
    ],
)
def test_large_bright_galaxies_are_told_for_what_they_are(galaxy: Galaxy, answer: str) -> None:
    shares = expected_types(galaxy)
    assert NAMES[shares.argmax()] == answer and shares.max() > 0.85


def test_the_sense_of_a_mirror_image_is_the_other_and_nothing_else_changes() -> None:
    one, other = expected_types(SPIRAL), expected_types(replace(SPIRAL, direction=-1))
    np.testing.assert_allclose(one[[0, 2, 1, 3, 4, 5]], other)


def test_spirals_become_ellipticals_as_they_get_small_and_faint() -> None:
    farther = [
        replace(SPIRAL, magnitude=SPIRAL.magnitude + 5 * np.log10(f), radius=SPIRAL.radius / f, bulge_radius=1.0 / f)
        for f in (1, 2, 4)
    ]
    shares = np.array([expected_types(galaxy) for galaxy in farther])
    spiral, elliptical = shares[:, 1] + shares[:, 2], shares[:, 0]
    assert spiral[0] > 0.95 and (np.diff(spiral) < 0).all() and (np.diff(elliptical) > 0).all()
    told = shares[:, 1] / spiral
    assert (np.diff(told) < 0).all() and told.min() >= 0.5


def test_votes_are_whole_and_lie_in_the_published_layout() -> None:
    population = list(draw_population(2, 120))
    catalog = type_votes(population)
    assert catalog.ids == [identifier(galaxy) for galaxy in population]
    kind, counts = find_votes(catalog, TREE, ("counts",))  # P_* times NVOTE: refused unless whole
    assert kind == "counts" and (counts.sum(1) == catalog["NVOTE"]).all() and counts.sum(1).min() >= 5
    assert counts.sum(1).mean() == pytest.approx(40, abs=3)  # Poisson: 0.6
    np.testing.assert_allclose(catalog["P_CS"], catalog["P_CW"] + catalog["P_ACW"] + catalog["P_EDGE"])
    again = type_votes(population[5:6])  # a galaxy's votes depend on nobody else
    assert again["P_EL"][0] == catalog["P_EL"][5] and again["NVOTE"][0] == catalog["NVOTE"][5]


def test_many_votes_come_to_the_expected_shares() -> None:
    catalog = type_votes([SPIRAL], volunteers=200_000)
    shares = np.array([catalog[answer.alias][0] for answer in TREE.questions[0].answers])
    expected = expected_types(SPIRAL)
    assert (np.abs(shares - expected) < 5 * np.sqrt(expected / 200_000)).all()


def test_four_classes_of_whom_volunteers_are_sure() -> None:
    catalog = type_votes(draw_population(0, 400))
    choice = LabelChoice(
        kind="threshold", tree="gz1", drop=("dont_know",), merge={"face_on_spiral": ("spiral_clockwise",
        "spiral_anticlockwise")},
    )  # fmt: skip
    labels = make_labels(catalog, choice)
    assert labels.names == ("elliptical", "face_on_spiral", "edge_on", "merger")
    assert 100 < len(labels) < 250 and labels.dropped["below the threshold 0.95"] > 100
