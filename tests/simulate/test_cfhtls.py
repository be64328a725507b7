"""The lens hunters' camera and picture."""

from dataclasses import replace

import numpy as np
import pytest

from tuningfork.errors import BandError, RecipeError
from tuningfork.simulate.cfhtls import CFHTLS, FIELD, LENS_SURVEYS, find_lens_survey, lens_picture

BANDS = ("g", "r", "i")


def test_surveys() -> None:
    assert [find_lens_survey(name).name for name in LENS_SURVEYS] == list(LENS_SURVEYS)
    assert all(find_lens_survey(name).field == 0 for name in LENS_SURVEYS)  # at their own pixel scale
    assert find_lens_survey(replace(CFHTLS, crowd=1.0)).crowd == 1.0
    assert CFHTLS.size == round(FIELD / CFHTLS.pixel_scale)
    with pytest.raises(RecipeError, match=r"'hst'.*cfhtls"):
        find_lens_survey("hst")


def test_picture() -> None:
    rng = np.random.default_rng(0)
    sky = np.stack([rng.normal(0, CFHTLS.noise[band], (60, 60)) for band in BANDS]).astype(np.float32)
    shown = lens_picture(sky, BANDS, CFHTLS)
    assert shown.shape == (60, 60, 3) and shown.dtype == np.uint8
    # the sky of 220 stamps of Space Warps has medians of 7, 8, 12 in red, green, blue, half the pixels nearly black
    assert (np.median(shown, (0, 1)) < 15).all() and 8 < np.percentile(shown, 84) < 45
    blue, red = (
        np.zeros((3, 8, 8), np.float32) + np.array(c, np.float32)[:, None, None] for c in ([9, 9, 9], [4, 20, 40])
    )
    for flux, strongest in [(blue, 2), (red, 0)]:
        assert lens_picture(flux, BANDS, CFHTLS)[0, 0].argmax() == strongest
    assert (lens_picture(blue * 1e4, BANDS, CFHTLS) == 255).all()  # bright cores are white
    np.testing.assert_array_equal(lens_picture(sky[::-1], BANDS[::-1], CFHTLS), shown)
    with pytest.raises(BandError, match="i not among"):
        lens_picture(sky[:2], ("g", "r"), CFHTLS)


def test_other_surveys_have_their_own_picture() -> None:
    flux = np.full((3, 8, 8), 30.0, np.float32)
    des = lens_picture(flux, BANDS, find_lens_survey("des"))
    assert des.shape == (8, 8, 3) and (des != lens_picture(flux, BANDS, CFHTLS)).any()
