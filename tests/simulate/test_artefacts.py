"""What is no galaxy puts light where it should, in place, and leaves galaxies alone."""

import numpy as np
import pytest

from tuningfork.simulate.artefacts import add_artefact, spikes
from tuningfork.simulate.profiles import canvas
from tuningfork.simulate.survey import SDSS
from tuningfork.simulate.truth import ARTEFACTS, Galaxy, generator

GRI = ("g", "r", "i")


def added(galaxy: Galaxy, seed: int = 0) -> np.ndarray:
    image = np.zeros((3, 64, 64), np.float32)
    add_artefact(image, galaxy, GRI, SDSS, canvas(64, 0.4, 0.5), generator(seed, 0))
    return image


@pytest.mark.parametrize("kind", ARTEFACTS)
def test_every_artefact_shows_and_is_finite(kind: str) -> None:
    for seed in range(5):
        image = added(Galaxy("artefact", artefact=kind, magnitude=13.0, phase=33.0), seed)
        assert np.isfinite(image).all() and np.abs(image).max() > 3 * SDSS.noise["g"]


def test_galaxies_get_nothing() -> None:
    assert not added(Galaxy("spiral")).any()


def test_a_trail_is_one_straight_line_in_one_band() -> None:
    image = added(Galaxy("artefact", artefact="trail", phase=0.0))
    bright = [band for band in image if band.any()]
    assert len(bright) == 1
    rows = bright[0].sum(1)
    assert np.sort(rows)[-6:].sum() > 0.95 * rows.sum() and np.ptp(bright[0], axis=1).max() < 1e-3 * rows.max()


def test_spikes_are_a_cross_of_given_light_and_place() -> None:
    cross = spikes(65, 0.4, 0.0, np.zeros(2))
    assert cross.sum() == pytest.approx(0.03, rel=1e-4)
    np.testing.assert_allclose(cross, np.rot90(cross), atol=1e-8)
    assert cross[30:35].sum() > 0.5 * cross.sum() and cross[10, 10] < 1e-3 * cross[32, 10]
    moved = spikes(65, 0.4, 0.0, np.array([4.0, 8.0]))  # ten pixels to the right, twenty up
    assert np.unravel_index(moved.argmax(), moved.shape) == (12, 42)


def test_a_brighter_star_has_brighter_spikes() -> None:
    faint, bright = (added(Galaxy("star", magnitude=m)) for m in (15.0, 12.5))
    np.testing.assert_allclose(bright, faint * 10, rtol=1e-4)
