"""One plane of light: the same for any units, deeper than its bands, and pictures turned back into what they show."""

import io

import numpy as np
import pytest
from astropy.io import fits

from tuningfork.errors import BadImage, Reason
from tuningfork.galaxy.cutout import COLOUR, Cutout, Record
from tuningfork.galaxy.display import Display, lupton_rgb, render, render_record
from tuningfork.galaxy.frame import find_source
from tuningfork.galaxy.light import LIGHT, SOFTENING, as_light, find_light, light, sky_and_noise, unstretched
from tuningfork.simulate import picture as simulated

SIDE = 64
SHOWN = Display(size=32, bands=LIGHT, stretch="asinh", petrosian=3.0)


def source(x: float = 5.0, y: float = -3.0) -> np.ndarray:
    """A round exponential disc off the middle, of scale length 4 px and brightness 1, (height, width)."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return np.exp(-np.hypot(columns - x, rows - y) / 4)


def flux(*noises: float) -> np.ndarray:
    """The source in as many bands as noises, float32 (bands, height, width)."""
    rng = np.random.default_rng(2)
    return np.stack([source() + rng.normal(0, one, (SIDE, SIDE)) for one in noises]).astype(np.float32)


def test_one_band_is_itself() -> None:
    one = flux(0.1)
    np.testing.assert_array_equal(light(one), one)


def test_neither_units_nor_sky_nor_the_order_of_bands_matter() -> None:
    bands = flux(0.1, 0.05, 0.2)
    scaled = (
        bands * np.array([7, 0.01, 300], np.float32)[:, None, None] + np.array([50, -1, 4], np.float32)[:, None, None]
    )
    np.testing.assert_allclose(light(scaled), light(bands), atol=2e-3)  # float32 beside a sky of 50: 1e-5 of it
    np.testing.assert_allclose(light(bands[::-1]), light(bands), atol=1e-4)


def test_the_sum_is_deeper_than_each_band() -> None:
    """Of N bands alike the signal grows N times and the noise sqrt(N) times; N = 5, to 10% for 4096 pixels of noise."""
    bands = flux(*[0.3] * 5)

    def depth(plane: np.ndarray) -> float:
        model = source() - source().mean()
        fit = float((plane * model).sum() / (model**2).sum())
        return fit / float((plane - fit * source()).std())

    alone = np.mean([depth(one) for one in bands])
    assert depth(light(bands)[0]) / alone == pytest.approx(np.sqrt(5), rel=0.1)


def test_bands_without_data_are_passed_over_and_holes_are_filled_from_the_others() -> None:
    bands = flux(0.1, 0.1, 0.1)
    lost = bands.copy()
    lost[2] = np.nan
    np.testing.assert_allclose(light(lost), light(bands[:2]), rtol=1e-6)
    lost[2] = 3.0  # constant
    np.testing.assert_allclose(light(lost), light(bands[:2]), rtol=1e-6)
    holed = bands.copy()
    holed[0, :4], holed[:, 10, 10] = np.nan, np.nan
    found = light(holed)[0]
    assert np.isnan(found[10, 10]) and np.isnan(found).sum() == 1
    assert found[:4].std() == pytest.approx(np.sqrt(2), rel=0.15)  # of two bands: 256 pixels, 5% of error
    with pytest.raises(BadImage, match="none of 2 bands") as bad:
        light(np.full((2, SIDE, SIDE), np.nan, np.float32))
    assert bad.value.reason == Reason.NO_COVERAGE


def test_sky_and_noise_are_those_of_the_sky_under_a_galaxy() -> None:
    sky, noise = sky_and_noise(flux(0.1) + 5)
    assert sky[0] == pytest.approx(5, abs=0.1) and noise[0] == pytest.approx(0.1, rel=0.15)


def test_a_picture_becomes_the_flux_that_it_shows() -> None:
    """To the rounding of 8 bits: half a step is 4 s sinh / cosh of it, 1.5% above the softening, 2e-5 below."""
    plane = source().astype(np.float32)
    shown = lupton_rgb(plane, plane, plane, low=[0, 0, 0], span=1.0, softening=SOFTENING)
    found = unstretched(np.moveaxis(shown, 2, 0))
    assert found.shape == (1, SIDE, SIDE) and found.dtype == np.float32
    np.testing.assert_allclose(found[0], plane, rtol=0.016, atol=2.5e-5)
    assert SOFTENING == simulated.SOFTENING


def test_a_display_of_light_shows_flux_of_any_bands_and_pictures() -> None:
    r, gri = Cutout("r", flux(0.01), ("r",)), Cutout("gri", flux(0.01, 0.01, 0.01), ("g", "r", "i"))
    plane = lupton_rgb(*gri.pixels, low=[0, 0, 0], span=1.0, softening=SOFTENING)
    colour = Cutout("colour", np.ascontiguousarray(np.moveaxis(plane, 2, 0)), COLOUR)
    images = [render(one, SHOWN).astype(int) for one in (r, gri, colour)]
    assert all(image.shape == (1, 32, 32) for image in images)
    disc = images[1] > 60  # below, noise differs
    for image in images:
        assert np.abs(image - images[1])[disc].mean() < 15  # grey levels: depth differs, and the frame by a tenth
    np.testing.assert_array_equal(render(as_light(gri), SHOWN), images[1])


def test_a_bright_nucleus_does_not_become_the_frame() -> None:
    """A disc with a nucleus a hundred times brighter: in flux Petrosian's radius is the nucleus's."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    r = np.hypot(rows, columns)
    disc = np.exp(-r / 8) + np.random.default_rng(5).normal(0, 0.01, r.shape)
    plain, active = (np.float32(one)[None] for one in (disc, disc + 100 * np.exp(-0.5 * r**2)))
    assert find_source(active).petrosian_radius < 0.3 * find_source(plain).petrosian_radius
    assert find_light(active).petrosian_radius == pytest.approx(find_light(plain).petrosian_radius, rel=0.25)


def test_the_frame_depends_little_on_depth_and_not_on_units() -> None:
    shallow, deep = (find_light(flux(noise)).petrosian_radius for noise in (0.02, 0.002))
    assert shallow == pytest.approx(deep, rel=0.25)
    assert find_light(flux(0.02) * 1000 + 7).petrosian_radius == pytest.approx(shallow, rel=1e-3)


def test_fits_files_are_shown_the_right_way_up() -> None:
    plane, stream = flux(0.01), io.BytesIO()
    fits.PrimaryHDU(plane[0]).writeto(stream)
    stored = render_record(Record("a", stream.getvalue(), "fits"), SHOWN)
    turned = render_record(Record.from_pixels("a", plane[:, ::-1], ("r",)), SHOWN)
    np.testing.assert_array_equal(stored, turned)
    assert (stored != render_record(Record.from_pixels("a", plane, ("r",)), SHOWN)).any()
