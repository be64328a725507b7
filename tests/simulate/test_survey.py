"""Surveys: complete tables, colours that redden with age, and names that are refused when unknown."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from tuningfork.errors import BandError, RecipeError
from tuningfork.simulate.survey import BANDS, DES, SURVEYS, check_bands, find_survey, magnitude_offset


@pytest.mark.parametrize("name", SURVEYS)
def test_tables_are_complete(name: str) -> None:
    survey = find_survey(name)
    assert survey.name == name and find_survey(survey) is survey and set(survey.bands) <= set(BANDS)
    for table in (survey.noise, survey.gain, survey.psf_fwhm):
        assert set(table) == set(BANDS) and min(table.values()) > 0


def test_des_is_as_noisy_as_the_real_one(real_data: Path) -> None:
    """The sky of 46 public cutouts: the median absolute deviation at their edges, which neighbours raise a little."""
    for band in DES.bands:
        real = fits.getdata(real_data / "fits" / f"des_{band}.fits").astype(float)
        edge = np.concatenate([real[:, :8].reshape(46, -1), real[:, -8:].reshape(46, -1)], 1)
        spread = np.median(1.4826 * np.median(np.abs(edge - np.median(edge, 1, keepdims=True)), 1))
        assert DES.noise[band] == pytest.approx(spread, rel=0.03)


def test_old_light_is_redder_in_every_colour() -> None:
    for blue, red in itertools.pairwise(BANDS):
        colours = [magnitude_offset(blue, youth) - magnitude_offset(red, youth) for youth in (0.0, 0.5, 1.0)]
        assert colours[0] > colours[1] > colours[2]
    assert magnitude_offset("r", 0.3, 0.2) == 0
    assert magnitude_offset("g", 0.0, 0.1) > magnitude_offset("g", 0.0, 0.0)


def test_unknown_surveys_and_bands_are_named() -> None:
    with pytest.raises(RecipeError, match="hubble"):
        find_survey("hubble")
    for bands in [("g", "w"), (), ("g", "g")]:
        with pytest.raises(BandError):
            check_bands(bands)
    assert check_bands(BANDS) == BANDS
