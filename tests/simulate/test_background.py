"""Lensed light: flux, surface brightness and magnification against closed forms."""

from dataclasses import replace

import numpy as np
import pytest

from tuningfork.simulate.background import Background, Clump, knots, lensed, smooth
from tuningfork.simulate.deflector import Deflector, Halo
from tuningfork.simulate.profiles import Canvas, canvas, psf, sersic, shift

pytest.importorskip("galsim")
pytest.importorskip("lenstronomy")
SOURCE = Background(x=0.1, y=-0.2, radius=0.5, axis_ratio=0.6, position_angle=30, index=1.0)
CLUMPY = replace(SOURCE, clumps=(Clump(0.3, 0.2, 0.08, 0.1), Clump(-0.4, 0.1, 0.1, 0.2)))


def grid() -> Canvas:
    return canvas(81, 0.186, 0.3)


def image(transform: np.ndarray) -> np.ndarray:
    return grid().image(transform)


def test_without_a_deflector_it_is_the_galaxy_itself() -> None:
    """Through the point-spread function the same as the Sersic profile whose transform comes from GalSim."""
    seen = lensed(grid(), Deflector(), SOURCE)
    blur = psf(grid(), 0.7, 3.4)
    known = sersic(grid(), 1.0, 0.5, 0.6, 30) * shift(grid(), 0.1, -0.2)
    ours, theirs = image(seen.layers[0][3] * blur), image(known * blur)
    assert seen.magnification == pytest.approx(1, abs=0.01) and seen.n_images == 0
    np.testing.assert_allclose(ours, theirs, atol=0.02 * theirs.max())  # the mesh of 0.05 arcsec rounds the cusp


def test_profiles_hold_unit_flux() -> None:
    axis = np.arange(-8, 8, 0.02) + 0.01
    for index in (0.6, 1.0, 2.0):
        whole = smooth(replace(SOURCE, index=index), axis[None], axis[:, None]).sum() * 0.02**2
        assert whole == pytest.approx(1, abs=0.01)
    assert knots(CLUMPY, axis[None], axis[:, None]).sum() * 0.02**2 == pytest.approx(1, abs=1e-4)
    assert knots(SOURCE, axis[None], axis[:, None]).max() == 0


@pytest.mark.parametrize("offset", [0.4, 0.8])
def test_magnification_of_a_small_source_is_that_of_a_point(offset: float) -> None:
    """Behind an isothermal sphere a point within theta_E has mu = 2 theta_E / beta in its two images together."""
    small = Background(x=offset, y=0.0, radius=0.06, axis_ratio=1.0, index=0.6)
    seen = lensed(grid(), Deflector((Halo(1.5),)), small)
    # a disk of radius r adds (r / beta)^2 / 8 or so, and the mesh up to 1%
    assert seen.magnification == pytest.approx(2 * 1.5 / offset, rel=0.02)
    quasar = lensed(grid(), Deflector((Halo(1.5),)), replace(small, quasar_magnitude=22.0))
    assert quasar.n_images == 2 and quasar.magnification == pytest.approx(2 * 1.5 / offset, rel=2e-3)


def test_a_far_source_is_magnified_once() -> None:
    """Outside theta_E an isothermal sphere makes one image, mu = 1 + theta_E / beta."""
    seen = lensed(grid(), Deflector((Halo(0.8),)), Background(x=2.5, radius=0.15, axis_ratio=1.0))
    assert seen.magnification == pytest.approx(1 + 0.8 / 2.5, rel=0.02)


def test_surface_brightness_is_conserved() -> None:
    """However strong the lens, no pixel is brighter than the source, and a ring is as bright as its source."""
    broad = Background(radius=0.6, axis_ratio=1.0, index=0.5)
    bare = image(lensed(grid(), Deflector(), broad).layers[0][3])
    ringed = image(lensed(grid(), Deflector((Halo(1.5, 0.8, 20),), 0.05, 80), broad).layers[0][3])
    assert ringed.sum() > 4 * bare.sum()
    assert 0.9 * bare.max() < ringed.max() < 1.02 * bare.max()


def test_layers_carry_the_light() -> None:
    seen = lensed(grid(), Deflector(), replace(CLUMPY, quasar_magnitude=22.0))
    flux = [10 ** (-0.4 * magnitude) for magnitude, _, _, _ in seen.layers]
    whole = 10 ** (-0.4 * CLUMPY.magnitude)
    np.testing.assert_allclose(flux, [0.7 * whole, 0.3 * whole, 10 ** (-0.4 * 22.0)])
    for _, _, _, transform in seen.layers:
        assert image(transform * psf(grid(), 0.7, 3.4)).sum() == pytest.approx(1, abs=0.01)
    assert seen.layers[1][1] > seen.layers[0][1]  # clumps are the younger


def test_quasar_images_lie_on_the_lensed_host() -> None:
    seen = lensed(grid(), Deflector((Halo(1.5, 0.7, 20),)), Background(x=0.05, y=0.05, radius=0.1, quasar_magnitude=22))
    assert seen.n_images == 4
    points, host = image(seen.layers[1][3] * psf(grid(), 0.7, 3.4)), image(seen.layers[0][3] * psf(grid(), 0.7, 3.4))
    assert host[points > 0.5 * points.max()].min() > 0.2 * host.max()
