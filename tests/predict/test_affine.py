"""The winner's sixty views: what turns, zooms and mirrors do to pixels, and that none looks past the margin."""

import math

import numpy as np
import pytest

from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.display import Display, render_record
from tuningfork.predict.affine import SIXTY, Affine, margin, moved
from tuningfork.predict.views import VIEWS, chosen_views, unmirror, view
from tuningfork.predict.views import margin as margin_of

NOISE = np.random.default_rng(0).integers(0, 256, (2, 3, 31, 31), dtype=np.uint8)


def smooth(side: int, centre: tuple[float, float] = (0.0, 0.0), width: float = 6.0) -> np.ndarray:
    """One picture (1, 1, side, side) of a round Gaussian whose centre is (right, down) of the middle."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    light = 230 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * width**2)) + 10
    return np.rint(light).astype(np.uint8)[None, None]


@pytest.mark.parametrize("edge", [0, 3, 10])
def test_the_plain_view_is_the_centre_of_the_picture(edge: int) -> None:
    size = 31 - 2 * edge
    assert np.array_equal(moved(NOISE, size, Affine()), NOISE[..., edge : edge + size, edge : edge + size])


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("side", [30, 31])
def test_quarter_turns_and_mirrors_are_the_eight_views(turns: int, mirror: bool, side: int) -> None:
    square = NOISE[..., :side, :side]
    assert np.array_equal(moved(square, side, Affine(90.0 * turns, 1.0, mirror)), view(square, turns + 4 * mirror))


def test_a_zoom_by_two_shows_the_inner_half() -> None:
    """Between pixels the picture is linear: at zoom 2 every output pixel lies a quarter from its nearest."""
    ramp = np.tile(np.arange(0, 160, 4, dtype=np.uint8), (40, 1))[None, None]  # (1, 1, 40, 40), 4 levels per px
    seen = moved(ramp, 40, Affine(zoom=2.0))
    assert np.array_equal(np.diff(seen[0, 0, 0].astype(int)), np.full(39, 2))
    assert seen.mean() == ramp.mean()


@pytest.mark.parametrize("how", [Affine(36.0), Affine(zoom=1.2), Affine(zoom=1 / 1.2), Affine(72.0, 1.2, True)])
def test_a_view_undone_is_the_picture(how: Affine) -> None:
    back = Affine(how.turn if how.mirror else -how.turn, 1 / how.zoom, how.mirror)  # a mirrored turn undoes itself
    picture = smooth(91, (5.0, -3.0))
    again = moved(moved(picture, 91, how), 45, back)
    inner = picture[..., 23:68, 23:68]
    assert np.abs(again.astype(int) - inner).max() <= 4 and np.abs(inner.astype(int) - inner.min()).max() > 200


@pytest.mark.parametrize("number", range(len(SIXTY)))
def test_a_galaxy_off_the_centre_goes_where_it_should(number: int) -> None:
    """The centre of light: mirrored left-right, turned anticlockwise (rows run down), and zoomed."""
    how, (right, down) = SIXTY[number], (7.0, 2.0)
    seen = moved(smooth(101, (right, down), 3.0), 61, how)[0, 0].astype(float) - 10
    y, x = np.mgrid[:61, :61] - 30.0
    found = (seen * x).sum() / seen.sum(), (seen * y).sum() / seen.sum()
    angle, right = math.radians(how.turn), -right if how.mirror else right
    wanted = right * math.cos(angle) + down * math.sin(angle), down * math.cos(angle) - right * math.sin(angle)
    assert found == pytest.approx([how.zoom * one for one in wanted], abs=0.05)


def test_sixty_different_views_half_of_them_mirrored() -> None:
    assert len(set(SIXTY)) == 60 and SIXTY[0] == Affine() and sum(one.mirror for one in SIXTY) == 30
    assert len({view(NOISE, number, 15).tobytes() for number in chosen_views(60)}) == 60
    assert min(chosen_views(60)) == VIEWS


@pytest.mark.parametrize("size", [32, 33, 69, 224])
def test_no_view_looks_past_the_margin_and_the_margin_is_not_wider_than_that(size: int) -> None:
    edge = margin(size)
    outside = np.zeros((1, 1, size + 2 * edge + 2, size + 2 * edge + 2), np.uint8)
    outside[..., 1:-1, 1:-1] = 200  # what lies within the margin
    assert all((moved(outside, size, one) == 200).all() for one in SIXTY)
    outside[..., 3:-3, 3:-3] = 0
    assert any(moved(outside, size, one).any() for one in SIXTY)
    assert margin_of(chosen_views(8), size) == margin_of((VIEWS,), size) == 0 < margin_of(chosen_views(60), size)


def test_a_rendered_record_keeps_its_centre() -> None:
    """The plain one of the sixty is, bit for bit, the picture that one view sees: from a real decode and resampling."""
    pixels = np.random.default_rng(1).integers(0, 256, (3, 90, 90), dtype=np.uint8)
    record = Record.from_pixels("g", pixels, ("red", "green", "blue"))
    display = Display(size=20, crop=48, bands=("red", "green", "blue"))
    wide = render_record(record, display, margin(20))
    assert np.array_equal(view(wide[None], VIEWS, 20)[0], render_record(record, display))


def test_a_round_galaxy_looks_the_same_from_all_turns() -> None:
    picture = smooth(117, width=8.0)
    for zoom in {one.zoom for one in SIXTY}:
        seen = [moved(picture, 69, one).astype(int) for one in SIXTY if one.zoom == zoom]
        assert max(np.abs(one - seen[0]).max() for one in seen) <= 2  # bilinear on a curve, and rounding


def test_answers_of_mirrored_views_are_swapped_back() -> None:
    answers = np.arange(4, dtype=np.float32).reshape(2, 2)
    for number in chosen_views(60):
        swapped = unmirror(answers, ("clockwise", "anticlockwise"), number)
        assert np.array_equal(swapped, answers[:, ::-1] if SIXTY[number - VIEWS].mirror else answers)
