"""The demographics: the same galaxy whatever surrounds it, the classes asked for, and nothing impossible."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tuningfork.errors import RecipeError
from tuningfork.simulate.survey import SURVEYS, find_survey
from tuningfork.simulate.truth import CLASSES, Galaxy, class_shares, draw_population, generator


def test_a_galaxy_does_not_depend_on_how_many_there_are() -> None:
    ten = list(draw_population(7, 10))
    assert ten == list(draw_population(7, 30))[:10]
    assert ten[4:] == list(draw_population(7, 10, start=4))
    assert ten != list(draw_population(8, 10))
    assert [(galaxy.seed, galaxy.index) for galaxy in ten] == [(7, index) for index in range(10)]


def test_streams_differ() -> None:
    draws = {generator(*key).random() for key in [(0, 0), (0, 1), (1, 0), (-1, 0), (0, 0, 1)]}
    assert len(draws) == 5


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("survey", SURVEYS)
def test_every_class_can_be_asked_for_alone(name: str, survey: str) -> None:
    for galaxy in draw_population(3, 40, survey, {name: 2}):
        assert galaxy.label == name
        bright, faint = find_survey(survey).magnitudes
        if name != "star_or_artefact":
            assert bright <= galaxy.magnitude <= faint
        assert galaxy.half_light > 0.1 and 0 < galaxy.axis_ratio <= 1
        assert 0 <= galaxy.bulge_fraction <= 1 and 0 <= galaxy.position_angle <= 180
        assert galaxy.petrosian(1.3) > galaxy.half_light


def test_shares_are_kept() -> None:
    n = 1500
    counts = Counter(galaxy.label for galaxy in draw_population(1, n))
    for name, share in CLASSES.items():
        assert abs(counts[name] - n * share) < 4 * np.sqrt(n * share)  # four Poisson deviations
    halves = Counter(g.label for g in draw_population(1, 300, class_weights={"merger": 5, "elliptical": 5}))
    assert set(halves) == {"merger", "elliptical"} and min(halves.values()) > 110


def test_the_order_of_the_weights_does_not_matter() -> None:
    one, other = {"merger": 1, "edge_on": 2}, {"edge_on": 2, "merger": 1}
    assert list(draw_population(1, 9, class_weights=one)) == list(draw_population(1, 9, class_weights=other))


@pytest.mark.parametrize(
    "weights", [{"spiral": 1}, {}, {"merger": 0}, {"merger": -1, "edge_on": 2}, {"merger": np.nan}]
)
def test_weights_that_mean_nothing_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(RecipeError):
        class_shares(weights)


def test_labels() -> None:
    spiral = Galaxy("spiral", arms=2, direction=1)
    assert spiral.label == "spiral_clockwise"
    assert replace(spiral, direction=-1).label == "spiral_anticlockwise"
    assert replace(spiral, inclination=85).label == "edge_on"
    assert Galaxy("lenticular").label == Galaxy("elliptical").label == "elliptical"
    assert Galaxy("star").label == Galaxy("artefact", artefact="trail").label == "star_or_artefact"
