"""Perturbations: exact where they can be, and what dimming conserves."""

import numpy as np
import pytest

from tuningfork.errors import RecipeError
from tuningfork.galaxy.display import Display, stretched
from tuningfork.insight.perturbation import (
    PERTURBATIONS,
    REDSHIFT,
    dimmed,
    distance_ratios,
    from_light,
    grains,
    shrink_matrix,
    sky_and_noise,
    to_light,
    turned,
    zoomed,
)

PICTURE = Display(size=32, bands=("red", "green", "blue"))
IDS = [f"g{k}" for k in range(4)]


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Four round galaxies, of other colours, on a noisy sky."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32] - 15.5
    light = 150 * np.exp(-np.hypot(x, y) / 3)
    tints = rng.uniform(0.7, 1, (4, 3, 1, 1))
    return np.rint((light * tints + rng.normal(20, 3, (4, 3, 32, 32))).clip(0, 255)).astype(np.uint8)


@pytest.mark.parametrize("kind", sorted(PERTURBATIONS))
def test_strength_zero_changes_nothing_and_a_galaxy_is_changed_alike_in_any_company(
    kind: str, pictures: np.ndarray
) -> None:
    one = PERTURBATIONS[kind]
    change = one.prepare(pictures, IDS, PICTURE)
    strength = one.steps[-1] if one.steps else 1.0
    np.testing.assert_array_equal(change(pictures, slice(0, 4), 0.0), pictures)
    whole = change(pictures, slice(0, 4), strength)
    assert whole.dtype == np.uint8 and whole.shape == pictures.shape and (whole != pictures).any()
    np.testing.assert_array_equal(change(pictures[2:], slice(2, 4), strength), whole[2:])


def test_turns_are_the_library_s_at_quarter_turns_and_the_true_ones_between(pictures: np.ndarray) -> None:
    np.testing.assert_array_equal(turned(pictures, 90), np.rot90(pictures, axes=(2, 3)))
    near = turned(pictures, 90 - 1e-9)  # the same sense and centre, by interpolation
    assert np.abs(near.astype(int) - np.rot90(pictures, axes=(2, 3))).max() <= 1
    y, x = np.mgrid[:33, :33] - 16.0
    ramp = np.broadcast_to(128 + 3 * x, (1, 1, 33, 33)).astype(np.uint8)
    inside = np.hypot(x, y) < 15
    expected = 128 + 3 * (x * np.cos(np.pi / 6) - y * np.sin(np.pi / 6))  # bilinear is exact on a plane
    assert np.abs(turned(ramp, 30)[0, 0] - expected)[inside].max() <= 0.51


def test_a_zoom_enlarges_about_the_middle(pictures: np.ndarray) -> None:
    y, x = np.mgrid[:33, :33] - 16.0
    ramp = np.broadcast_to(3 * x + y, (1, 1, 33, 33))
    np.testing.assert_allclose(zoomed(ramp, 2.0)[0, 0], (3 * x + y) / 2, atol=1e-4)
    with pytest.raises(RecipeError, match="zoom of"):
        PERTURBATIONS["zoom"].prepare(pictures, IDS, PICTURE)(pictures, slice(0, 4), -0.5)


def test_shrinking_keeps_brightness_and_its_sum_falls_by_the_square() -> None:
    matrix = shrink_matrix(32, 0.6)
    np.testing.assert_allclose(matrix.sum(axis=0), 0.6, atol=1e-6)
    light = np.random.default_rng(1).random((32, 32), np.float32)
    assert (matrix @ light @ matrix.T).sum() == pytest.approx(0.36 * light.sum(), rel=1e-5)  # float32 sums
    np.testing.assert_allclose((matrix @ np.ones((32, 32)) @ matrix.T)[12:20, 12:20], 1, atol=1e-5)
    np.testing.assert_allclose(shrink_matrix(32, 1.0), np.eye(32))


def test_distances_are_those_of_planck_2018() -> None:
    angle, flux = distance_ratios(0.05, 0.1)
    assert flux / angle**2 == pytest.approx((1.05 / 1.1) ** 4, rel=1e-9)  # Tolman's law, whatever the cosmology
    # the same by integrating 1 / E(z) of a flat universe with Omega_m = 0.30966
    z = [np.linspace(0, one, 20001) for one in (0.05, 0.1)]
    comoving = [np.trapezoid(1 / np.sqrt(0.30966 * (1 + k) ** 3 + 0.69034), k) for k in z]
    expected = (1.05 * comoving[0] / (1.1 * comoving[1])) ** 2
    assert flux == pytest.approx(expected, rel=5e-4)  # the 0.2% of neutrinos and radiation, left out here


def test_dimming_takes_the_flux_that_distance_does_and_leaves_the_survey_s_noise() -> None:
    y, x = np.mgrid[:64, :64] - 31.5
    galaxy = np.broadcast_to(np.exp(-np.hypot(x, y) / 4), (1, 1, 64, 64)).astype(np.float32)
    none = np.zeros((1, 1))
    far = dimmed(galaxy, none, np.ones_like(galaxy), REDSHIFT, 0.15)
    angle, flux = distance_ratios(REDSHIFT, 0.15)
    assert far.sum() / galaxy.sum() == pytest.approx(flux, rel=1e-5)
    radius = [np.sqrt((one[0, 0] * (x**2 + y**2)).sum() / one.sum()) for one in (galaxy, far)]
    assert radius[1] / radius[0] == pytest.approx(angle, rel=0.01)  # pixels of other widths
    sky = np.random.default_rng(2).normal(0, 0.3, (200, 1, 64, 64)).astype(np.float32)
    grain = grains([str(k) for k in range(200)], (1, 64, 64), "test")
    noisy = dimmed(sky, np.full((200, 1), 0.3), grain, REDSHIFT, 0.15)
    spread = noisy.std(axis=0)[0]
    # of 200 draws each pixel's deviation is known to 5%; the mean over thousands to far better
    assert spread.mean() == pytest.approx(0.3, rel=0.01) and spread.max() < 0.3 * 1.3
    with pytest.raises(RecipeError, match="a larger one"):
        dimmed(galaxy, none, galaxy, 0.05, 0.01)


@pytest.mark.parametrize("stretch", ["none", "linear", "sqrt", "log", "asinh", "lupton"])
def test_light_is_what_the_stretch_was_of(stretch: str) -> None:
    rng = np.random.default_rng(3)  # no band is cut off at white, of which nothing could be known again
    light = (rng.uniform(0.02, 0.2, (2, 1, 16, 16)) * rng.uniform(0.9, 1.1, (2, 3, 16, 16))).astype(np.float32)
    display = Display(size=16, bands=("i", "r", "g"), stretch=stretch, limits=() if stretch == "none" else (0.0, 1.0))
    shown = from_light(light, display, display.bands)
    if stretch != "none":
        levels = np.zeros(3), np.ones(3)
        np.testing.assert_array_equal(shown, np.stack([stretched(one, *levels, display) for one in light]))
    again = to_light(shown, display)
    # half of one of 255 levels, by the slope of the steepest stretch (logarithmic over nine e-folds: 4% of the light);
    # lupton's mean of bands adds as much
    np.testing.assert_allclose(again, light, rtol=0.06 if stretch == "none" else 0.02, atol=0.003)


def test_sky_is_that_of_the_border(pictures: np.ndarray) -> None:
    sky, noise = sky_and_noise(pictures.astype(np.float32))
    np.testing.assert_allclose(sky, 20, atol=1.5)
    np.testing.assert_allclose(noise, 3, atol=1.5)


def test_a_band_removed_has_no_light_and_the_others_stay(pictures: np.ndarray) -> None:
    change = PERTURBATIONS["band"].prepare(pictures, IDS, PICTURE)
    without = change(pictures, slice(0, 4), 2.0)
    np.testing.assert_array_equal(without[:, [0, 2]], pictures[:, [0, 2]])
    assert np.ptp(without[:, 1], axis=(1, 2)).max() == 0 and np.abs(without[:, 1].astype(int) - 20).max() <= 2
    for wrong in (4.0, 0.5, -1.0):
        with pytest.raises(RecipeError, match=f"band {wrong}"):
            change(pictures, slice(0, 4), wrong)


def test_noise_and_blur_have_the_size_asked_for() -> None:
    grey = np.full((4, 3, 32, 32), 128, np.uint8)
    noisy = PERTURBATIONS["noise"].prepare(grey, IDS, PICTURE)(grey, slice(0, 4), 0.1)
    assert noisy.std() == pytest.approx(25.5, rel=0.03)  # 12,288 draws: 0.6%
    dot = np.zeros((1, 1, 65, 65), np.uint8)
    dot[0, 0, 28:37, 28:37] = 255
    soft = PERTURBATIONS["blur"].prepare(dot, ["a"], PICTURE)(dot, slice(0, 1), 4.0).astype(float)
    y, _ = np.mgrid[:65, :65] - 32.0
    assert (soft * y**2).sum() / soft.sum() == pytest.approx(4.0**2 + 80 / 12, rel=0.05)  # variances add; 8 bits
