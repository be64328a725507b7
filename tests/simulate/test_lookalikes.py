"""What stands in the middle: the same magnitudes whatever it is, and each flavor with what makes it one."""

import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM

from tuningfork.simulate.cfhtls import CFHTLS
from tuningfork.simulate.lookalikes import (
    GROUPS,
    LOOKALIKES,
    distance_modulus,
    draw_flavor,
    draw_lookalike,
    draw_place,
    early_type,
    kiloparsec,
    members,
)
from tuningfork.simulate.truth import generator

PLACES = [draw_place(generator(0, index), CFHTLS) for index in range(400)]


def test_distances() -> None:
    known = FlatLambdaCDM(H0=70, Om0=0.3)
    for redshift in (0.15, 0.3, 0.45, 0.6, 0.75):
        assert distance_modulus(redshift) == pytest.approx(known.distmod(redshift).value, abs=0.02)
        assert kiloparsec(redshift) == pytest.approx(known.arcsec_per_kpc_proper(redshift).value, rel=0.01)


def test_places() -> None:
    groups = np.array([place.group for place in PLACES])
    assert groups.mean() == pytest.approx(GROUPS, abs=0.1)
    assert all(0.15 <= place.redshift <= 0.75 and 17 <= place.magnitude <= 21.8 for place in PLACES)
    assert all(bool(members(generator(1, n), place)) == place.group for n, place in enumerate(PLACES[:60]))


def test_shares_of_flavors() -> None:
    drawn = [draw_flavor(generator(2, number), place) for number, place in enumerate(PLACES * 4)]
    for flavor, share in LOOKALIKES.items():
        assert drawn.count(flavor) / len(drawn) == pytest.approx(share, abs=0.05)  # 5 sigma of 1600 draws
    in_groups = {flavor for flavor, place in zip(drawn, PLACES * 4, strict=True) if place.group}
    assert in_groups == {"satellites", "elliptical"}


@pytest.mark.parametrize("flavor", LOOKALIKES)
def test_each_has_what_makes_it_one(flavor: str) -> None:
    for number, place in enumerate(PLACES[:40]):
        galaxy = draw_lookalike(generator(3, number), flavor, place, CFHTLS)
        assert galaxy.magnitude == pytest.approx(place.magnitude, abs=2e-3)
        assert (flavor == "ring") == (galaxy.ring_strength > 0.6)
        assert flavor != "satellites" or 2 <= len(galaxy.companions) <= 5
        assert flavor != "merger" or galaxy.companions
        assert flavor != "spiral" or galaxy.arms
        assert flavor != "elliptical" or (galaxy.bulge_fraction == 1 and not galaxy.companions)


def test_satellites_stand_where_images_would() -> None:
    for number, place in enumerate(PLACES[:40]):
        galaxy = draw_lookalike(generator(4, number), "satellites", place, CFHTLS)
        assert all(0.7 < np.hypot(one.dx, one.dy) < 7.3 for one in galaxy.companions)


def test_fainter_galaxies_are_smaller() -> None:
    place = PLACES[0]
    radii = [np.mean([early_type(generator(5, n), place, faint).radius for n in range(60)]) for faint in (0, 1, 2)]
    assert radii[0] > 1.4 * radii[1] > 1.96 * radii[2]
