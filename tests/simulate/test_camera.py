"""What the camera records: magnitudes, noise, handedness, and pixels that depend on the galaxy alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

from tuningfork.errors import BandError, RecipeError
from tuningfork.galaxy.catalog import Catalog
from tuningfork.simulate.camera import draw, stamp_scale
from tuningfork.simulate.picture import picture
from tuningfork.simulate.survey import DES, SDSS, SURVEYS, SimulatedSurvey, magnitude_offset
from tuningfork.simulate.truth import CLASSES, Galaxy, draw_population

pytest.importorskip("galsim")
GRI = ("g", "r", "i")
SPIRAL = Galaxy(
    "spiral", magnitude=15.0, radius=4.0, bulge_fraction=0.15, bulge_radius=0.7, inclination=25.0, arms=2, pitch=20.0,
    direction=1, arm_strength=0.6, flocculence=0.1, disk_youth=0.7, phase=30.0,
)  # fmt: skip


def quiet(galaxy: Galaxy, bands: tuple[str, ...], survey: SimulatedSurvey, size: int) -> np.ndarray:
    return draw(galaxy, bands, survey, size, noise=False, neighbours=False)


@pytest.mark.parametrize("survey", [SDSS, DES])
@pytest.mark.parametrize(
    "galaxy",
    [
        Galaxy("elliptical", magnitude=16.0, radius=1.2, bulge_fraction=1.0, bulge_index=1.5, bulge_radius=1.2),
        Galaxy("star", magnitude=16.0),
        replace(SPIRAL, magnitude=16.0, radius=2.0),
        replace(SPIRAL, magnitude=16.0, radius=2.0, bar_length=0.8, bar_strength=0.2, ring_radius=1.0,
                ring_strength=0.2, clumps=0.1, lopsided=0.2, tail=0.05),
    ],
)  # fmt: skip
def test_r_light_adds_up_to_the_magnitude(galaxy: Galaxy, survey: SimulatedSurvey) -> None:
    wide = replace(survey, field=0.0)
    flux = quiet(galaxy, ("r",), wide, 128)
    expected = 10 ** (0.4 * (survey.zero_point - 16.0))
    if galaxy.kind == "star":
        expected *= 1.03  # the spikes come on top
    assert flux.sum() == pytest.approx(expected, rel=0.02)  # wings of the profile and of the seeing leave the stamp


def test_colours_are_those_of_the_starlight() -> None:
    galaxy = Galaxy("elliptical", magnitude=16, redshift=0.1, bulge_fraction=1, bulge_index=1.0, bulge_radius=1.0)
    bands = ("u", "g", "r", "i", "z", "Y")
    flux = quiet(galaxy, bands, replace(SDSS, field=0.0), 96).sum((1, 2))
    for band, counts in zip(bands, flux, strict=True):
        assert -2.5 * np.log10(counts / flux[2]) == pytest.approx(magnitude_offset(band, 0.0, 0.1), abs=0.02)


def test_dust_takes_more_blue_than_red_light() -> None:
    edge_on = replace(SPIRAL, inclination=88.0, arm_strength=0.0, dust=0.0)
    clear, dusty = (quiet(galaxy, GRI, SDSS, 64).sum((1, 2)) for galaxy in (edge_on, replace(edge_on, dust=2.0)))
    left = dusty / clear
    assert left[0] < left[1] < left[2] < 1


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("survey", SURVEYS)
def test_the_same_galaxy_gives_the_same_finite_pixels(name: str, survey: str) -> None:
    for galaxy in draw_population(5, 6, survey, {name: 1}):
        one = draw(galaxy, GRI, survey, 48)
        assert one.shape == (3, 48, 48) and one.dtype == np.float32 and np.isfinite(one).all()
        np.testing.assert_array_equal(one, draw(galaxy, GRI, survey, 48))
        if galaxy.kind != "artefact":
            np.testing.assert_array_equal(one[[1]], draw(galaxy, ("r",), survey, 48))
        assert one.std() > 0


@pytest.mark.parametrize("name", ["elliptical", "spiral_clockwise", "edge_on"])
def test_size_changes_the_pixels_not_the_galaxy(name: str) -> None:
    for galaxy in draw_population(6, 5, "sdss", {name: 1}):
        small, large = (quiet(galaxy, ("r",), SDSS, size)[0] for size in (48, 144))
        summed = large.reshape(48, 3, 48, 3).sum((1, 3))
        # the coarser stamp holds the same light; its canvas may be finer or coarser, which moves knots by half a pixel
        assert np.abs(small - summed).sum() < 0.04 * summed.sum()


@pytest.mark.parametrize("survey", [SDSS, DES])
def test_the_sky_is_as_noisy_as_the_surveys(survey: SimulatedSurvey) -> None:
    nothing = Galaxy("elliptical", magnitude=40.0, bulge_fraction=1.0, seed=4)
    flux = draw(nothing, survey.bands, replace(survey, field=0.0), 128, neighbours=False)
    for band, sky in zip(survey.bands, flux, strict=True):
        assert sky.std() == pytest.approx(survey.noise[band], rel=0.03)  # 16,000 pixels: 0.6%, correlated more
        assert abs(sky.mean()) < 0.05 * survey.noise[band]
        neighbours = np.corrcoef(sky[1:].ravel(), sky[:-1].ravel())[0, 1]
        assert neighbours == pytest.approx(2 * survey.noise_blend / (1 + 2 * survey.noise_blend**2), abs=0.03)


def test_photons_make_noise() -> None:
    bright = Galaxy("elliptical", magnitude=12.0, radius=8.0, bulge_fraction=1.0, bulge_index=0.5, bulge_radius=8.0)
    survey = replace(SDSS, field=0.0, noise={**SDSS.noise, "r": 1e-6})
    light, noisy = (draw(bright, ("r",), survey, 64, noise=noise, neighbours=False)[0] for noise in (False, True))
    pull = (noisy - light)[20:44, 20:44] / np.sqrt(light[20:44, 20:44] / survey.gain["r"])
    assert pull.std() == pytest.approx(1, abs=0.12)  # 576 pixels: 3%


def test_neighbours_come_and_go_without_changing_the_galaxy() -> None:
    alone, crowd = (draw(SPIRAL, GRI, DES, 91, noise=False, neighbours=choice) for choice in (False, True))
    added = crowd - alone
    assert added.min() > -0.02 * added.max() and added.sum() > 0
    assert np.median(added) < DES.noise["r"]


def chirality(picture: np.ndarray) -> float:
    """How a picture (64, 64) winds: > 0 where the azimuth of its light (anticlockwise, row 0 on top) grows outwards."""
    light = np.arcsinh(scipy.ndimage.gaussian_filter(picture.astype(float), 0.7) / 10)
    log_r, phi = np.linspace(np.log(4), np.log(20), 40)[:, None], np.linspace(0, 2 * np.pi, 180, endpoint=False)
    places = [31.5 - np.exp(log_r) * np.sin(phi), 31.5 + np.exp(log_r) * np.cos(phi)]
    modes = np.fft.fft(scipy.ndimage.map_coordinates(light, places, order=1), axis=1)[:, 1:5]
    turns = modes[1:] * modes[:-1].conj()
    return float(-turns.imag.sum() / np.abs(turns).sum())


def test_clockwise_is_the_mirror_image_of_anticlockwise() -> None:
    quiet_arms = replace(SPIRAL, flocculence=0.0)
    z, s = (quiet(replace(quiet_arms, direction=way), ("r",), SDSS, 64)[0] for way in (1, -1))
    assert chirality(z * 100) > 0.05 > -0.05 > chirality(s * 100)
    assert chirality(z[:, ::-1] * 100) < -0.05


def test_directions_are_those_of_galaxy_zoo(real_data: Path) -> None:
    """Real spirals that volunteers called clockwise wind as ours do: the mean of 60, whose error is about 0.004."""
    rows = Catalog.read(real_data / "gz1" / "labels.csv", id="objid")
    for name, sign in (("spiral_clockwise", 1), ("spiral_anticlockwise", -1)):
        ids = [id for id, label in zip(rows.ids, rows["class"], strict=True) if label == name][:150]
        real = [
            chirality(np.asarray(Image.open(real_data / "gz1" / "images" / f"{id}.jpg").convert("L").resize((64, 64))))
            for id in ids
        ]
        ours = [chirality(picture(draw(g, GRI), GRI, SDSS, stamp_scale(g, SDSS, 64)).mean(2))
                for g in draw_population(61, 60, class_weights={name: 1})]  # fmt: skip
        assert sign * np.mean(real) > 0.005
        assert sign * np.mean(ours) > 0.005


def test_refusals() -> None:
    with pytest.raises(BandError):
        draw(SPIRAL, ("g", "H"))
    with pytest.raises(RecipeError):
        draw(SPIRAL, GRI, "hst")


def test_the_frame_follows_the_galaxy_or_the_survey() -> None:
    large = replace(SPIRAL, radius=8.0)
    assert stamp_scale(large, SDSS, 64) == pytest.approx(2 * stamp_scale(SPIRAL, SDSS, 64), rel=0.05)
    assert stamp_scale(large, DES, 64) == DES.pixel_scale
