"""What a network sees: one centre for every margin, one angle for every pixel scale, no surprise from sky levels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.visualization import make_lupton_rgb
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork import recipe
from tuningfork.errors import BadImage, Reason, RecipeError
from tuningfork.galaxy.cutout import COLOUR, GREY, Cutout, Record
from tuningfork.galaxy.display import STRETCHES, Display, lupton_rgb, render, render_record, stretched, to_picture
from tuningfork.galaxy.fits import read_planes


def galaxy(height: int, width: int, *, flux: float = 50.0, radius: float = 0.12, sky: float = 0.0) -> np.ndarray:
    """An exponential disc, inclined, in noise of sigma 1."""
    y, x = np.mgrid[:height, :width]
    y, x = (y - (height - 1) / 2) / min(height, width), (x - (width - 1) / 2) / min(height, width)
    noise = np.random.default_rng(height * 1000 + width).normal(size=(height, width))
    return flux * np.exp(-np.hypot(x + 0.3 * y, y) / radius) + noise + sky


def flux_cutout(height: int = 70, width: int = 60, bands: tuple[str, ...] = ("g", "r", "i"), **choices: Any) -> Cutout:
    planes = [galaxy(height, width, flux=50.0 * (k + 1), **choices) for k in range(len(bands))]
    return Cutout("a", np.stack(planes).astype(np.float32), bands)


def picture(height: int = 70, width: int = 60, seed: int = 0) -> Cutout:
    """A disc in three colours with noise on every pixel."""
    noise = np.random.default_rng(seed).integers(0, 60, (3, height, width))
    return Cutout("a", (galaxy(height, width, flux=180, radius=0.3).clip(0, 190) + noise).astype(np.uint8), COLOUR)


def reason_of(cutout: Cutout, display: Display) -> Reason:
    with pytest.raises(BadImage) as caught:
        render(cutout, display)
    return caught.value.reason


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(20, 90), st.integers(20, 90)),
    size=st.integers(8, 70),
    crop=st.just(0.0) | st.floats(12, 35),
    margin=st.integers(1, 30),
    stretch=st.sampled_from(STRETCHES),
)
def test_the_centre_is_the_same_for_every_margin(
    shape: tuple[int, int], size: int, crop: float, margin: int, stretch: str
) -> None:
    cutout = picture(*shape) if stretch == "none" else flux_cutout(*shape)
    display = Display(size=size, crop=crop, stretch=stretch)
    wide = render(cutout, display, margin)
    assert wide.shape == (3, size + 2 * margin, size + 2 * margin) and wide.dtype == np.uint8
    np.testing.assert_array_equal(wide[:, margin:-margin, margin:-margin], render(cutout, display))


def test_the_margin_shows_the_surroundings() -> None:
    cutout = picture(100, 100)
    wide, whole = render(cutout, Display(size=50, crop=50), margin=25), render(cutout, Display(size=100))
    np.testing.assert_array_equal(wide, whole)
    np.testing.assert_array_equal(whole, cutout.pixels)  # at a scale of one, pixels are left alone


@pytest.mark.parametrize("side", [41, 64, 90])
def test_a_constant_stays_constant_and_outside_is_zero(side: int) -> None:
    cutout = Cutout("a", np.full((3, side, side), 77, np.uint8), COLOUR)
    shown = render(cutout, Display(size=32), margin=5)
    assert (shown[:, 5:-5, 5:-5] == 77).all()
    shown[:, 5:-5, 5:-5] = 0
    assert not shown.any()


def test_a_crop_beyond_the_image_is_padded_until_half() -> None:
    cutout = picture(40, 60)
    shown = render(cutout, Display(size=60, crop=60))
    np.testing.assert_array_equal(shown[:, 10:50], cutout.pixels)
    assert not shown[:, :10].any() and not shown[:, 50:].any()
    render(cutout, Display(size=32, crop=80))
    assert reason_of(cutout, Display(size=32, crop=80.5)) is Reason.TOO_SMALL
    assert reason_of(cutout, Display(size=32, crop=3)) is Reason.TOO_SMALL
    faint = flux_cutout(40, 60)
    assert not render(faint, Display(size=60, crop=60, stretch="asinh"))[:, :10].any()


@pytest.mark.parametrize("stretch", ["none", "asinh", "lupton"])
def test_mirrors_and_quarter_turns_commute_with_rendering(stretch: str) -> None:
    cutout = picture(61, 75) if stretch == "none" else flux_cutout(61, 75)
    display = Display(size=24, crop=50, stretch=stretch)
    for turn in (lambda p: p[:, ::-1], lambda p: p[:, :, ::-1], lambda p: np.rot90(p, axes=(1, 2))):
        turned = Cutout("a", np.ascontiguousarray(turn(cutout.pixels)), cutout.bands)
        # Rows are resampled after columns, each rounded: one grey level.
        assert np.abs(render(turned, display).astype(int) - turn(render(cutout, display))).max() <= 1


def test_resampling_keeps_the_mean() -> None:
    cutout = picture(96, 96)
    shown = render(cutout, Display(size=32))
    assert abs(shown.astype(float).mean() - cutout.pixels.mean()) < 0.3  # edges weigh a little more: the kernel is cut


def test_one_angle_on_the_sky_for_every_pixel_scale() -> None:
    fine = galaxy(120, 120, flux=200, radius=0.4).clip(0, 255)
    coarse = fine.reshape(60, 2, 60, 2).mean(axis=(1, 3))
    display = Display(size=24, crop=48, pixel_scale=0.8)
    shown = [
        render(Cutout("a", pixels[None].astype(np.uint8), GREY, scale), display)
        for pixels, scale in ((fine, 0.4), (coarse, 0.8))
    ]
    assert np.abs(shown[0].astype(int) - shown[1]).max() <= 4  # sampled once at 4:1, once at 2:1
    unknown = render(Cutout("a", fine[None].astype(np.uint8), GREY), display)
    np.testing.assert_array_equal(
        unknown, render(Cutout("a", fine[None].astype(np.uint8), GREY), Display(size=24, crop=48))
    )


@pytest.mark.parametrize("crop", [0.0, 128.0, 100.0])
def test_a_record_decoded_smaller_shows_the_same(crop: float) -> None:
    smooth = galaxy(160, 160, flux=180, radius=0.4).clip(0, 255)
    rgb = np.stack([smooth, smooth * 0.8, smooth * 0.5], axis=2).astype(np.uint8)
    record = Record.from_picture("a", rgb, 0.4)
    display = Display(size=32, crop=crop)
    full, quick = render(record.cutout(), display), render_record(record, display)
    difference = full.astype(int) - quick
    assert (difference != 0).any()  # it was decoded smaller
    assert np.sqrt((difference**2).mean()) < 1  # measured on real galaxies: 0.5 to 1.1 grey levels
    wide = render_record(record, display, margin=8)
    np.testing.assert_array_equal(wide[:, 8:-8, 8:-8], quick)


def test_a_record_of_another_scale_is_shrunk_no_further_than_its_crop() -> None:
    rgb = np.moveaxis(picture(160, 160).pixels, 0, 2)
    record = Record.from_picture("a", rgb, pixel_scale=0.8)
    shown = render_record(record, Display(size=32, crop=128, pixel_scale=0.4))  # 64 of its pixels: 2 to 1
    expected = render(record.cutout(2), Display(size=32, crop=64))  # counted in stored pixels
    np.testing.assert_array_equal(shown, expected)


def test_flux_records_take_the_same_path() -> None:
    cutout = flux_cutout()
    record = Record.from_pixels("a", cutout.pixels, cutout.bands)
    display = Display.for_bands(cutout.bands, size=32)
    np.testing.assert_array_equal(render_record(record, display, 4), render(cutout, display, 4))


@pytest.mark.parametrize("stretch", [s for s in STRETCHES if s != "none"])
@pytest.mark.parametrize("per_band", [False, True])
def test_sky_levels_and_units_do_not_matter(stretch: str, per_band: bool) -> None:
    cutout = flux_cutout()
    display = Display(size=32, stretch=stretch, per_band=per_band)
    shown = render(cutout, display).astype(int)
    sky = np.array([80, 950, -3], dtype=np.float32)[:, None, None]
    for pixels in (cutout.pixels + sky, cutout.pixels * np.float32(1e-3), cutout.pixels * np.float32(1e6)):
        again = render(Cutout("b", pixels, cutout.bands), display)
        assert np.abs(again - shown).max() <= 1  # float32 at a sky of 950 has steps of 6e-5


@pytest.mark.parametrize("stretch", [s for s in STRETCHES if s != "none"])
def test_brighter_is_never_darker_and_the_ends_are_reached(stretch: str) -> None:
    y = np.tile(np.linspace(-0.5, 1.5, 400, dtype=np.float32), (3, 1, 1))
    shown = stretched(y, np.zeros(3), np.ones(3), Display(stretch=stretch))
    assert (np.diff(shown.astype(int), axis=2) >= 0).all()
    assert (shown[y <= 0] == 0).all() and (shown[y >= 1] == 255).all()
    assert len(np.unique(shown)) > 150


def test_formulas() -> None:
    """By hand, at y = 1/4 and s = 1/10: asinh(2.5) / asinh(10) = 0.5494, log(3.5) / log(11) = 0.5224."""
    quarter = np.full((1, 1, 1), 3.0, np.float32)
    expected = {"linear": 64, "sqrt": 128, "asinh": 140, "log": 133}
    for stretch, value in expected.items():
        shown = stretched(quarter, np.array([1.0]), np.array([9.0]), Display(stretch=stretch, softening=0.1))
        assert shown.item() == value


def test_lupton_agrees_with_astropy() -> None:
    """astropy's make_lupton_rgb has slope 0.1/asinh(0.1 Q) where ours ends at 1; one (Q, stretch) makes them one."""
    q = 8.0
    stretch = q / np.sinh(np.arcsinh(0.1 * q) / 0.1)
    generator = np.random.default_rng(2)
    red, green, blue = generator.uniform(0, 1.2, (3, 30, 30)) * np.linspace(0.01, 1, 30) ** 2
    theirs = make_lupton_rgb(red, green, blue, minimum=0, stretch=stretch, Q=q)
    ours = lupton_rgb(red, green, blue, low=(0, 0, 0), span=1.0, softening=stretch / q)
    assert np.abs(ours.astype(int) - theirs).max() <= 1  # they cut decimals off, we round
    assert (ours.max(axis=2) == 255).mean() > 0.01  # some pixels were beyond white: their colour agrees too


def test_lupton_keeps_colour_ratios() -> None:
    cutout = flux_cutout(radius=0.3)
    flux = np.abs(cutout.pixels) + 1
    shown = lupton_rgb(*flux, low=(0, 0, 0), span=400.0, softening=0.01).astype(float)
    bright = shown.min(axis=2) > 60
    assert bright.sum() > 100
    np.testing.assert_allclose((shown[..., 0] / shown[..., 2])[bright], (flux[0] / flux[2])[bright], rtol=0.03)


def test_colours_stay_unless_each_band_has_its_own_range() -> None:
    cutout = flux_cutout(bands=("g", "r"))
    joint = render(cutout, Display(size=32, stretch="linear"))
    each = render(cutout, Display(size=32, stretch="linear", per_band=True))
    peaks = [shown[:, 12:20, 12:20].astype(float).mean(axis=(1, 2)) for shown in (joint, each)]
    assert peaks[0][1] > 1.8 * peaks[0][0]  # r is twice as bright as g
    assert peaks[1][1] < 1.2 * peaks[1][0]


def test_a_bright_neighbour_does_not_darken_the_galaxy() -> None:
    cutout = flux_cutout(64, 64)
    with_star = cutout.pixels.copy()
    with_star[:, 2:6, 2:6] += 30000
    display = Display(size=64, stretch="asinh")
    alone, beside = (render(Cutout("a", p, cutout.bands), display)[:, 24:40, 24:40] for p in (cutout.pixels, with_star))
    assert np.abs(alone.astype(int) - beside).max() <= 2


def test_holes_are_sky_and_large_holes_are_rejected() -> None:
    cutout = flux_cutout(64, 64, sky=500.0)
    display = Display(size=64, stretch="asinh")
    holed = cutout.pixels.copy()
    holed[:, :, :8] = np.nan
    shown = render(Cutout("a", holed, cutout.bands), display)
    sky = render(cutout, display)[:, :, :8]
    # The median lies a little above the sky: the disc reaches into half of the pixels.
    assert abs(shown[:, :, :8].astype(float).mean() - sky.mean()) < 20 and np.ptp(shown[0, :, :7]) == 0
    holed[1, :, :33] = np.nan
    assert reason_of(Cutout("a", holed, cutout.bands), display) is Reason.NO_COVERAGE
    holed[1, :, 24:40] = cutout.pixels[1, :, 24:40]  # now the inner square of 16 px is whole
    render(Cutout("a", holed, cutout.bands), Display(size=16, crop=16, stretch="asinh"))


def test_flat_flux_has_no_signal() -> None:
    pixels = np.zeros((1, 40, 40), np.float32)
    pixels[0, 0, 0] = 1
    assert reason_of(Cutout("a", pixels, ("r",)), Display(size=32, stretch="asinh")) is Reason.NO_SIGNAL


def test_fixed_limits() -> None:
    cutout = flux_cutout(bands=("g", "r"))
    shown = render(cutout, Display(size=60, crop=60, stretch="linear", limits=(0, 100)))
    expected = np.rint(255 * (cutout.pixels[:, 5:65] / np.float32(100)).clip(0, 1))
    np.testing.assert_array_equal(shown, expected)
    each = render(cutout, Display(size=60, crop=60, stretch="linear", limits=(0, 100, 0, 200)))
    np.testing.assert_array_equal(each[0], shown[0])
    assert (each[1] <= shown[1]).all() and (each[1] < shown[1]).any()
    with pytest.raises(RecipeError, match="3 pairs for 2 bands"):
        render(cutout, Display(size=32, stretch="linear", limits=(0, 1, 0, 1, 0, 1)))


def test_bands_are_picked_by_name() -> None:
    cutout = flux_cutout(bands=("g", "r", "i"))
    display = Display(size=32, stretch="linear", per_band=True)
    shown = render(cutout, display)
    for bands in (("i", "g"), ("r",), ("g", "r", "i")):
        chosen = render(cutout, recipe.replace(display, {"bands": bands}))
        np.testing.assert_array_equal(chosen, shown[[cutout.bands.index(band) for band in bands]])
    with pytest.raises(BadImage, match="has g, r, i; the display also wants z") as caught:
        render(cutout, Display(size=32, stretch="linear", bands=("z", "g")))
    assert caught.value.reason is Reason.MISSING_BAND


def test_flux_without_a_stretch_says_what_to_choose() -> None:
    with pytest.raises(RecipeError, match=r"display\.stretch = 'asinh'"):
        render(flux_cutout(), Display())
    with pytest.raises(RecipeError, match="three bands"):
        render(flux_cutout(bands=("g", "r")), Display(stretch="lupton"))


def test_defaults_for_bands() -> None:
    assert Display.for_bands(COLOUR) == Display(bands=COLOUR)
    assert Display.for_bands(GREY).stretch == "none"
    assert Display.for_bands(("g", "r"), size=80) == Display(size=80, bands=("g", "r"), stretch="asinh")
    assert Display.for_bands(("g",), stretch="log").stretch == "log"


WRONG: list[dict[str, Any]] = [
    {"stretch": "asin"},
    {"size": 7},
    {"crop": -1.0},
    {"crop": float("nan")},
    {"pixel_scale": -0.4},
    {"softening": 0.0},
    {"low": 99.9},
    {"high": 100.5},
    {"bands": ("g", "g")},
    {"bands": ("g", "r"), "stretch": "lupton"},
    {"limits": (1.0,)},
    {"limits": (1.0, 1.0)},
    {"limits": (0.0, 1.0) * 2, "bands": ("g", "r", "i")},
]


@pytest.mark.parametrize("choices", WRONG, ids=str)
def test_displays_that_cannot_be(choices: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=next(iter(choices)).replace("high", "low and high")):
        Display(**choices)


def test_displays_travel_through_recipes() -> None:
    display = Display(size=80, crop=207.5, bands=("g", "r"), stretch="asinh", limits=(0.0, 1.0))
    assert recipe.from_mapping(Display, recipe.to_mapping(display)) == display


@pytest.mark.parametrize(
    "bands", [("r",), ("g", "r"), tuple("grz"), tuple("grizY"), ("band0", "band1", "band2", "band3")]
)
def test_any_flux_becomes_a_picture(bands: tuple[str, ...]) -> None:
    cutout = flux_cutout(bands=bands)
    pixels = cutout.pixels.copy()
    pixels[0, :4] = np.nan
    shown = to_picture(Cutout("a", pixels, bands))
    assert shown.shape == (70, 60, 3) and shown.dtype == np.uint8 and shown.flags.c_contiguous
    centre, corner = shown[30:40, 25:35].mean(), shown[-10:, :10].mean()
    assert centre > 2 * corner and centre > 100 and 5 < corner < 90


def test_red_is_the_longest_wavelength() -> None:
    planes = dict(zip("gri", galaxy(60, 60) + np.random.default_rng(0).normal(size=(3, 60, 60)), strict=True))
    planes["i"][20:40, 20:40] += 300
    for order in ("gri", "irg", "rig"):
        shown = to_picture(Cutout("a", np.stack([planes[band] for band in order]).astype(np.float32), tuple(order)))
        mean = shown[22:38, 22:38].mean(axis=(0, 1))
        assert mean[0] > mean[1] and mean[0] > mean[2]


def test_pictures_are_shown_as_they_are() -> None:
    cutout = picture()
    np.testing.assert_array_equal(to_picture(cutout), np.moveaxis(cutout.pixels, 0, 2))
    grey = to_picture(Cutout("a", cutout.pixels[:1], GREY))
    assert grey.shape == (70, 60, 3) and (grey == cutout.pixels[0][:, :, None]).all()


def test_pictures_of_nothing_are_black() -> None:
    for value in (np.nan, 5.0):
        assert not to_picture(Cutout("a", np.full((3, 20, 20), value, np.float32), ("g", "r", "i"))).any()


def test_real_flux_is_rendered_with_contrast(real_data: Path) -> None:
    """Every real frame: galaxy bright, sky dark, neither washed out; sky-subtracted or not."""
    seen = 0
    for file in sorted((real_data / "fits").glob("*.fits")):
        if "mask" in file.name or "star" in file.name:
            continue
        pixels = read_planes(file.read_bytes())[0].pixels
        cutouts = pixels[:, None] if pixels.ndim == 3 and len(pixels) > 5 else [pixels.reshape(-1, *pixels.shape[-2:])]
        for plane in cutouts[:12]:
            if not np.isfinite(plane).mean() > 0.6:
                continue
            shown = render(
                Cutout(file.name, plane, tuple(f"b{k}" for k in range(len(plane)))), Display(size=64, stretch="asinh")
            )
            brightest = shown.max(axis=0)
            assert brightest.max() == 255 and np.median(brightest) < 200, file.name
            assert np.percentile(shown, 5) < 60, file.name
            seen += 1
    assert seen > 60
