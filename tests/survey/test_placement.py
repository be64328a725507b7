"""Where an image lies: every lie of 1 arcsec or 1% is caught, no true header is, and cuts and turns keep the sky."""

import io
import math
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork.errors import BadImage, Reason
from tuningfork.survey.placement import check_placement, cut, headers, placement, upright
from tuningfork.survey.service import Request


def header_of(
    ra: float, dec: float, scale: float, side: int = 64, *, turn: float = 0.0, mirror: int = 1, crpix: float = 0.0
) -> fits.Header:
    step, angle = scale / 3600, math.radians(turn)
    header = fits.Header({"NAXIS": 2, "NAXIS1": side, "NAXIS2": side, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"})
    header["CRVAL1"], header["CRVAL2"] = ra, dec
    header["CRPIX1"] = header["CRPIX2"] = (side + 1) / 2 + crpix
    header["CD1_1"], header["CD1_2"] = -step * math.cos(angle) * mirror, step * math.sin(angle)
    header["CD2_1"], header["CD2_2"] = step * math.sin(angle) * mirror, step * math.cos(angle)
    return header


def reason_of(header: fits.Header, asked: Request, turn: float | None = 1.0) -> Reason | None:
    try:
        check_placement(placement(header), asked, turn)
    except BadImage as error:
        return error.reason
    return None


places = st.tuples(st.floats(0, 359.999), st.floats(-89.5, 89.5))
scales = st.floats(0.05, 20)


@settings(max_examples=80, deadline=None)
@given(places, scales, st.sampled_from([-0.5, 0.0, 0.5]))
def test_a_true_header_raises_no_alarm(place: tuple[float, float], scale: float, half: float) -> None:
    asked = Request("a", *place, 64 * scale, 64)
    assert reason_of(header_of(*place, scale, crpix=half), asked) is None


@settings(max_examples=80, deadline=None)
@given(places, st.floats(0.1, 1.4), st.floats(1.05, 100), st.floats(0, 360))
def test_a_shift_of_more_than_an_arcsec_is_caught(
    place: tuple[float, float], scale: float, shift: float, angle: float
) -> None:
    asked = Request("a", *place, 64 * scale, 64)
    dec = place[1] + shift * math.cos(math.radians(angle)) / 3600
    ra = place[0] + shift * math.sin(math.radians(angle)) / 3600 / math.cos(math.radians(place[1]))
    assert reason_of(header_of(ra % 360, dec, scale), asked, turn=None) is Reason.WRONG_POSITION


@settings(max_examples=40, deadline=None)
@given(places, st.floats(0.1, 20), st.sampled_from([0.011, -0.011, 0.5, 1.0, 3599.0, -0.9]))
def test_a_scale_off_by_more_than_a_percent_is_caught(place: tuple[float, float], scale: float, error: float) -> None:
    asked = Request("a", *place, 64 * scale, 64)
    wrong = scale * (1 + error)
    if wrong < 1800:
        assert reason_of(header_of(*place, wrong), asked) is Reason.WRONG_SCALE


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 359.9), st.floats(-89, 89), scales)
def test_swapped_coordinates_are_caught(ra: float, dec: float, scale: float) -> None:
    swapped = (dec % 360, max(-90.0, min(90.0, ra)))
    if abs(ra - dec) > 0.1:
        assert reason_of(header_of(*swapped, scale), Request("a", ra, dec, 64 * scale, 64)) is Reason.WRONG_POSITION


@pytest.mark.parametrize(("turn", "found"), [(0.9, None), (-0.9, None), (1.1, "x"), (90, "x"), (180, "x"), (-45, "x")])
def test_a_turned_image_is_caught_unless_any_turn_will_do(turn: float, found: str | None) -> None:
    asked = Request("a", 10.0, 20.0, 32.0, 64)
    header = header_of(10.0, 20.0, 0.5, turn=turn)
    assert reason_of(header, asked) is (Reason.WRONG_POSITION if found else None)
    assert reason_of(header, asked, turn=None) is None
    assert placement(header).turn == pytest.approx((turn + 180) % 360 - 180 or 0, abs=1e-6) or abs(turn) == 180


def test_a_mirrored_image_is_always_refused() -> None:
    asked = Request("a", 10.0, 20.0, 32.0, 64)
    header = header_of(10.0, 20.0, 0.5, mirror=-1)
    assert placement(header).mirrored
    assert reason_of(header, asked) is reason_of(header, asked, None) is Reason.WRONG_POSITION


@pytest.mark.parametrize("spoil", ["CTYPE1", "CRVAL2", "NAXIS1"])
def test_a_header_without_coordinates_says_so(spoil: str) -> None:
    header = header_of(10.0, 20.0, 0.5)
    del header[spoil]
    with pytest.raises(BadImage) as caught:
        placement(header)
    assert caught.value.reason is Reason.WRONG_POSITION


def test_galactic_coordinates_are_understood() -> None:
    header = header_of(0.0, 0.0, 0.5)
    header["CTYPE1"], header["CTYPE2"] = "GLON-TAN", "GLAT-TAN"
    place = placement(header)
    # l = b = 0 is 17h45m37.224s -28d56m10.23s (J2000), Reid & Brunthaler 2004, ApJ 616, 872
    assert place.ra == pytest.approx(266.40510, abs=3e-4) and place.dec == pytest.approx(-28.93618, abs=3e-4)


def test_distortion_without_sip_in_ctype_is_void() -> None:
    header = header_of(10.0, 20.0, 0.5)
    header["A_ORDER"], header["B_ORDER"], header["A_2_0"] = 2, 2, 1.0
    assert placement(header).scales == pytest.approx((0.5, 0.5), rel=1e-6)


def test_pixels_are_those_of_astropy_and_scales_those_of_its_matrix() -> None:
    header = header_of(150.0, 2.0, 0.4, turn=30)
    place, sky = placement(header), WCS(header)
    x, y = place.pixel(150.002, 2.003)
    assert (x, y) == pytest.approx(tuple(float(v) for v in sky.all_world2pix(150.002, 2.003, 0)), abs=1e-6)
    assert place.scales == pytest.approx((0.4, 0.4), rel=1e-6)
    assert math.isnan(place.pixel(330.0, -2.0)[0])  # behind the tangent plane


@pytest.mark.parametrize("mirror", [1, -1])
@pytest.mark.parametrize("turn", [0, 20, 90, 110, 180, -90, -100, -170])
def test_upright_puts_north_up_and_east_to_the_left(turn: float, mirror: int) -> None:
    place = placement(header_of(10.0, 20.0, 0.5, side=41, turn=turn, mirror=mirror))
    image = np.zeros((41, 41))
    for step, value in ((8 * 0.5 / 3600, 1.0), (0, 2.0)):  # a spot 8 px to the north, and one 8 px to the east
        ra = 10.0 if step else 10.0 + 8 * 0.5 / 3600 / math.cos(math.radians(20))
        x, y = place.pixel(ra, 20.0 + step)
        image[round(y), round(x)] = value
    turned = upright(image, place)
    north, east = (
        np.argwhere(turned == 1.0)[0] - 20,
        np.argwhere(turned == 2.0)[0] - 20,
    )  # (row, column) from the middle
    assert north[0] >= abs(north[1]) > -1 and -east[1] >= abs(east[0])
    assert np.array_equal(np.sort(image.ravel()), np.sort(turned.ravel()))


@pytest.mark.parametrize("side", [8, 9])
def test_a_cut_keeps_pixels_and_holds_its_position_to_half_a_pixel(side: int) -> None:
    plane = np.arange(60 * 50, dtype=np.float32).reshape(60, 50)
    header = header_of(10.0, 20.0, 0.5)
    place = placement(header, (60, 50))
    for x, y in ((20.0, 30.0), (20.4, 30.4), (24.6, 12.3)):
        ra, dec = (float(v) for v in place.sky.all_pix2world(x, y, 0))
        square = cut(plane, place, ra, dec, side)
        value = square[0, 0]
        left, low = value % 50, value // 50
        assert np.array_equal(square, plane[int(low) : int(low) + side, int(left) : int(left) + side])
        assert abs(left + (side - 1) / 2 - x) <= 0.5001 and abs(low + (side - 1) / 2 - y) <= 0.5001


def test_a_cut_over_the_edge_has_nan_there_and_off_it_there_is_nothing() -> None:
    plane = np.ones((60, 50), np.float32)
    place = placement(header_of(10.0, 20.0, 0.5), (60, 50))
    corner = tuple(float(v) for v in place.sky.all_pix2world(0, 0, 0))
    square = cut(plane, place, *corner, 9)
    assert np.isnan(square[:4]).all() and np.isnan(square[:, :4]).all() and (square[4:, 4:] == 1).all()
    with pytest.raises(BadImage) as caught:
        cut(plane, place, 10.1, 20.0, 9)
    assert caught.value.reason is Reason.NO_COVERAGE


def test_headers_of_what_is_no_fits_are_a_bad_image() -> None:
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((4, 4)), header_of(1, 2, 0.5, 4))]).writeto(stream)
    found = headers(stream.getvalue())
    assert len(found) == 2 and found[1]["CRVAL2"] == 2
    for data in (b"", b"<html>", stream.getvalue()[:3000]):
        with pytest.raises(BadImage):
            headers(data or b"SIMPLE")


def test_a_real_frame_of_sdss_lies_where_its_own_header_says(real_data: Any) -> None:
    data = (real_data / "fits" / "sdss_r_ic3478.fits").read_bytes()
    place = placement(headers(data)[0])
    assert place.scales == pytest.approx((0.396, 0.396), rel=2e-3) and not place.mirrored
    assert place.turn == pytest.approx(90, abs=2)  # the columns of an SDSS frame run east
    # IC 3478: 12h32m44.22s +14d11m46.2s (NED); the picture is centred on it to a few arcsec
    assert (place.ra, place.dec) == pytest.approx((188.1842, 14.1962), abs=5e-3)
