"""A source is found where it is, as large as it is, at any scale, level and turn, beside neighbours; else refused."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tuningfork import recipe
from tuningfork.errors import BadImage, Reason, RecipeError
from tuningfork.galaxy.cutout import COLOUR, GREY, Cutout, Record
from tuningfork.galaxy.decode import decode
from tuningfork.galaxy.display import Display, render, render_record
from tuningfork.galaxy.frame import ETA, SourceFound, find_source, framed

STEEPNESS = {0.5: 0.6931, 1.0: 1.6783, 4.0: 7.6692}  # b_n of Sersic's law: half of the light is within one radius


def sersic(
    side: int, radius: float, *, x: float = 0, y: float = 0, ratio: float = 1, angle: float = 0, n: float = 1
) -> np.ndarray:
    """A source of unit brightness at its centre, (x, y) from the middle, averaged over each pixel."""
    over = 5
    along = (np.arange(side * over) + 0.5) / over - side / 2
    dy, dx = along[:, None] - y, along - x
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    distance = np.hypot(dx * cosine + dy * sine, (dy * cosine - dx * sine) / ratio) / radius
    light = np.exp(-STEEPNESS[n] * distance ** (1 / n))
    return light.reshape(side, over, side, over).mean(axis=(1, 3))


def petrosian_of(n: float) -> float:
    """The Petrosian radius of a Sersic law of unit half-light radius, by the definition, on a fine grid."""
    r = np.linspace(0, 14, 140_001)
    surface = np.exp(-STEEPNESS[n] * r ** (1 / n)) * 2 * np.pi * r
    light = np.concatenate([[0], np.cumsum((surface[1:] + surface[:-1]) / 2 * np.diff(r))])
    for radius in np.arange(0.5, 8, 0.001):
        inner, within, outer = np.interp([0.8 * radius, radius, 1.25 * radius], r, light)
        if (outer - inner) / (1.25**2 - 0.8**2) < ETA * within:
            return float(radius)
    raise AssertionError("eta does not fall")


def noise(shape: tuple[int, ...], sigma: float, seed: int = 0) -> np.ndarray:
    return sigma * np.random.default_rng(seed).normal(size=shape)


def centre_of(source: SourceFound, side: int) -> tuple[float, float]:
    return source.x - (side - 1) / 2, source.y - (side - 1) / 2


def reason_of(pixels: np.ndarray) -> Reason:
    with pytest.raises(BadImage) as caught:
        find_source(pixels)
    return caught.value.reason


def test_petrosian_radii_by_the_definition() -> None:
    """An exponential disc's is 3.55 scale lengths: eta's annulus is broad; with an infinitely thin one it is 3.63."""
    assert petrosian_of(1.0) * STEEPNESS[1.0] == pytest.approx(3.55, abs=0.01)
    assert petrosian_of(0.5) == pytest.approx(1.943, abs=0.003)


@pytest.mark.parametrize("n, off", [(0.5, 0.03), (1.0, 0.02), (4.0, 0.15)])  # n = 4: its wings go on beyond the border
@pytest.mark.parametrize("side, radius", [(64, 5), (100, 12), (212, 20)])
@pytest.mark.parametrize("ratio, angle", [(1.0, 0.0), (0.5, 30.0), (0.4, 120.0)])
def test_centre_size_and_shape_are_those_drawn(
    n: float, off: float, side: int, radius: float, ratio: float, angle: float
) -> None:
    found = find_source(sersic(side, radius, x=2.3, y=-1.6, ratio=ratio, angle=angle, n=n))
    assert centre_of(found, side) == pytest.approx((2.3, -1.6), abs=0.2)
    assert found.petrosian_radius == pytest.approx(petrosian_of(n) * radius, rel=off)
    assert found.axis_ratio == pytest.approx(ratio, abs=0.02 if n < 4 else 0.08)
    if ratio < 1:
        assert found.position_angle == pytest.approx(angle, abs=2)
    assert found.whole and found.outside < 0.06
    if n < 4:
        assert found.half_light_radius == pytest.approx(radius, rel=0.03)


@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_in_noise_errors_stay_small_and_without_bias(ratio: float) -> None:
    """At a peak of 20 noises: measured over 40 draws, radii to 1% +- 4% (round) and -1% +- 4% (1:2)."""
    found = [find_source(sersic(100, 10, ratio=ratio, angle=40) + noise((100, 100), 0.05, seed)) for seed in range(20)]
    radii = np.array([one.petrosian_radius for one in found]) / (petrosian_of(1.0) * 10)
    offsets = np.array([centre_of(one, 100) for one in found])
    assert abs(np.median(radii) - 1) < 0.05 and np.std(radii) < 0.1
    assert np.hypot(*offsets.T).max() < 1
    assert 40 < min(one.snr for one in found) <= max(one.snr for one in found) < 160


def test_light_times_anything_plus_anything_is_the_same_source() -> None:
    light = sersic(90, 8, x=3, ratio=0.6, angle=70) + noise((90, 90), 0.01)
    first = find_source(light)
    for pixels in (light * 1e-12, light * 1e9, light + 7.5, np.stack([light * 3 + 100, light * 0.2 - 4])):
        again = find_source(pixels.astype(np.float32))
        assert (again.x, again.y) == pytest.approx((first.x, first.y), abs=0.01)
        assert again.petrosian_radius == pytest.approx(first.petrosian_radius, rel=0.01)
        assert again.axis_ratio == pytest.approx(first.axis_ratio, abs=0.01)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turn_turns_the_source(quarters: int) -> None:
    light = sersic(101, 9, x=6, y=-2, ratio=0.5, angle=25) + noise((101, 101), 0.01)
    first, turned = find_source(light), find_source(np.rot90(light, quarters))  # anticlockwise, rows running down
    x, y = centre_of(first, 101)
    for _ in range(quarters):
        x, y = y, -x
    assert centre_of(turned, 101) == pytest.approx((x, y), abs=0.02)
    assert turned.petrosian_radius == pytest.approx(first.petrosian_radius, rel=0.01)
    assert (turned.position_angle - first.position_angle + 90 * quarters + 90) % 180 == pytest.approx(90, abs=0.5)


def test_a_shift_shifts_the_source() -> None:
    light = sersic(140, 9, ratio=0.7, angle=10) + noise((140, 140), 0.01)
    first, moved = find_source(light[20:120, 20:120]), find_source(light[12:112, 25:125])
    assert (moved.x - first.x, moved.y - first.y) == pytest.approx((-5, 8), abs=0.05)
    assert moved.petrosian_radius == pytest.approx(first.petrosian_radius, rel=0.03)


@pytest.mark.parametrize("zoom", [0.5, 2.0, 3.3])
def test_a_zoom_scales_the_source_and_leaves_its_frame_alone(zoom: float) -> None:
    """120 px at zoom 1; measured: radii agree to 1%, framed pictures to 2 of 255 grey levels (rms) of the galaxy."""

    def drawn(scale: float) -> np.ndarray:
        side = round(120 * scale)
        disc = sersic(side, 13 * scale, x=5 * scale, y=-4 * scale, ratio=0.6, angle=50)
        return (20 + 200 * disc + 60 * sersic(side, 3 * scale, x=18 * scale, y=6 * scale)).round().astype(np.uint8)

    first, zoomed = find_source(drawn(1)), find_source(drawn(zoom))
    assert zoomed.petrosian_radius == pytest.approx(zoom * first.petrosian_radius, rel=0.03)
    display = Display(size=48, petrosian=2.5)
    shown = [render(Cutout("a", drawn(scale)[None], GREY), display).astype(float) for scale in (1, zoom)]
    assert np.sqrt(np.mean((shown[0] - shown[1]) ** 2)) < 3
    assert np.ptp(shown[0]) > 150


def test_noise_is_no_source() -> None:
    """Of 5,500 pictures of noise alone (white, smoothed by sigma 1.5 px, cut off at black, JPEGs) one was a source."""
    from scipy.ndimage import gaussian_filter

    def dark(seed: int) -> np.ndarray:
        return np.clip(noise((100, 100, 3), 8, seed), 0, 255).astype(np.uint8)

    makers: list[Callable[[int], np.ndarray]] = [
        lambda seed: noise((64, 64), 1, seed),
        lambda seed: gaussian_filter(noise((100, 100), 1, seed), 1.5) + 300,
        dark,
        lambda seed: Record.from_picture("a", dark(seed)).cutout().pixels,
    ]
    found = 0
    for seed in range(200):
        try:
            find_source(makers[seed % len(makers)](seed))
            found += 1
        except BadImage as error:
            found += error.reason is not Reason.NO_SOURCE
    assert found <= 1


def test_blank_pictures_hold_no_source() -> None:
    for blank in (np.zeros((3, 64, 64), np.uint8), np.full((40, 50), 7.0), np.full((2, 64, 64), -1, np.float32)):
        assert reason_of(blank) is Reason.NO_SOURCE
    assert reason_of(np.full((2, 64, 64), np.nan, np.float32)) is Reason.NO_COVERAGE


def test_holes_count_as_sky_and_empty_bands_as_none() -> None:
    light = sersic(80, 8) + noise((80, 80), 0.01)
    whole = find_source(light)
    holed = np.stack([light, np.full_like(light, np.nan)])
    holed[0, :6] = np.nan
    again = find_source(holed)
    assert (again.x, again.y) == pytest.approx((whole.x, whole.y), abs=0.05)
    assert again.petrosian_radius == pytest.approx(whole.petrosian_radius, rel=0.03)


def test_a_bright_star_at_the_edge_does_not_win() -> None:
    galaxy = sersic(100, 8, x=-3, y=2, ratio=0.7, angle=20)
    star = 30 * sersic(100, 2.0, x=40, y=-36, n=0.5)
    alone, beside = (find_source(light + noise((100, 100), 0.01)) for light in (galaxy, galaxy + star))
    assert star.sum() > 2 * galaxy.sum()
    assert centre_of(beside, 100) == pytest.approx((-3, 2), abs=0.1)
    assert beside.petrosian_radius == pytest.approx(alone.petrosian_radius, rel=0.05)


def test_a_bright_galaxy_off_the_middle_wins_over_a_faint_one_in_it() -> None:
    light = sersic(100, 8, x=16, y=-10) + 0.1 * sersic(100, 2) + noise((100, 100), 0.01)
    assert centre_of(find_source(light), 100) == pytest.approx((16, -10), abs=0.2)


@pytest.mark.parametrize("x, y, height", [(22.0, 9.0, 1.5), (14.0, -12.0, 0.8), (-17.0, 3.0, 0.5)])
def test_a_star_on_the_disc_is_taken_for_a_neighbour(x: float, y: float, height: float) -> None:
    galaxy = sersic(120, 12, ratio=0.7, angle=20)
    star = height * sersic(120, 2.0, x=x, y=y, n=0.5)
    alone, beside = (find_source(light + noise((120, 120), 0.005)) for light in (galaxy, galaxy + star))
    assert centre_of(beside, 120) == pytest.approx((0, 0), abs=0.3)
    assert beside.petrosian_radius == pytest.approx(alone.petrosian_radius, rel=0.06)


def test_neighbours_all_around_change_little() -> None:
    light, places = sersic(128, 9, ratio=0.8), ((40, 0, 5), (-30, 28, 4), (10, -44, 7), (-38, -30, 3))
    crowd = light + sum(0.8 * sersic(128, radius, x=x, y=y) for x, y, radius in places)
    alone, beside = (find_source(one + noise((128, 128), 0.01)) for one in (light, crowd))
    assert centre_of(beside, 128) == pytest.approx(centre_of(alone, 128), abs=0.1)
    assert beside.petrosian_radius == pytest.approx(alone.petrosian_radius, rel=0.1)


def test_a_white_rim_is_no_source() -> None:
    """As in pictures that were saved with the margin of their figure."""
    light = (20 + 200 * sersic(110, 8)).round().astype(np.uint8)
    light[:2], light[:, :2] = 255, 255
    assert centre_of(find_source(light), 110) == pytest.approx((0, 0), abs=0.1)


@pytest.mark.parametrize("inside, refused", [(2, True), (8, True), (14, False), (30, False)])
def test_a_source_cut_off_by_the_edge_is_refused(inside: int, refused: bool) -> None:
    """Its Petrosian radius is 25 px: centred 8 px from the edge, over a quarter of its circle is outside."""
    light = sersic(140, 12) + noise((140, 140), 0.01)
    pixels = light[:, 70 - inside : 70 - inside + 80]
    if refused:
        assert reason_of(pixels) is Reason.TRUNCATED_SOURCE
    else:
        found = find_source(pixels)
        assert found.x == pytest.approx(inside - 0.5, abs=0.3)
        assert found.petrosian_radius == pytest.approx(petrosian_of(1.0) * 12, rel=0.15)
        assert (found.outside > 0.1) == (inside < 20)


def test_a_galaxy_that_fills_its_picture_is_measured_to_its_edge() -> None:
    """Nothing tells how much larger than its picture it is: not refused, its radius is about half the side."""
    for radius in (30, 60, 120):
        found = find_source(sersic(100, radius) + noise((100, 100), 0.01))
        assert 40 < found.petrosian_radius < 70
        assert centre_of(found, 100) == pytest.approx((0, 0), abs=2)


@pytest.mark.parametrize("black, off", [(20, 0.05), (0, 0.2)])  # at 0 half of the noise is cut off, and faint light
def test_colour_pictures_in_either_order_of_axes_and_as_jpeg(black: float, off: float) -> None:
    disc = sersic(150, 14, x=-6, y=4, ratio=0.6, angle=140)
    sky = black + noise((150, 150, 3), 6)
    rgb = np.clip(disc[..., None] * [220, 180, 120] + sky, 0, 255).astype(np.uint8)
    last, first = find_source(rgb), find_source(np.moveaxis(rgb, 2, 0))
    assert last == first
    compressed = find_source(Record.from_picture("a", rgb, quality=80).cutout().pixels)
    for found in (first, compressed):
        assert centre_of(found, 150) == pytest.approx((-6, 4), abs=0.3)
        assert found.petrosian_radius == pytest.approx(petrosian_of(1.0) * 14, rel=off)
        assert found.position_angle == pytest.approx(140, abs=3)


# ---------------------------------------------------------------------------------------------------- the frame


def test_the_frame_is_about_the_source_and_so_many_radii_wide() -> None:
    found = find_source(sersic(100, 6, x=10.5, y=-7))
    (y, x), side = framed(found, 3.0, (100, 100))
    assert (y, x) == (found.y + 0.5, found.x + 0.5)
    assert side == 3 * found.petrosian_radius
    assert framed(found, 20.0, (100, 90))[1] == 90


@pytest.mark.parametrize("stretch", ["none", "asinh"])
def test_a_framed_galaxy_is_in_the_middle_and_the_margin_changes_nothing(stretch: str) -> None:
    light = 20 + 200 * sersic(120, 7, x=17.4, y=-9.7, ratio=0.7) + noise((120, 120), 1)
    cutout = Cutout("a", light[None].astype(np.uint8 if stretch == "none" else np.float32), GREY)
    display = Display(size=41, petrosian=3, stretch=stretch, low=1)
    shown, wide = render(cutout, display), render(cutout, display, margin=9)
    np.testing.assert_array_equal(wide[:, 9:-9, 9:-9], shown)
    middle = find_source(shown)
    assert centre_of(middle, 41) == pytest.approx((0, 0), abs=0.2)
    assert render(cutout, Display(size=41, stretch=stretch))[0].argmax() != shown[0].argmax()


def test_large_and_small_galaxies_fill_the_frame_alike() -> None:
    shares = []
    for radius, side in ((5, 64), (9, 100), (16, 200), (40, 424)):
        pixels = (15 + 220 * sersic(side, radius, x=3)).round().astype(np.uint8)
        shown = render(Cutout("a", pixels[None], GREY), Display(size=64, petrosian=3))
        shares.append((shown > 15 + 22).mean())  # brighter than a tenth of the peak
    assert max(shares) < 1.1 * min(shares)


def test_a_framed_jpeg_is_decoded_whole() -> None:
    """Else the same galaxy would be measured on other pixels; ``size`` has no say in where the frame is."""
    rgb = np.repeat((10 + 200 * sersic(240, 30, x=20)).round().astype(np.uint8)[..., None], 3, axis=2)
    record = Record.from_picture("a", rgb)
    display = Display(size=16, petrosian=3)
    np.testing.assert_array_equal(render_record(record, display, 4), render(record.cutout(), display, 4))


def test_display_refuses_what_cannot_be_framed() -> None:
    with pytest.raises(RecipeError, match="petrosian is 3"):
        Display(petrosian=3, crop=100)
    for wrong in (-1.0, 21.0, math.nan):
        with pytest.raises(RecipeError, match="petrosian"):
            Display(petrosian=wrong)
    display = Display(petrosian=3.0)
    assert recipe.from_mapping(Display, recipe.to_mapping(display)) == display
    for pixels, reason in (
        (np.full((3, 64, 64), 9, np.uint8), Reason.NO_SOURCE),
        (np.stack([20 + 200 * sersic(64, 9, x=29)] * 3).astype(np.uint8), Reason.TRUNCATED_SOURCE),
    ):
        with pytest.raises(BadImage) as caught:
            render(Cutout("a", pixels, COLOUR), display)
        assert caught.value.reason is reason


# --------------------------------------------------------------------------------------------------- real galaxies


@pytest.mark.parametrize(
    "folder, middle, share",
    [("gz1", (3.2, 3.1), 0.98), ("efigi", (0.7, -0.6), 0.95), ("gz2_stripe82", (-0.5, -0.5), 0.99)],
)
def test_real_galaxies_are_found_in_the_middle(
    real_data: Path, folder: str, middle: tuple[float, float], share: float
) -> None:
    """Within 6 px of where the sample's galaxies are centred (its median: SDSS's pictures are centred 3 px off).

    Measured on all: see :mod:`tuningfork.galaxy.frame`. Here on every 20th, and all of Stripe 82.
    """
    files = sorted((real_data / folder / "images").glob("*.jpg"))
    files = files if len(files) < 500 else files[::20]
    near = []
    for file in files:
        pixels = decode(file.read_bytes()).pixels
        try:
            found = find_source(pixels)
        except BadImage:
            near.append(False)
            continue
        x, y = centre_of(found, pixels.shape[1])
        near.append(math.hypot(x - middle[0], y - middle[1]) <= 6)
    assert np.mean(near) >= share


def test_real_flux_and_other_surveys(real_data: Path) -> None:
    """Lens challenge flux (faint u bands hold nothing to find), and Galaxy Zoo's examples of five surveys."""
    shares = {}
    for folder, pattern in (("lens_challenge", "*.fits"), ("gz_examples", "*.jpg")):
        files = sorted((real_data / folder).rglob(pattern))[::4]
        found = 0
        for file in files:
            pixels = decode(file.read_bytes()).pixels
            try:
                x, y = centre_of(find_source(pixels), pixels.shape[1])
            except BadImage as error:
                assert error.reason in (Reason.NO_SOURCE, Reason.TRUNCATED_SOURCE)
                continue
            found += math.hypot(x, y) <= 0.06 * pixels.shape[1]
        shares[folder] = found / len(files)
    assert shares["lens_challenge"] > 0.65 and shares["gz_examples"] > 0.9, shares
