"""Every format gives the pixels that were written; every unusable image gives its reason."""

import bz2
import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image as Pillow

from tuningfork.errors import BadImage, Reason
from tuningfork.galaxy.decode import COLOUR, GREY, Image, check, decode, image_size


def picture(height: int = 20, width: int = 26, seed: int = 0) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([5 * x + 3 * y, 4 * y + 60, 240 - 5 * x], axis=2)
    return (smooth + np.random.default_rng(seed).integers(0, 3, smooth.shape)).clip(0, 255).astype(np.uint8)


def saved(array: np.ndarray, kind: str, mode: str = "", **options: Any) -> bytes:
    stream = io.BytesIO()
    made = Pillow.fromarray(array)
    (made.convert(mode) if mode else made).save(stream, kind, **options)
    return stream.getvalue()


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=False)
    return stream.getvalue()


def hwc(image: Image) -> np.ndarray:
    return np.moveaxis(image.pixels, 0, 2)


def reason_of(data: bytes, **choices: Any) -> Reason:
    with pytest.raises(BadImage) as caught:
        decode(data, **choices)
    return caught.value.reason


LOSSLESS = {
    "png": {},
    "tiff": {},
    "tiff lzw": {"compression": "tiff_lzw"},
    "tiff deflate": {"compression": "tiff_deflate"},
    "webp": {"lossless": True},
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_pictures_come_back_exactly(name: str) -> None:
    rgb = picture()
    image = decode(saved(rgb, name.split()[0].upper(), **LOSSLESS[name]))
    assert image.bands == COLOUR and image.pixels.dtype == np.uint8
    np.testing.assert_array_equal(hwc(image), rgb)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 2}])
def test_jpeg_is_what_pillow_decodes(options: dict[str, Any]) -> None:
    data = saved(picture(40, 56), "JPEG", **options)
    with Pillow.open(io.BytesIO(data)) as opened:
        rival = np.asarray(opened)
    # Two builds of libjpeg-turbo may round the colour conversion differently by one.
    assert np.abs(hwc(decode(data)).astype(int) - rival).max() <= 1


def test_cmyk_jpeg_becomes_colour() -> None:
    image = decode(saved(picture(40, 56), "JPEG", "CMYK", quality=95))
    assert image.bands == COLOUR
    assert np.abs(hwc(image).astype(int) - picture(40, 56)).mean() < 4  # lossy, but neither inverted nor swapped


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_grey_has_one_band_and_grey_stored_as_colour_stays_colour(kind: str) -> None:
    grey = picture()[..., 0]
    image = decode(saved(grey, kind))
    assert image.bands == GREY and image.pixels.shape == (1, 20, 26)
    assert decode(saved(np.dstack([grey] * 3), kind)).bands == COLOUR


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA", "1"])
def test_other_modes_lose_their_alpha_and_palette(mode: str) -> None:
    image = decode(saved(picture(), "PNG", mode))
    assert image.bands == (COLOUR if mode in ("RGBA", "P") else GREY) and image.pixels.dtype == np.uint8
    if mode == "RGBA":
        np.testing.assert_array_equal(hwc(image), picture())


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_16_bits_is_flux(kind: str) -> None:
    deep = (np.arange(400).reshape(20, 20) * 150).astype(np.uint16)
    image = decode(saved(deep, kind))
    assert image.pixels.dtype == np.float32 and image.bands == GREY
    np.testing.assert_array_equal(image.pixels[0], deep)


def test_tiff_of_floats_is_flux() -> None:
    flux = np.linspace(-1, 1, 400, dtype=np.float32).reshape(20, 20)
    np.testing.assert_array_equal(decode(saved(flux, "TIFF")).pixels[0], flux)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_several_pages_are_the_wrong_shape(kind: str) -> None:
    stream = io.BytesIO()
    pages = [Pillow.fromarray(picture(seed=seed)) for seed in (1, 2)]
    pages[0].save(
        stream, kind, save_all=True, append_images=pages[1:], **({"lossless": True} if kind == "WEBP" else {})
    )
    assert reason_of(stream.getvalue()) is Reason.WRONG_SHAPE


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_compressed_bytes_are_inflated_whatever_they_hold(pack: Any) -> None:
    for data in (saved(picture(), "PNG"), npy(np.arange(64.0).reshape(8, 8)), saved(picture(), "JPEG")):
        np.testing.assert_array_equal(decode(pack(data)).pixels, decode(data).pixels)
    data = saved(picture(), "PNG")
    np.testing.assert_array_equal(decode(pack(data[:99]) + pack(data[99:]) + bytes(7)).pixels, decode(data).pixels)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">i2", "<u2", "<i8", "?", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_every_number_become_float32(dtype: str, order: str) -> None:
    array = (np.arange(3 * 9 * 10).reshape(3, 9, 10) % 97 // 2 * (np.arange(10) % 2)).astype(dtype, order=order)
    image = decode(npy(array))
    assert image.pixels.dtype == np.dtype("=f4") and image.bands == ("band0", "band1", "band2")
    np.testing.assert_array_equal(image.pixels, array.astype(np.float32))


def test_shapes_of_arrays() -> None:
    flux = np.random.default_rng(0).normal(size=(24, 30, 5)).astype(np.float32)
    assert decode(npy(flux[:, :, 0].copy())).pixels.shape == (1, 24, 30)
    np.testing.assert_array_equal(decode(npy(flux)).pixels, np.moveaxis(flux, 2, 0))
    assert image_size(npy(flux)) == (24, 30)
    assert image_size(npy(np.moveaxis(flux, 2, 0).copy())) == (24, 30)
    assert decode(npy(picture(24, 30))).bands == COLOUR
    for shape in ((64,), (2, 2, 8, 8), (24, 30, 40), (0, 8, 8)):
        assert reason_of(npy(np.random.default_rng(0).normal(size=shape))) is Reason.WRONG_SHAPE


def test_infinities_become_missing() -> None:
    flux = np.arange(100, dtype=np.float32).reshape(1, 10, 10)
    flux[0, 0, :3] = np.inf, -np.inf, np.nan
    pixels = decode(npy(flux)).pixels
    assert np.isnan(pixels[0, 0, :3]).all() and np.isfinite(pixels).sum() == 97
    large = decode(npy(flux.astype(np.float64) * 1e37)).pixels  # float32 ends at 3.4e38
    assert np.isnan(large).sum() == np.isnan(pixels).sum() + (pixels > 34).sum()


GRIZ = np.random.default_rng(1).normal(size=(3, 12, 12)).astype(np.float32)


def fits_cube(bands: str = "grz") -> bytes:
    header = fits.Header([("BANDS", bands)] if bands else [])
    stream = io.BytesIO()
    fits.PrimaryHDU(GRIZ, header).writeto(stream)
    return stream.getvalue()


def test_bands_are_told_chosen_or_laid_on() -> None:
    assert decode(fits_cube()).bands == ("g", "r", "z")
    assert decode(fits_cube("")).bands == ("band0", "band1", "band2")
    chosen = decode(fits_cube(), bands=("z", "g"))
    assert chosen.bands == ("z", "g")
    np.testing.assert_array_equal(chosen.pixels, GRIZ[[2, 0]])
    laid = decode(fits_cube(), bands=("u", "g", "r"))
    assert laid.bands == ("u", "g", "r")
    np.testing.assert_array_equal(laid.pixels, GRIZ)
    assert reason_of(fits_cube(), bands=("u", "g", "r", "i")) is Reason.MISSING_BAND
    assert reason_of(fits_cube(), bands=("u", "g")) is Reason.WRONG_SHAPE
    assert reason_of(saved(picture()[..., 0], "JPEG"), bands=COLOUR) is Reason.MISSING_BAND


def test_bands_in_separate_hdus_are_put_together() -> None:
    hdus = [fits.PrimaryHDU(), *[fits.ImageHDU(plane, name=name) for plane, name in zip(GRIZ, "GRZ", strict=True)]]
    stream = io.BytesIO()
    fits.HDUList(hdus).writeto(stream)
    image = decode(stream.getvalue(), bands=("Z", "G", "R"))
    np.testing.assert_array_equal(image.pixels, GRIZ[[2, 0, 1]])
    assert decode(stream.getvalue()).pixels.shape == (1, 12, 12)
    assert reason_of(stream.getvalue(), bands=("G", "Y")) is Reason.MISSING_BAND


def float_cases() -> dict[str, tuple[np.ndarray, Reason]]:
    ramp = np.arange(200.0, dtype=np.float32).reshape(2, 10, 10)
    holes, spot, per_band, gappy = ramp * np.nan, ramp * 0 + 7, ramp * 0, ramp * 0 + 3
    spot[0, 0, :5] = 1
    per_band[1] = 9
    gappy[:, 2] = np.nan
    return {
        "all NaN": (holes, Reason.NO_COVERAGE),
        "constant": (ramp * 0 + 3, Reason.NO_SIGNAL),
        "constant where it is finite": (gappy, Reason.NO_SIGNAL),
        "constant in each band": (per_band, Reason.NO_SIGNAL),
        "saturated": (spot, Reason.SATURATED),
        "narrow": (ramp[:, :, :7], Reason.TOO_SMALL),
        "flat": (ramp[:, :7], Reason.TOO_SMALL),
    }


@pytest.mark.parametrize("name", float_cases())
def test_useless_flux_has_its_reason(name: str) -> None:
    pixels, reason = float_cases()[name]
    with pytest.raises(BadImage) as caught:
        check(pixels)
    assert caught.value.reason is reason
    assert reason_of(npy(pixels)) is reason


@pytest.mark.parametrize(("value", "reason"), [(0, Reason.NO_SIGNAL), (255, Reason.NO_SIGNAL)])
def test_useless_pictures_have_their_reason(value: int, reason: Reason) -> None:
    blank = np.full((20, 20, 3), value, np.uint8)
    assert reason_of(saved(blank, "PNG")) is reason
    blank[0] = 255 - value  # 20 of 400 pixels differ: just not more than 95% alike
    decode(saved(blank, "PNG"))
    blank[0, 3] = value
    if value == 255:
        assert reason_of(saved(blank, "PNG")) is Reason.SATURATED
    assert reason_of(saved(picture(7, 40), "PNG")) is Reason.TOO_SMALL


def test_one_dead_band_among_good_ones_passes() -> None:
    pixels = np.arange(200.0, dtype=np.float32).reshape(2, 10, 10)
    pixels[1] = np.nan
    check(pixels)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_size_needs_no_decoding(kind: str) -> None:
    assert image_size(saved(picture(20, 26), kind)) == (20, 26)


def test_a_long_message_is_cut() -> None:
    with pytest.raises(BadImage) as caught:
        decode(b"<html>" + b"x" * 5000)
    assert len(caught.value.detail) <= 200


@pytest.mark.parametrize("folder", ["efigi", "gz1", "gz2_stripe82", "gz_examples", "kaggle", "spacewarps"])
def test_real_pictures_decode(real_data: Path, folder: str) -> None:
    files = sorted((real_data / folder).rglob("*.jpg"))[::40][:40]
    assert files
    for file in files:
        data = file.read_bytes()
        image = decode(data)
        assert image.bands == COLOUR and image.pixels.shape[1:] == image_size(data)
