"""Test-time views: a group of eight, and what mirrors do to answers."""

import numpy as np
import pytest

from tuningfork.errors import RecipeError
from tuningfork.predict.views import VIEWS, chosen_views, mirrored, unmirror, view

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 5), dtype=np.uint8)
NAMES = ("elliptical", "spiral_clockwise", "edge_on", "spiral_anticlockwise")


def test_the_first_view_is_the_image() -> None:
    assert np.array_equal(view(IMAGES, 0), IMAGES)


def test_the_views_are_all_different() -> None:
    assert len({view(IMAGES, number).tobytes() for number in range(VIEWS)}) == VIEWS


@pytest.mark.parametrize("number", range(VIEWS))
def test_views_are_closed_under_turning(number: int) -> None:
    all_views = {view(IMAGES, one).tobytes() for one in range(VIEWS)}
    assert view(view(IMAGES, number), 1).tobytes() in all_views
    assert view(view(IMAGES, number), 4).tobytes() in all_views


def test_four_quarter_turns_are_the_identity() -> None:
    turned = IMAGES
    for _ in range(4):
        turned = view(turned, 1)
    assert np.array_equal(turned, IMAGES)


def test_a_mirror_swaps_the_directions_and_nothing_else() -> None:
    assert mirrored(NAMES) == (0, 3, 2, 1)
    assert mirrored(("spiral_clockwise", "elliptical")) == (0, 1), "a direction without its partner stays"
    answers = np.arange(8, dtype=np.float32).reshape(2, 4)
    assert np.array_equal(unmirror(answers, NAMES, 4), answers[:, [0, 3, 2, 1]])
    assert np.array_equal(unmirror(answers, NAMES, 3), answers)
    assert np.array_equal(unmirror(unmirror(answers, NAMES, 5), NAMES, 5), answers)


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_counts(count: int) -> None:
    assert len(set(chosen_views(count))) == count


def test_other_counts_are_refused() -> None:
    with pytest.raises(RecipeError, match="--views is 3"):
        chosen_views(3)
