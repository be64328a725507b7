"""Clockwise and anticlockwise change places in a mirror, in every spelling, and nothing else does."""

import itertools

import pytest

from tuningfork.galaxy.mirror import mirrored
from tuningfork.galaxy.tree import Tree


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("clockwise", "anticlockwise"),
        ("spiral_clockwise", "spiral_counterclockwise"),
        ("Spiral Clockwise", "spiral counter-clockwise"),
        ("clockwise_tight", "counter_clockwise_tight"),
        ("clockwise", "anti_clockwise"),
        ("SPIRAL_CW", "spiral_ccw"),
        ("cw", "acw"),
        ("spiral-cw2", "spiral-acw2"),
        ("cw", "anticlockwise"),
        ("Z_clockwise", "S_anticlockwise"),
    ],
)
def test_the_two_senses_change_places(one: str, other: str) -> None:
    assert mirrored(["smooth", one, "star", other]) == (0, 3, 2, 1)
    assert mirrored([other, one]) == (1, 0)


@pytest.mark.parametrize("name", ["cwt", "accwb", "likewise", "otherwise", "clock", "smooth", "wise"])
def test_no_other_word_has_a_sense(name: str) -> None:
    assert mirrored([name, f"{name}_ccw", "ccw"]) == (0, 1, 2)


def test_an_answer_without_partner_is_its_own() -> None:
    assert mirrored(["smooth", "clockwise"]) == (0, 1)
    assert mirrored([]) == ()
    # two left of one sense: nobody can say which belongs to the third
    assert mirrored(["a_cw", "b_cw", "c_ccw"]) == (0, 1, 2)


def test_pairs_are_made_within_their_frame() -> None:
    assert mirrored(["tight_cw", "loose_ccw", "loose_cw", "tight_ccw"]) == (3, 2, 1, 0)


def test_a_mirror_undoes_itself() -> None:
    words = ["cw", "clockwise", "ccw", "anticlockwise", "x_cw", "smooth"]
    for names in itertools.permutations(words, 4):
        swap = mirrored(names)
        assert [swap[k] for k in swap] == [0, 1, 2, 3], names


def test_galaxy_zoo_1() -> None:
    names = Tree.load("gz1").columns
    moved = {names[k]: names[j] for k, j in enumerate(mirrored(names)) if j != k}
    assert len(moved) == 2
    assert all(("anti" in one) != ("anti" in other) for one, other in moved.items())
