"""From scene to counts: what is seen of arcs, and that no choice of what is drawn changes the rest."""

import numpy as np
import pytest

from tuningfork.simulate.cfhtls import CFHTLS
from tuningfork.simulate.exposure import brightened, expose, visibility, weather
from tuningfork.simulate.scene import draw_scene

pytest.importorskip("galsim")
pytest.importorskip("lenstronomy")
BANDS, SIZE = ("g", "r", "i"), 97
LENSES = [draw_scene(0, index, CFHTLS, 1.0) for index in range(12)]


def test_visibility_by_hand() -> None:
    """Four pixels of 10 counts over a sky of 1.32: 40 / sqrt(4 (1.32^2 + 10 / 31))."""
    arcs = np.zeros((1, 5, 5), np.float32)
    arcs[0, 1:3, 1:3] = 10
    arcs[0, 4, 4] = 1.0  # below one deviation: not counted
    front = np.zeros_like(arcs)
    assert visibility(arcs, front, ("g",), CFHTLS) == (pytest.approx(40 / np.sqrt(4 * (1.32**2 + 10 / 31))), 4)
    front[:] = 100.0
    expected = 40 / np.sqrt(4 * (1.32**2 + 110 / 31 + 10**2))
    assert visibility(arcs, front, ("g",), CFHTLS) == (pytest.approx(expected), 4)
    assert visibility(0 * arcs, front, ("g",), CFHTLS) == (0.0, 0)


def test_every_lens_is_visible() -> None:
    for scene in LENSES:
        seen = expose(scene, BANDS, CFHTLS, SIZE, snr=60.0)
        assert seen.snr >= 60 and seen.arc_pixels > 20
        assert seen.background is not None and scene.background is not None
        assert seen.background.magnitude <= scene.background.magnitude
        again = expose(scene, BANDS, CFHTLS, SIZE, snr=0.0)
        assert again.background == scene.background and again.magnification == seen.magnification


def test_arcs_are_what_a_lens_adds() -> None:
    """Without noise the stamp is galaxies plus arcs: arcs fainter by a magnitude take exactly their share away."""
    scene = LENSES[0]
    assert scene.background is not None
    whole = expose(scene, BANDS, CFHTLS, SIZE, snr=0.0, noise=False)
    dim = type(scene)(**{**vars(scene), "background": brightened(scene.background, 0.5)})
    half = expose(dim, BANDS, CFHTLS, SIZE, snr=0.0, noise=False)
    np.testing.assert_allclose(whole.flux - half.flux, 0.5 * whole.arcs, atol=1e-4 * whole.flux.max())
    assert whole.arcs.sum() > 100


def test_arc_flux_is_magnified_source_flux() -> None:
    for scene in LENSES[:6]:
        if scene.background is None or scene.flavor != "lensed galaxy":
            continue
        seen = expose(scene, ("r",), CFHTLS, 161, snr=0.0)
        expected = seen.magnification * 10 ** (0.4 * (30.0 - scene.background.magnitude))
        assert seen.arcs.sum() == pytest.approx(expected, rel=0.02)  # a Moffat's wings leave the stamp


def test_bands_do_not_change_each_other() -> None:
    for scene in (LENSES[1], draw_scene(0, 1, CFHTLS, 0.0)):
        three, two = expose(scene, BANDS, CFHTLS, SIZE), expose(scene, ("z", "g"), CFHTLS, SIZE)
        np.testing.assert_array_equal(three.flux[0], two.flux[1])
        assert (three.snr, three.background) == (two.snr, two.background)


def test_look_alikes_have_no_arcs() -> None:
    seen = expose(draw_scene(0, 2, CFHTLS, 0.0), BANDS, CFHTLS, SIZE)
    assert not seen.arcs.any() and seen.background is None and (seen.snr, seen.arc_pixels) == (0.0, 0)
    assert seen.flux.dtype == np.float32 and np.isfinite(seen.flux).all()


def test_noise_is_that_of_the_survey() -> None:
    scene = draw_scene(0, 3, CFHTLS, 0.0)
    bare = expose(scene, BANDS, CFHTLS, SIZE, noise=False, neighbours=False).flux
    noisy = expose(scene, BANDS, CFHTLS, SIZE, neighbours=False).flux
    for number, band in enumerate(BANDS):
        empty = bare[number] < 0.1 * CFHTLS.noise[band]
        assert np.std((noisy - bare)[number][empty]) == pytest.approx(CFHTLS.noise[band], rel=0.06)


def test_seeing_scatters_about_the_surveys() -> None:
    seen = [weather(0, index, CFHTLS).psf_fwhm["r"] for index in range(200)]
    assert np.median(seen) == pytest.approx(CFHTLS.psf_fwhm["r"], rel=0.03) and 0.04 < np.std(np.log(seen)) < 0.15


def test_painting_changes_nothing_but_the_arcs() -> None:
    backdrop = np.random.default_rng(0).normal(0, 3, (3, SIZE, SIZE)).astype(np.float32)
    lens = draw_scene(2, 1, CFHTLS, 1.0, painted=True)
    seen = expose(lens, BANDS, CFHTLS, SIZE, backdrop=backdrop)
    far = seen.arcs.max(0) < 1e-3
    assert far.any() and seen.snr >= 25
    np.testing.assert_allclose(seen.flux[:, far], backdrop[:, far], atol=0.05)
    plain = expose(draw_scene(2, 1, CFHTLS, 0.0, painted=True), BANDS, CFHTLS, SIZE, backdrop=backdrop)
    np.testing.assert_array_equal(plain.flux, backdrop)
