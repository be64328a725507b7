"""The shape of one galaxy: identities, drawn profiles found again, an independent program, bad input, real galaxies."""

import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("statmorph", reason="needs the extra [insight]")
import scipy.signal
from astropy.modeling.models import Sersic2D
from photutils.morphology import gini
from statmorph import SourceMorphology

from tuningfork.errors import BadImage, Reason, RecipeError
from tuningfork.galaxy.source import open_source
from tuningfork.insight.measuring import measure_cutout
from tuningfork.insight.morphometry import COLUMNS, chosen_plane, measure_image, psf_kernel
from tuningfork.insight.segmentation import GALAXY, NEIGHBOUR, segment

SHAPE = ("gini", "m20", "concentration", "asymmetry", "smoothness", "multimode", "intensity", "deviation", "sersic_n")
OVER = 4  # pixels are drawn so many times finer, then averaged, as a detector does


def drawn(
    n: float,
    *,
    radius: float = 10,
    side: int = 128,
    bright: float = 20,
    fwhm: float = 0,
    noise: float = 1,
    seed: int = 1,
) -> np.ndarray:
    """A Sersic galaxy with ellipticity 0.3 at 0.6 rad, in the middle, on a sky of 7: (side, side) float64."""
    fine = (np.arange(side * OVER) + 0.5) / OVER - 0.5
    middle = (side - 1) / 2
    flux = Sersic2D(bright, radius, n, middle, middle, 0.3, 0.6)(*np.meshgrid(fine, fine))
    flux = flux.reshape(side, OVER, side, OVER).mean(axis=(1, 3))
    if fwhm:
        flux = scipy.signal.fftconvolve(flux, psf_kernel(fwhm), mode="same")
    return flux + 7 + np.random.default_rng(seed).normal(0, noise, flux.shape)


def spiral(seed: int = 2) -> np.ndarray:
    """An exponential disc with two arms and a knot in one of them, so that no measure is zero by symmetry."""
    y, x = np.mgrid[:128, :128] - 63.5
    r, angle = np.hypot(x, y), np.arctan2(y, x)
    flux = 60 * np.exp(-r / 9) * (1 + 0.6 * np.cos(2 * angle - r / 4)) + 25 * np.exp(-((x - 14) ** 2 + y**2) / 8)
    return flux + np.random.default_rng(seed).normal(0, 1, flux.shape)


def test_gini_by_an_independent_program():
    """photutils' gini of a uniform image is 0, of one bright pixel 1; of the same pixels it is that of statmorph."""
    point = np.zeros((9, 9))
    point[4, 4] = 3.0
    assert gini(np.ones((9, 9))) == pytest.approx(0, abs=1e-12) and gini(point) == pytest.approx(1, abs=1e-12)
    image = spiral()
    measured = measure_image(image)
    parts = measured.segmentation
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = SourceMorphology(parts.light, parts.labels, 1, weightmap=np.full(image.shape, parts.noise))
    inside = np.zeros(image.shape, bool)
    inside[plain._slice_stamp] = plain._segmap_gini
    # statmorph's own pixels: the light without its bad ones, of which this image has none
    assert measured.values["gini"] == pytest.approx(gini(parts.light[inside]), abs=1e-6)
    for name in ("m20", "concentration", "asymmetry", "smoothness", "rpetro_circ", "sersic_n", "flux_ellip"):
        assert measured.values[name] == pytest.approx(getattr(plain, name), rel=1e-5, abs=1e-7), name


@pytest.mark.parametrize(
    ("n", "radius", "width", "off"),
    [
        (1.0, 10.0, 3.0, 0.03),  # the noise alone: chi squared gives 0.01
        (4.0, 8.0, 3.0, 0.15),  # and its wings, a tenth of the light, lie outside of the picture or count as sky
    ],
)
def test_a_drawn_profile_is_found_again(n, radius, width, off):
    found = measure_image(drawn(n, radius=radius, side=160, bright=30, fwhm=width), psf=width)
    values = found.values
    assert found.flag == found.flag_sersic == 0 and not [one for one in found.warnings if "Sersic" in one]
    assert values["sersic_n"] == pytest.approx(n, rel=off)
    assert values["sersic_rhalf"] == pytest.approx(radius, rel=off)
    assert values["sersic_ellip"] == pytest.approx(0.3, abs=0.02)
    assert values["sersic_theta"] == pytest.approx(np.degrees(0.6), abs=1.5)
    assert (values["sersic_x"], values["sersic_y"]) == pytest.approx((79.5, 79.5), abs=0.1)
    assert values["sky"] == pytest.approx(7, abs=0.15) and values["noise"] == pytest.approx(1, abs=0.04)
    assert values["sersic_chi2_dof"] == pytest.approx(1, abs=0.1)
    # the model is the galaxy: what is left is the noise
    left = (found.segmentation.light - found.model())[found.segmentation.labels == GALAXY]
    assert abs(left.mean()) < 0.25 and left.std() == pytest.approx(1, abs=0.15)


def test_without_its_psf_a_profile_is_flatter():
    image = drawn(4, radius=8, side=160, bright=30, fwhm=3)
    blunt, sharp = measure_image(image).values, measure_image(image, psf=psf_kernel(3.0)).values
    assert blunt["sersic_n"] < 0.8 * sharp["sersic_n"]
    assert blunt["gini"] == sharp["gini"]  # all else does not see the PSF


def test_units_do_not_matter():
    image = spiral()
    measured = measure_image(image)
    for scale, offset in ((1e-11, 0), (1e7, 3e8)):
        other = measure_image(image * scale + offset)
        for name in SHAPE:
            # float32 in the house's centre, and sky clipping, give the last digits
            assert other.values[name] == pytest.approx(measured.values[name], rel=2e-3, abs=2e-3), (name, scale)
        assert other.values["noise"] == pytest.approx(measured.values["noise"] * scale, rel=1e-3)
        assert other.values["flux_ellip"] == pytest.approx(measured.values["flux_ellip"] * scale, rel=2e-3)


def test_a_quarter_turn_leaves_the_shape_and_turns_the_rest():
    image = spiral()
    measured, turned = measure_image(image).values, measure_image(np.rot90(image).copy()).values
    for name in SHAPE:
        # asymmetry's centre is found by descent to 0.01 px, and the sky's own is of another piece of sky
        assert turned[name] == pytest.approx(measured[name], abs=0.015), name
    assert turned["x"] == pytest.approx(measured["y"], abs=0.1)
    apart = (turned["orientation"] - measured["orientation"]) % 180
    assert apart == pytest.approx(90, abs=1)


def test_a_symmetric_galaxy_has_no_asymmetry_and_a_trefoil_has():
    quiet = measure_image(drawn(1, noise=1e-3)).values
    assert abs(quiet["asymmetry"]) < 1e-4  # the noise is 5e-5 of the peak
    y, x = np.mgrid[:128, :128] - 63.5
    r = np.hypot(x, y)
    trefoil = 60 * np.exp(-r / 9) * (1 + 0.4 * np.cos(3 * np.arctan2(y, x)) * r / (r + 3))  # no shift makes it even
    expected = np.abs(trefoil - trefoil[::-1, ::-1]).sum() / trefoil.sum()
    measured = measure_image(trefoil + np.random.default_rng(4).normal(0, 0.01, x.shape)).values["asymmetry"]
    assert measured == pytest.approx(expected, rel=0.05)  # within 1.5 Petrosian radii, not everywhere


def test_noise_and_its_gain():
    image = drawn(1, bright=50)
    plain, photons = measure_image(image), measure_image(image, gain=0.5)
    assert photons.values["sn_per_pixel"] < 0.6 * plain.values["sn_per_pixel"]  # sqrt(1 + 50 / 0.5) and more of noise
    assert photons.values["sersic_chi2_dof"] < plain.values["sersic_chi2_dof"]


def test_two_calls_agree_to_the_last_bit_and_leave_the_random_state():
    before = np.random.get_state()[1].copy()
    one, two = measure_image(spiral()), measure_image(spiral())
    assert one.row() == two.row()
    assert np.array_equal(np.random.get_state()[1], before)


def test_neighbours_and_missing_pixels_are_left_out():
    image = drawn(1, bright=30)
    alone = measure_image(image)
    y, x = np.mgrid[:128, :128]
    crowded = image + 300 * np.exp(-((x - 100) ** 2 + (y - 90) ** 2) / 8)
    crowded[20:24, 60:100] = np.nan
    measured = measure_image(crowded)
    assert measured.segmentation.labels[90, 100] == NEIGHBOUR
    assert measured.segmentation.labels[64, 64] == GALAXY
    assert not measured.segmentation.labels[20:24, 60:100].any()
    for name in ("gini", "m20", "concentration", "sersic_n"):
        assert measured.values[name] == pytest.approx(alone.values[name], rel=0.05), name
    assert np.isfinite(measured.figure().axes[0].images[0].get_array()).all()


def test_arms_stay_with_their_galaxy():
    """Deblending alone cuts two bright knots on opposite sides off; they mirror each other."""
    y, x = np.mgrid[:128, :128] - 63.5
    knots = sum(40 * np.exp(-((x - s * 22) ** 2 + (y - s * 9) ** 2) / 18) for s in (-1, 1))
    image = 30 * np.exp(-np.hypot(x, y) / 10) + knots + np.random.default_rng(3).normal(0, 1, x.shape)
    labels = segment(image).labels
    for s in (-1, 1):
        assert labels[round(63.5 + s * 9), round(63.5 + s * 22)] == GALAXY


NOISE = np.random.default_rng(5).normal(0, 1, (64, 64))


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (NOISE, Reason.NO_SOURCE),
        (np.full((64, 64), 3.0), Reason.NO_SOURCE),
        (np.full((64, 64), np.nan), Reason.NO_COVERAGE),
        (drawn(1, side=40)[:20, :20], Reason.TOO_SMALL),
        (drawn(1, radius=6)[:, 62:], Reason.TRUNCATED_SOURCE),
        (np.zeros((2, 3, 64, 64)), Reason.WRONG_SHAPE),
        (np.zeros(64), Reason.WRONG_SHAPE),
    ],
    ids=["noise", "blank", "nan", "small", "cut off", "four axes", "one axis"],
)
def test_bad_images_have_reasons(pixels, reason):
    with pytest.raises(BadImage) as bad:
        measure_image(pixels)
    assert bad.value.reason == reason and bad.value.detail


def test_an_off_centre_galaxy_is_measured_where_it_is():
    values = measure_image(np.roll(drawn(1, radius=7), (18, -22), (0, 1))).values
    assert (values["x"], values["y"]) == pytest.approx((63.5 - 22, 63.5 + 18), abs=1)


def test_which_plane():
    flux = np.stack([drawn(1, seed=s) for s in range(3)]).astype(np.float32)
    assert chosen_plane(flux, "gri")[1] == "r" and np.array_equal(chosen_plane(flux, "gri")[0], flux[1])
    assert chosen_plane(flux, "gri", "i")[1] == "i"
    assert chosen_plane(flux, "giz")[1] == chosen_plane(flux, "gri", "sum")[1] == chosen_plane(flux)[1] == "sum"
    assert chosen_plane(flux[0])[1:] == ("band0", False)
    picture = np.full((3, 30, 30), 100, np.uint8)
    picture[0] = 200
    grey, name, stretched = chosen_plane(picture)
    assert (name, stretched, int(grey[0, 0])) == ("luminance", True, round(100 + 0.299 * 100))
    assert chosen_plane(picture, (), "red")[1:] == ("red", True)
    for pixels, band in ((flux, "u"), (flux, "luminance"), (picture, "sum")):
        with pytest.raises(BadImage, match="no band"):
            chosen_plane(pixels, (), band)
    with pytest.raises(BadImage, match="3 planes, but the bands g, r"):
        chosen_plane(flux, "gr")


@pytest.mark.parametrize("psf", [0, -1, np.nan, 1e3, np.ones((4, 4)), np.ones((3, 3, 3)), np.full((3, 3), np.nan)])
def test_a_psf_that_cannot_be_is_refused(psf):
    with pytest.raises(RecipeError, match="PSF"):
        psf_kernel(psf)


def test_a_psf_of_a_width():
    kernel = psf_kernel(4.0)
    middle = kernel[kernel.shape[0] // 2]
    assert kernel.sum() == pytest.approx(1) and middle[len(middle) // 2 + 2] == pytest.approx(
        middle.max() / 2, rel=1e-3
    )


def test_a_gain_that_cannot_be_is_refused():
    with pytest.raises(RecipeError, match="gain is -1"):
        measure_image(drawn(1), gain=-1)


def test_a_row_has_every_column_and_no_stand_in_numbers():
    measured = measure_image(np.clip(drawn(1, bright=30) * 4, 0, 255).astype(np.uint8))
    row = measured.row()
    assert list(row) == ["band", "stretched", "flag", "flag_sersic", "warnings", *COLUMNS]
    assert row["stretched"] is True and row["band"] == "grey" and -99.0 not in row.values()
    assert "a stretched picture" in str(measured) and "Sersic n" in str(measured)
    titles = [one.get_title(loc="left") for one in measured.figure().axes]
    assert titles[:4] == ["grey", "galaxy (blue), neighbours", "Sersic model", "less the model, in noises"]


def test_real_flux(real_data: Path):
    """SDSS r of IC 3478, a dwarf lenticular, against a face-on spiral of several arms."""
    lenticular, whirl = (
        measure_cutout(source.record(source.ids[0]).cutout())
        for source in (
            open_source(real_data / "fits" / f"{name}.fits") for name in ("sdss_r_ic3478", "statmorph_slice")
        )
    )
    assert lenticular.flag == whirl.flag == 0 and not lenticular.stretched
    assert lenticular.values["concentration"] > 3 > 2.5 > whirl.values["concentration"]
    assert lenticular.values["sersic_n"] > 1.5 > 1 > whirl.values["sersic_n"]


def test_an_overfilled_picture_keeps_its_whole_galaxy(real_data: Path):
    """PGC0000635, a barred spiral that fills its picture: with a sky of the whole picture, the bar alone was found."""
    source = open_source(real_data / "efigi" / "images")
    parts = segment(chosen_plane(source.record("PGC0000635").cutout().pixels)[0])
    assert 0.3 < (parts.labels == GALAXY).mean() < 0.8


def test_a_fit_that_describes_another_thing_is_warned_of(real_data: Path) -> None:
    """In hst_cut.fits the fit ends as it should (flag_sersic 0) on something broad beside the galaxy, 29 px away."""
    source = open_source(real_data / "fits" / "hst_cut.fits")
    found = measure_cutout(source.record(source.ids[0]).cutout())
    assert found.flag_sersic == 0
    told = "; ".join(found.warnings)
    assert "centre is 28.9 px from the galaxy's" in told and "3.5 times the radius" in told
