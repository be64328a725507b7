"""Pictures: the colours of Galaxy Zoo, grey for grey, and brightness that is absolute."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuningfork.errors import BandError
from tuningfork.galaxy.catalog import Catalog
from tuningfork.simulate.camera import draw, stamp_scale
from tuningfork.simulate.picture import picture
from tuningfork.simulate.survey import SDSS
from tuningfork.simulate.truth import draw_population

GRI = ("g", "r", "i")


def test_pictures_have_the_brightness_and_colours_of_galaxy_zoo(real_data: Path) -> None:
    """Medians over ellipticals, of core and surroundings, in red, green, blue; 20%: the fit's residual, 60 galaxies."""
    rows = Catalog.read(real_data / "gz1" / "labels.csv", id="objid")
    ids = [id for id, label in zip(rows.ids, rows["class"], strict=True) if label == "elliptical"][:100]
    opened = [
        Image.open(real_data / "gz1" / "images" / f"{id}.jpg").resize((64, 64), Image.Resampling.BOX) for id in ids
    ]
    ours = [picture(draw(g, GRI), GRI, SDSS, stamp_scale(g, SDSS, 64))
            for g in draw_population(9, 60, class_weights={"elliptical": 1})]  # fmt: skip
    radius = np.hypot(*np.mgrid[-31.5:32, -31.5:32])
    for here in (radius < 2, (radius > 4) & (radius < 8)):
        real = np.median([np.asarray(image)[here].mean(0) for image in opened], axis=0)
        np.testing.assert_allclose(np.median([image[here].mean(0) for image in ours], axis=0), real, rtol=0.2)


def test_a_picture_is_grey_where_weighted_bands_are_equal() -> None:
    flux = np.stack([np.full((8, 8), 1 / 1.613), np.ones((8, 8)), np.full((8, 8), 1 / 0.852)]).astype(np.float32)
    shown = picture(flux, GRI, "sdss", 0.4)
    assert shown.shape == (8, 8, 3) and shown.dtype == np.uint8
    assert np.ptp(shown) <= 1 and 20 < shown.mean() < 250
    assert (picture(flux * 3, GRI, "sdss", 0.4) > shown).all()
    with pytest.raises(BandError, match="i not among"):
        picture(flux[:2], ("g", "r"), "sdss", 0.4)
