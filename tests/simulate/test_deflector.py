"""How light is bent: against the closed forms of isothermal lenses, and the number of images inside each caustic."""

import sys

import numpy as np
import pytest

from tuningfork.errors import MissingExtra
from tuningfork.simulate.deflector import Deflector, Halo, images, ring, to_source

pytest.importorskip("lenstronomy")
SPHERE = Deflector((Halo(1.5),))


@pytest.mark.parametrize("offset", [0.1, 0.6, 1.2])
def test_isothermal_sphere(offset: float) -> None:
    """beta = theta -+ theta_E: images at beta + theta_E and beta - theta_E, mu = theta_E / beta +- 1."""
    x, y, bright = images(SPHERE, offset, 0.0)
    np.testing.assert_allclose(x, [1.5 + offset, offset - 1.5], atol=1e-5)
    np.testing.assert_allclose(y, 0, atol=1e-5)
    # lenstronomy keeps a tiny softening and the solver's precision: 1e-3 of the magnification
    np.testing.assert_allclose(bright, [1 + 1.5 / offset, 1 - 1.5 / offset], rtol=1e-3)


def test_an_ellipsoid_parts_its_images_by_twice_its_einstein_radius() -> None:
    rng = np.random.default_rng(3)
    for _ in range(8):
        halo = Halo(float(rng.uniform(0.8, 2.5)), float(rng.uniform(0.6, 0.95)), float(rng.uniform(0, 180)))
        x, y, _ = images(Deflector((halo,)), *(0.2 * halo.einstein_radius * rng.uniform(-1, 1, 2)))
        widest = np.hypot(x[:, None] - x, y[:, None] - y).max()
        # exact only for spheres; the ellipse's own axes differ from its mean radius by up to 1 / sqrt(q)
        assert 1.6 < widest / halo.einstein_radius < 2.7


def test_images_come_from_where_they_should() -> None:
    deflector = Deflector((Halo(1.2, 0.7, 30), Halo(0.4, 0.9, 0, 2.0, 1.0)), 0.06, 70)
    x, y, bright = images(deflector, 0.15, -0.2)
    beta_x, beta_y = to_source(deflector, x, y)
    np.testing.assert_allclose(beta_x, 0.15, atol=1e-5)
    np.testing.assert_allclose(beta_y, -0.2, atol=1e-5)
    assert (np.abs(bright)[:-1] >= np.abs(bright)[1:]).all()


def test_number_of_images_changes_at_the_caustics() -> None:
    """An isothermal ellipsoid has four images inside the astroid, two inside the cut, one outside (KSB 1994)."""
    halo = Deflector((Halo(1.5, 0.7, 0.0),))
    assert [len(images(halo, *place)[0]) for place in [(0.02, 0.03), (-0.05, 0.02)]] == [4, 4]
    assert [len(images(halo, *place)[0]) for place in [(0.7, 0.6), (-0.8, 0.5)]] == [2, 2]
    assert [len(images(halo, *place)[0]) for place in [(2.5, 0.0), (0.0, -3.0)]] == [1, 1]


def test_position_angles_run_from_north_through_east() -> None:
    """East is left: turning the mass by 90 degrees is turning the sky anticlockwise."""
    x, y = np.meshgrid(np.linspace(-2, 2, 7), np.linspace(-2, 2, 7))
    up_x, up_y = to_source(Deflector((Halo(1.0, 0.6, 20.0),), 0.08, 50.0), x, y)
    turned_x, turned_y = to_source(Deflector((Halo(1.0, 0.6, 110.0),), 0.08, 140.0), -y, x)
    np.testing.assert_allclose([turned_x, turned_y], [-up_y, up_x], atol=1e-9)
    # on the major axis the mass is nearer: at one and the same distance the bending is weaker across it
    along = to_source(Deflector((Halo(1.0, 0.5, 0.0),)), np.zeros(1), np.ones(1))[1]
    across = to_source(Deflector((Halo(1.0, 0.5, 0.0),)), np.ones(1), np.zeros(1))[0]
    assert along != pytest.approx(across, abs=0.05)


def test_shear_stretches_along_its_angle() -> None:
    """Towards north a sheared image is stretched: a ray's offset shrinks by 1 - shear on its way to the source."""
    north = to_source(Deflector((), 0.1, 0.0), np.zeros(1), np.ones(1))
    west = to_source(Deflector((), 0.1, 0.0), np.ones(1), np.zeros(1))
    np.testing.assert_allclose([north[1], west[0]], [[0.9], [1.1]])
    np.testing.assert_allclose([north[0], west[1]], 0, atol=1e-12)


def test_nothing_bends_nothing() -> None:
    x, y = np.meshgrid(np.arange(3.0), np.arange(4.0))
    np.testing.assert_array_equal(to_source(Deflector(), x, y), [x, y])
    assert [float(one[0]) for one in images(Deflector(), 0.3, 0.4)] == [0.3, 0.4, 1.0]
    assert ring(Deflector()) == 0.0
    still = to_source(Deflector((Halo(1e-9),)), x + 0.5, y + 0.5)
    np.testing.assert_allclose(still, [x + 0.5, y + 0.5], atol=1e-8)


def test_einstein_radius() -> None:
    assert ring(SPHERE) == pytest.approx(1.5, abs=2e-3)
    assert ring(Deflector((Halo(1.5, 0.6, 40),), 0.1, 3)) == pytest.approx(1.5, rel=0.03)  # by area, not by circle
    assert ring(Deflector((Halo(1.0), Halo(0.5)))) == pytest.approx(1.5, abs=5e-3)
    assert ring(Deflector((Halo(2.0), Halo(0.5, 1, 0, 30, 0)))) == pytest.approx(2.0, rel=0.02)


def test_without_lenstronomy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith("lenstronomy"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lenstronomy", None)
    with pytest.raises(MissingExtra, match=r"tuningfork\[lenses\]"):
        to_source(SPHERE, np.ones(2), np.ones(2))


def test_images_are_the_same_whatever_was_drawn_before() -> None:
    deflector = Deflector((Halo(1.4, 0.7, 30.0), Halo(0.4, 0.8, 80.0, 1.0, 0.3)), 0.05, 20.0)
    found = []
    for seed in range(8):
        np.random.seed(seed)  # the solver draws from numpy's global generator
        found.append([np.concatenate(images(deflector, 0.05 + 0.01 * k, 0.1)).tobytes() for k in range(20)])
        assert np.random.get_state()[1][0] == seed  # and the user's own draws are left as they were
    assert all(one == found[0] for one in found)
