"""Profiles and point-spread functions against GalSim's own drawing, and the canvas against arithmetic."""

import sys

import numpy as np
import pytest

from tuningfork.errors import MissingExtra
from tuningfork.simulate.profiles import INDICES, Canvas, canvas, disk, nearest_index, psf, sersic, shift

galsim = pytest.importorskip("galsim")
SCALE, FWHM, BETA = 0.3, 1.3, 3.2


@pytest.fixture(scope="module")
def grid() -> Canvas:
    return canvas(96, SCALE, 0.5)


def by_galsim(grid: Canvas, profile: object) -> np.ndarray:
    """The profile convolved with the Moffat and sampled (no pixel) on the canvas, row 0 at the top as ours."""
    seen = galsim.Convolve([profile, galsim.Moffat(beta=BETA, fwhm=FWHM)])
    return seen.drawImage(nx=grid.side, ny=grid.side, scale=grid.step, method="no_pixel").array[::-1]


def rotated(profile: object, position_angle: float) -> object:
    """From north (up) through east (left): GalSim's angle from the x axis is 90 degrees ahead."""
    return profile.rotate((position_angle + 90) * galsim.degrees)


def check_alike(ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> None:
    """Differences in shares of the peak: both sample the same function, apart from tables, taper and folding."""
    assert np.abs(ours - theirs).max() < tolerance * theirs.max()


@pytest.mark.parametrize("index", [0.5, 1.0, 2.5, 4.0])
@pytest.mark.parametrize(("radius", "ratio", "angle"), [(1.5, 1.0, 0.0), (3.0, 0.4, 30.0), (2.0, 0.7, 150.0)])
def test_sersic_is_galsims(grid: Canvas, index: float, radius: float, ratio: float, angle: float) -> None:
    ours = grid.image(sersic(grid, index, radius, ratio, angle) * psf(grid, FWHM, BETA))
    profile = galsim.Sersic(n=index, half_light_radius=radius * np.sqrt(ratio)).shear(q=ratio, beta=0 * galsim.degrees)
    theirs = by_galsim(grid, rotated(profile, angle))
    # 1.2%: the taper below Nyquist takes this much from the peak of the sharpest (index 4), and far less from others
    check_alike(ours, theirs, 0.012)


@pytest.mark.parametrize("inclination", [0.0, 45.0, 80.0, 90.0])
def test_disk_is_galsims_inclined_exponential(grid: Canvas, inclination: float) -> None:
    ours = grid.image(disk(grid, 4.0, inclination, 0.5, 110.0) * psf(grid, FWHM, BETA))
    profile = galsim.InclinedExponential(
        inclination=inclination * galsim.degrees, half_light_radius=4.0, scale_height=0.5
    )
    # 2%: face-on the centre has a cusp, which the table of the point-spread function and the taper round off
    check_alike(ours, by_galsim(grid, rotated(profile, 110.0)), 0.02)


def test_psf_has_the_width_and_the_second_moments_of_the_moffat(grid: Canvas) -> None:
    ours = grid.image(psf(grid, FWHM, BETA))
    theirs = galsim.Moffat(beta=BETA, fwhm=FWHM).drawImage(
        nx=grid.side, ny=grid.side, scale=grid.step, method="no_pixel"
    )
    mine = galsim.hsm.FindAdaptiveMom(galsim.Image(ours.astype(float), scale=grid.step))
    other = galsim.hsm.FindAdaptiveMom(theirs)
    assert mine.moments_sigma == pytest.approx(other.moments_sigma, rel=0.01)
    assert mine.observed_shape.g == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("index", INDICES)
def test_flux_is_one_wherever_it_lies(grid: Canvas, index: float) -> None:
    image = grid.image(sersic(grid, index, 1.5, 0.6, 20.0) * psf(grid, FWHM, BETA) * shift(grid, 4.2, -3.1))
    assert image.sum() == pytest.approx(1, abs=1e-4)  # float32 sums over 120 x 120 pixels


@pytest.mark.parametrize(("size", "scale"), [(64, 0.3), (91, 0.263), (64, 1.3), (33, 0.9)])
def test_a_point_lands_where_it_is_put(size: int, scale: float) -> None:
    grid = canvas(size, scale, 0.5)
    stamp = grid.stamp(grid.image(psf(grid, 1.2, 4.0) * shift(grid, 3 * scale, 5 * scale)))
    rows, columns = np.indices(stamp.shape)
    assert stamp.shape == (size, size)
    middle = (size - 1) / 2
    assert (stamp * columns).sum() / stamp.sum() == pytest.approx(middle + 3, abs=0.1)  # to the right
    assert (stamp * rows).sum() / stamp.sum() == pytest.approx(middle - 5, abs=0.1)  # up is towards row 0


def test_transform_and_image_are_inverses(grid: Canvas) -> None:
    image = np.random.default_rng(0).random((grid.side, grid.side)).astype(np.float32)
    np.testing.assert_allclose(grid.image(grid.transform(image)), image, atol=1e-5)


def test_position_angle_runs_from_up_to_the_left(grid: Canvas) -> None:
    image = grid.image(sersic(grid, 1.0, 4.0, 0.3, 45.0) * psf(grid, FWHM, BETA))
    middle = grid.side // 2
    assert image[middle - 10, middle - 10] > 3 * image[middle - 10, middle + 10]


def test_coarse_stamps_are_drawn_finer_and_summed() -> None:
    coarse, fine = canvas(32, 1.2, 0.5), canvas(96, 0.4, 0.5)
    images = [c.stamp(c.image(sersic(c, 2.0, 3.0, 0.6, 70.0) * psf(c, FWHM, BETA))) for c in (coarse, fine)]
    assert coarse.oversample == 3 and fine.oversample == 1
    summed = images[1].reshape(32, 3, 32, 3).sum((1, 3))
    np.testing.assert_allclose(images[0], summed, atol=2e-4 * summed.max())


def test_nearest_index() -> None:
    assert [nearest_index(n) for n in (0.1, 1.1, 3.8, 9.0)] == [0.5, 1.0, 4.0, 6.0]


def test_without_galsim_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "galsim", None)
    with pytest.raises(MissingExtra, match=r"tuningfork\[simulate\]"):
        psf(canvas(32, 0.5, 0.5), 1.0, 2.7182)  # a slope whose table nobody has made
