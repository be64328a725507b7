"""The sixty well-known galaxies: sixty of them, apart from each other, and as far apart as the sky has them."""

import re

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from tuningfork.survey.wellknown import WELL_KNOWN, well_known

# Separations in arcminutes from the literature on these pairs and groups, to the arcminute or so.
PAIRS = [
    ("M65", "M66", 20.1),  # Leo triplet
    ("M66", "NGC 3628", 35.9),
    ("M81", "M82", 36.8),  # half a degree and a bit
    ("M84", "M86", 17.0),  # Markarian's chain
    ("M59", "M60", 24.8),
    ("M95", "M96", 41.7),  # Leo I group
    ("M96", "M105", 48.5),
    ("M87", "M89", 71.5),
]


def test_there_are_sixty_with_names_positions_and_widths() -> None:
    catalog = well_known()
    assert len(catalog) == len(WELL_KNOWN) == 60 == len(set(catalog.ids))
    assert catalog.columns == ["id", "ra", "dec", "width"] and catalog.unit("width") == "arcsec"
    assert all(re.fullmatch(r"M\d{1,3}|NGC \d{1,4}", name) for name in catalog.ids)
    assert ((catalog["width"] >= 180) & (catalog["width"] <= 1800)).all()


def test_no_two_are_the_same_and_all_lie_in_the_north_or_at_the_equator() -> None:
    catalog = well_known()
    sky = SkyCoord(catalog.ra, catalog.dec, unit="deg")
    _, apart, _ = sky.match_to_catalog_sky(sky, nthneighbor=2)
    assert apart.arcmin.min() > 10
    assert (catalog.dec > -2).all() and (np.abs(sky.galactic.b.deg) > 25).all()  # out of the Milky Way's dust


@pytest.mark.parametrize(("first", "second", "arcmin"), PAIRS)
def test_neighbours_are_as_far_apart_as_they_are(first: str, second: str, arcmin: float) -> None:
    place = {name: SkyCoord(ra, dec, unit="deg") for name, ra, dec, _ in WELL_KNOWN}
    assert place[first].separation(place[second]).arcmin == pytest.approx(arcmin, abs=0.6)


def test_those_in_virgo_are_in_virgo() -> None:
    middle = SkyCoord(187.70593, 12.39112, unit="deg")  # M87, of the ICRF
    for name in ("M49", "M58", "M59", "M60", "M84", "M85", "M86", "M88", "M89", "M90", "M91", "M98", "M99", "M100"):
        _, ra, dec, _ = next(row for row in WELL_KNOWN if row[0] == name)
        assert middle.separation(SkyCoord(ra, dec, unit="deg")).deg < 6.5
