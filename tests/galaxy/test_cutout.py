"""Records keep pixels exactly (arrays) or nearly (JPEG), and decode to cutouts that know their scale."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tuningfork.errors import BadImage, Reason
from tuningfork.galaxy.cutout import COLOUR, GREY, Cutout, Record, Rejected


def ramp(height: int = 32, width: int = 40) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([3 * x + y, 2 * y + 40, 200 - 2 * x - y], axis=2).clip(0, 255).astype(np.uint8)


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(8, 12), st.integers(8, 12)),
        elements=st.floats(-1e6, 1e6, width=32) | st.just(float("nan")),
    )
)
def test_arrays_come_back_bit_by_bit(pixels: np.ndarray) -> None:
    bands = tuple("griz"[: len(pixels)])
    record = Record.from_pixels("a", pixels, bands, 0.262, 10.0, -20.0)
    assert record.format == "npy" and record.size() == pixels.shape[1:]
    try:
        cutout = record.cutout()
    except BadImage as error:
        assert error.reason in (Reason.NO_COVERAGE, Reason.NO_SIGNAL, Reason.SATURATED)
        return
    np.testing.assert_array_equal(cutout.pixels, pixels)
    assert (cutout.bands, cutout.pixel_scale, cutout.ra, cutout.dec) == (bands, 0.262, 10.0, -20.0)
    assert not cutout.is_picture


def test_uint8_arrays_stay_pictures() -> None:
    pixels = np.moveaxis(ramp(), 2, 0)  # not contiguous, as a caller may have it
    cutout = Record.from_pixels("a", pixels, COLOUR).cutout()
    assert cutout.is_picture and cutout.pixels.dtype == np.uint8
    np.testing.assert_array_equal(cutout.pixels, pixels)


def test_other_dtypes_become_float32() -> None:
    cutout = Record.from_pixels("a", np.arange(128, dtype=np.int64).reshape(1, 8, 16), ("r",)).cutout()
    assert cutout.pixels.dtype == np.float32 and cutout.pixels[0, 7, 15] == 127


def test_a_picture_comes_back_nearly() -> None:
    rgb = ramp()
    cutout = Record.from_picture("a", rgb, 0.4, source="here").cutout()
    assert (cutout.bands, cutout.pixel_scale, cutout.shrink) == (COLOUR, 0.4, 1.0)
    # Quality 95 quantises the lowest coefficients by 2 or less: smooth ramps change by a few grey levels.
    assert np.abs(np.moveaxis(cutout.pixels, 0, 2).astype(int) - rgb).max() <= 6


@pytest.mark.parametrize(
    ("size", "allowed", "done"),
    [
        ((32, 40), 1.9, 1),
        ((32, 40), 2.0, 2),
        ((32, 40), 4.0, 4),
        ((32, 40), 100.0, 4),  # 8 would leave 4 px
        ((64, 128), 100.0, 8),
        ((36, 44), 8.0, 4),
        ((33, 40), 8.0, 1),  # 33 is odd: the centre would shift
        ((34, 40), 8.0, 2),
    ],
)
def test_a_jpeg_shrinks_at_most_as_allowed_and_says_so(size: tuple[int, int], allowed: float, done: int) -> None:
    cutout = Record.from_picture("a", ramp(*size), 0.5).cutout(shrink=allowed)
    assert cutout.shrink == done
    assert cutout.pixels.shape == (3, size[0] // done, size[1] // done)
    assert cutout.pixel_scale == 0.5 * done


def test_shrinking_is_an_area_average_on_smooth_pictures() -> None:
    rgb = ramp(64, 48)[..., ::-1]
    full = Record.from_picture("a", rgb, quality=100).cutout().pixels.astype(float)
    half = Record.from_picture("a", rgb, quality=100).cutout(2).pixels
    mean = full.reshape(3, 32, 2, 24, 2).mean(axis=(2, 4))
    assert np.abs(mean - half).max() <= 3  # both are rounded, twice, through YCbCr


def test_arrays_do_not_shrink() -> None:
    cutout = Record.from_pixels("a", np.moveaxis(ramp(), 2, 0), COLOUR, 0.5).cutout(shrink=4)
    assert (cutout.shrink, cutout.pixel_scale) == (1.0, 0.5)


def test_what_the_source_knows_wins() -> None:
    data = Record.from_pixels("a", np.arange(64.0).reshape(1, 8, 8), ("r",)).data
    cutout = Record("b", data, "npy", ("i",), 0.2, 1.0, 2.0).cutout()
    assert (cutout.id, cutout.bands, cutout.pixel_scale, cutout.ra, cutout.dec) == ("b", ("i",), 0.2, 1.0, 2.0)


def test_wrong_arguments_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"\(bands, height, width\)"):
        Record.from_pixels("a", np.zeros((2, 9, 9), np.float32), ("r",))
    with pytest.raises(ValueError, match="a picture is uint8"):
        Record.from_picture("a", np.zeros((9, 9), np.uint8))


def test_broken_bytes_raise_bad_image_from_both_doors() -> None:
    record = Record("a", b"<html>", "jpeg")
    for act in (record.cutout, record.size):
        with pytest.raises(BadImage) as caught:
            act()
        assert caught.value.reason is Reason.NOT_AN_IMAGE


def test_one_grey_band_is_a_picture() -> None:
    cutout = Cutout("a", np.zeros((1, 9, 9), np.uint8), GREY)
    assert cutout.is_picture
    assert Rejected("a", Reason.EMPTY) == Rejected("a", Reason.EMPTY, "", "")
