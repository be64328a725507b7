"""Smoothing and masking: flux stays, a point becomes a Gaussian of the FWHM asked for, zero changes nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork import recipe
from tuningfork.errors import BadImage, Reason, RecipeError
from tuningfork.galaxy.cutout import COLOUR, GREY, Cutout, Record
from tuningfork.galaxy.decode import decode
from tuningfork.galaxy.display import Display, render, render_record
from tuningfork.galaxy.smoothing import masked, smoothed


def speckled(height: int = 70, width: int = 60, seed: int = 0) -> np.ndarray:
    """A picture in which every pixel is another: where a filter acts, it shows."""
    return np.random.default_rng(seed).integers(0, 256, (3, height, width)).astype(np.uint8)


def flux(height: int = 70, width: int = 60) -> np.ndarray:
    """Noise about a bright square, float32, two bands."""
    planes = np.random.default_rng(1).normal(size=(2, height, width)).astype(np.float32)
    planes[:, height // 2 - 8 : height // 2 + 8, width // 2 - 8 : width // 2 + 8] += 40
    return planes


def half_maximum(profile: np.ndarray) -> float:
    """The full width at half maximum of a profile, linear between its pixels."""
    above = np.flatnonzero(profile >= profile.max() / 2)
    left, right, half = above[0], above[-1], profile.max() / 2
    before = (profile[left] - half) / (profile[left] - profile[left - 1])
    after = (profile[right] - half) / (profile[right] - profile[right + 1])
    return float(right - left + before + after)


@settings(max_examples=40, deadline=None)
@given(height=st.integers(8, 90), width=st.integers(8, 90), fwhm=st.floats(0.1, 8))
def test_flux_is_conserved_at_the_edges_too(height: int, width: int, fwhm: float) -> None:
    pixels = flux(height, width)
    np.testing.assert_allclose(smoothed(pixels, fwhm).sum(axis=(1, 2)), pixels.sum(axis=(1, 2)), rtol=1e-4, atol=0.05)
    picture = speckled(height, width)
    assert abs(smoothed(picture, fwhm).mean() - picture.mean()) < 0.25  # each pixel is rounded, either way


@pytest.mark.parametrize("fwhm", [2.5, 4.0, 9.0])
def test_a_point_becomes_a_round_gaussian_of_that_width(fwhm: float) -> None:
    point = np.zeros((1, 81, 81), np.float32)
    point[0, 40, 40] = 1
    out = smoothed(point, fwhm)[0]
    y, x = np.mgrid[-40:41, -40:41]
    expected = np.exp(-4 * np.log(2) * (x**2 + y**2) / fwhm**2) * 4 * np.log(2) / (np.pi * fwhm**2)
    np.testing.assert_allclose(out, expected, atol=2e-3 * expected.max())
    for profile in (out[40], out[:, 40]):
        assert half_maximum(profile) == pytest.approx(fwhm, rel=0.05)  # linear between pixels


def test_two_gaussians_in_turn_are_one_of_their_squares_sum() -> None:
    pixels = flux()
    np.testing.assert_allclose(smoothed(smoothed(pixels, 3.0), 4.0), smoothed(pixels, 5.0), atol=0.05)
    assert smoothed(pixels, 3.0).std() < 0.98 * pixels.std()


def test_zero_leaves_pictures_and_flux_alone() -> None:
    np.testing.assert_array_equal(smoothed(speckled(), 0.0), speckled())
    cutout = Cutout("a", speckled(), COLOUR)
    np.testing.assert_array_equal(
        render(cutout, Display(size=30, smooth=0.0, mask=0)), render(cutout, Display(size=30))
    )


def test_smoothing_comes_before_resampling() -> None:
    cutout = Cutout("a", speckled(80, 80), COLOUR)
    before = Cutout("a", smoothed(cutout.pixels, 4.0), COLOUR)
    np.testing.assert_array_equal(render(cutout, Display(size=20, smooth=4.0)), render(before, Display(size=20)))
    bright = Cutout("a", flux(), ("g", "r"))
    before = Cutout("a", smoothed(bright.pixels, 4.0), ("g", "r"))
    np.testing.assert_array_equal(
        render(bright, Display(size=20, smooth=4.0, stretch="asinh")), render(before, Display(size=20, stretch="asinh"))
    )


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(30, 90), st.integers(30, 90)),
    size=st.integers(8, 50),
    crop=st.just(0.0) | st.floats(12, 35),
    margin=st.integers(1, 25),
    smooth=st.floats(0, 6),
    mask=st.integers(0, 140),
    stretch=st.sampled_from(["none", "asinh"]),
)
def test_the_centre_is_the_same_for_every_margin(
    shape: tuple[int, int], size: int, crop: float, margin: int, smooth: float, mask: int, stretch: str
) -> None:
    cutout = Cutout("a", speckled(*shape), COLOUR) if stretch == "none" else Cutout("a", flux(*shape), ("g", "r"))
    display = Display(size=size, crop=crop, stretch=stretch, smooth=smooth, mask=mask)
    wide = render(cutout, display, margin)
    np.testing.assert_array_equal(wide[:, margin:-margin, margin:-margin], render(cutout, display))


def test_a_jpeg_to_be_smoothed_is_decoded_whole() -> None:
    record = Record.from_picture("a", np.moveaxis(smoothed(speckled(160, 160), 1.5), 0, 2))
    display = Display(size=20, crop=140, smooth=4.0, mask=20)
    np.testing.assert_array_equal(render_record(record, display, 3), render(record.cutout(), display, 3))
    plain = Display(size=20, crop=140)  # without smoothing it is decoded smaller
    assert (render_record(record, plain) != render(record.cutout(), plain)).any()


def test_a_jpeg_that_came_smaller_is_smoothed_by_as_much_of_it() -> None:
    record = Record.from_picture("a", np.moveaxis(smoothed(speckled(160, 160), 4.0), 0, 2))
    display = Display(size=20, smooth=12.0)
    whole, half = (render(record.cutout(shrink), display).astype(int) for shrink in (1.0, 2.0))
    assert record.cutout(2.0).shrink == 2.0
    assert np.abs(whole - half).max() <= 2
    assert np.abs(whole - render(record.cutout(2.0), Display(size=20, smooth=24.0))).max() > 4


def test_one_angle_on_the_sky_for_every_pixel_scale() -> None:
    fine = smoothed(speckled(120, 120)[:1], 4.0)
    coarse = np.rint(fine.reshape(1, 60, 2, 60, 2).mean(axis=(2, 4))).astype(np.uint8)
    display = Display(size=24, crop=48, pixel_scale=0.8, smooth=6.0)
    shown = [
        render(Cutout("a", pixels, GREY, scale), display).astype(int) for pixels, scale in ((fine, 0.4), (coarse, 0.8))
    ]
    assert np.abs(shown[0] - shown[1]).max() <= 2
    assert np.abs(shown[0] - render(Cutout("a", fine, GREY), Display(size=24, crop=96, smooth=6.0))).max() > 4


def test_holes_in_flux_do_not_spread() -> None:
    holed = flux()
    holed[:, 10:14, 10:14] = np.nan
    shown = render(Cutout("a", holed, ("g", "r")), Display(size=60, stretch="asinh", smooth=4.0))
    whole = render(Cutout("a", flux(), ("g", "r")), Display(size=60, stretch="asinh", smooth=4.0))
    far = np.s_[:, 30:, 30:]
    assert np.abs(shown[far].astype(int) - whole[far]).max() <= 2  # but for the levels


def test_a_gaussian_wider_than_the_image_is_rejected() -> None:
    cutout = Cutout("a", speckled(40, 60), COLOUR)
    render(cutout, Display(size=20, smooth=40.0))
    for display in (Display(size=20, smooth=40.5), Display(size=20, crop=20, smooth=10, pixel_scale=2.0)):
        with pytest.raises(BadImage, match="40 x 60 px") as caught:
            render(Cutout("a", cutout.pixels, COLOUR, 0.4), display)
        assert caught.value.reason is Reason.TOO_SMALL


def test_the_mask_by_hand() -> None:
    """Means over the bands of 14 2/3, 15 and 20: a threshold of 15 takes the first alone, whole."""
    shown = np.array([[[44, 15, 0]], [[0, 15, 0]], [[0, 15, 60]]], np.uint8)
    np.testing.assert_array_equal(masked(shown, 15)[:, 0, 0], [0, 0, 0])
    np.testing.assert_array_equal(masked(shown, 15)[:, 0, 1:], shown[:, 0, 1:])
    assert masked(shown, 0) is shown and masked(shown, 15).dtype == np.uint8


@pytest.mark.parametrize("stretch", ["none", "asinh"])
def test_a_higher_mask_blackens_more_and_changes_nothing_else(stretch: str) -> None:
    cutout = Cutout("a", speckled(), COLOUR) if stretch == "none" else Cutout("a", flux(), ("g", "r"))
    plain = render(cutout, Display(size=30, stretch=stretch))
    black_before = np.zeros((30, 30), bool)
    for threshold in (0, 15, 30, 100, 255):
        shown = render(cutout, Display(size=30, stretch=stretch, mask=threshold))
        black = (shown == 0).all(axis=0)
        np.testing.assert_array_equal(shown[:, ~black], plain[:, ~black])
        np.testing.assert_array_equal(black, (plain.mean(axis=0) < threshold) | (plain == 0).all(axis=0))
        assert (black >= black_before).all()
        black_before = black
    assert black_before.mean() > 0.9


WRONG: list[dict[str, Any]] = [
    {"smooth": -1.0},
    {"smooth": float("nan")},
    {"smooth": float("inf")},
    {"smooth": 101.0},
    {"mask": -1},
    {"mask": 256},
]


@pytest.mark.parametrize("choices", WRONG, ids=str)
def test_what_cannot_be_is_quoted(choices: dict[str, Any]) -> None:
    key, value = next(iter(choices.items()))
    with pytest.raises(RecipeError, match=f"{key} is {value}; it is"):
        Display(**choices)


def test_cards_from_before_these_keys_still_load() -> None:
    mapping = recipe.to_mapping(Display(size=80, smooth=4.0, mask=15))
    assert recipe.from_mapping(Display, mapping) == Display(size=80, smooth=4.0, mask=15)
    old = {key: value for key, value in mapping.items() if key not in ("smooth", "mask")}
    assert recipe.from_mapping(Display, old) == Display(size=80)


def test_a_weak_mask_takes_the_sky_of_real_galaxies_and_leaves_their_centres(real_data: Path) -> None:
    files = sorted((real_data / "gz1" / "images").glob("*.jpg"))[:60]
    masked_share, centres = [], []
    for file in files:
        image = decode(file.read_bytes())
        shown = render(Cutout("a", image.pixels, image.bands), Display(size=64, smooth=4.0, mask=15))
        black = (shown == 0).all(axis=0)
        masked_share.append(black.mean())
        centres.append(black[30:34, 30:34].any())
    assert len(files) == 60 and 0.2 < np.median(masked_share) < 0.95
    assert np.mean(centres) < 0.1
