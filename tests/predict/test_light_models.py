"""Models of light: FITS of any bands is answered, upright, and pictures go to the models that know them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.io import fits
from PIL import Image

from tuningfork.galaxy.light import LIGHT
from tuningfork.galaxy.tablefile import read_table
from tuningfork.model import export, weights
from tuningfork.model.card import Card
from tuningfork.model.head import make_head
from tuningfork.model.net import GalaxyNet
from tuningfork.predict.classify import classify
from tuningfork.predict.predict import predict

from .sketches import HEADS, SIDE, make_set, picture

NAMES = ("flat", "round", "torn")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models of colour pictures."""
    return make_set(tmp_path_factory.mktemp("models") / "set")


@pytest.fixture(scope="module")
def flux_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of light with random weights."""
    out = tmp_path_factory.mktemp("models") / "flux"
    display = {"size": SIDE, "bands": list(LIGHT), "petrosian": 3.0, "stretch": "asinh", "low": 20.0}
    card = Card("flux", LIGHT, display, "classes", NAMES, "s1", mean=(0.2,), std=(0.2,))
    torch.manual_seed(3)
    net = GalaxyNet("s1", make_head("classes", NAMES), LIGHT, SIDE, mean=card.mean, std=card.std).eval()
    torch.nn.init.normal_(net.last.weight, std=0.3)
    weights.save(net, card, out, np.random.default_rng(0).integers(0, 256, (2, 1, SIDE, SIDE), dtype=np.uint8))
    export.export_onnx(out)
    return out


def flux(bands: int) -> np.ndarray:
    """A galaxy's flux in so many bands alike but for their noise, (bands, 90, 80), float32."""
    shown = picture(100, 1.1, x=-6, y=11).astype(np.float32).mean(axis=2)[5:95, 10:90] / 50
    noise = np.random.default_rng(bands).normal(0, 0.01, (bands, *shown.shape))
    return (shown + noise).astype(np.float32)


def write(path: Path, planes: np.ndarray, bands: str = "") -> Path:
    hdu = fits.PrimaryHDU(planes)
    if bands:
        hdu.header["BANDS"] = bands
    hdu.writeto(path)
    return path


def test_flux_of_any_bands_has_an_answer(flux_model: Path, tmp_path: Path) -> None:
    files = {
        "a_unnamed": write(tmp_path / "a_unnamed.fits", flux(1)[0]),
        "b_r": write(tmp_path / "b_r.fits", flux(1)[0], "r"),
        "c_two": write(tmp_path / "c_two.fits", flux(2), "rz"),
        "d_five": write(tmp_path / "d_five.fits", flux(5), "grizY"),
        "e_other_five": write(tmp_path / "e_other_five.fits", flux(5), "ugriz"),
        "f_planes": write(tmp_path / "f_planes.fits", flux(5)),
    }
    done = classify(list(files.values()), flux_model)
    assert [one.id for one in done.galaxies] == [*files] and not done.n_rejected
    first, *others = (np.array(list(one.answers["flux"].values())) for one in done.galaxies)
    for one in others:  # the same galaxy; the noise differs
        np.testing.assert_allclose(one, first, atol=0.05)
    np.testing.assert_array_equal(others[2], others[3])  # names do not matter
    assert "1 of 6 galaxies: the models of flux saw the sum of g, r, i, z, Y" in done.notes
    six = classify(write(tmp_path / "six.fits", flux(6)), flux_model)
    assert six.galaxies[0].reason == "missing_band" and "6 planes without names" in six.galaxies[0].detail


def test_predict_and_classify_show_fits_alike(flux_model: Path, tmp_path: Path) -> None:
    """An inclined disc with arms, which turned upside down has other answers."""
    folder = tmp_path / "sky"
    folder.mkdir()
    write(folder / "r.fits", flux(1)[0])
    write(folder / "turned.fits", flux(1)[0, ::-1])
    upright, turned = classify(folder, flux_model).galaxies
    values = [list(one.answers["flux"].values()) for one in (upright, turned)]
    assert np.abs(np.subtract(*values)).max() > 1e-3
    predict(folder, flux_model, tmp_path / "votes.parquet")
    votes = read_table(tmp_path / "votes.parquet")
    np.testing.assert_allclose(np.stack([votes.column(f"p_{name}") for name in NAMES], 1), values, rtol=1e-4, atol=1e-6)


def test_each_picture_goes_to_the_models_that_know_it(models: Path, flux_model: Path, tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a_colour.png")
    Image.fromarray(picture().mean(axis=2).astype(np.uint8)).save(tmp_path / "b_grey.png")
    write(tmp_path / "c_single.fits", flux(1)[0], "r")
    write(tmp_path / "d_cube.fits", flux(5), "grizY")
    done = classify(tmp_path, [models, flux_model], portraits=4)
    assert [{*one.answers} for one in done.galaxies] == [{*HEADS}, {"flux"}, {"flux"}, {*HEADS, "flux"}]
    assert len(done.portraits) == 4 and any("grey pictures were taken for flux" in note for note in done.notes)
    alone = classify(tmp_path / "a_colour.png", flux_model).galaxies[0]
    assert alone.reason == "missing_band" and "choose a model of pictures like this one" in alone.detail
