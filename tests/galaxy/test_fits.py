"""FITS of every shape: arrays exact, bands and scale as the headers tell them, anything else passed by or refused."""

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits

from tuningfork.errors import BadImage, Reason
from tuningfork.galaxy.decode import decode, image_size
from tuningfork.galaxy.fits import image_shape, read_planes, told_bands

FLUX = np.random.default_rng(3).normal(100, 10, (4, 14, 17))


def written(*hdus: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(stream, **options)
    return stream.getvalue()


def tan(scale: float = 0.4, angle: float = 0.0, **cards: Any) -> fits.Header:
    """A tangential header of ``scale`` arcsec, turned by ``angle`` degrees, centred on (150, 2) at pixel (9, 7.5)."""
    c, s = np.cos(np.radians(angle)) * scale / 3600, np.sin(np.radians(angle)) * scale / 3600
    header = fits.Header()
    header.update(CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CRVAL1=150.0, CRVAL2=2.0, CRPIX1=9.0, CRPIX2=7.5)
    header.update(CD1_1=-c, CD1_2=s, CD2_1=s, CD2_2=c)
    header.update(cards)
    return header


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i2", ">i4", ">i8", "u1", ">u2"])
def test_every_number_format_is_exact(dtype: str) -> None:
    array = FLUX.astype(dtype)
    (plane,) = read_planes(written(fits.PrimaryHDU(array)))
    assert plane.pixels.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(plane.pixels, array.astype(np.float32))


def test_scaled_integers_with_blanks() -> None:
    hdu = fits.PrimaryHDU(np.arange(238, dtype=np.int16).reshape(14, 17))
    data = bytearray(written(hdu))
    cards = {"BSCALE": "0.5", "BZERO": "-3.0", "BLANK": "7"}
    text = "".join(f"{key:8}= {value:>20}".ljust(80) for key, value in cards.items()).encode() + b"END".ljust(80)
    end = data.index(b"END" + b" " * 77)
    data[end : end + len(text)] = text
    (plane,) = read_planes(bytes(data))
    expected = np.arange(238).reshape(14, 17) * 0.5 - 3
    expected[0, 7] = np.nan
    np.testing.assert_array_equal(plane.pixels, expected)


def test_nan_and_infinity_are_missing() -> None:
    array = FLUX[0].astype(np.float32)
    array[0, :3] = np.nan, np.inf, -np.inf
    pixels = read_planes(written(fits.PrimaryHDU(array)))[0].pixels
    assert np.isnan(pixels[0, :3]).all() and np.isfinite(pixels).sum() == array.size - 3
    huge = np.where(np.arange(17) == 4, 1e300, FLUX[0])
    assert np.isnan(read_planes(written(fits.PrimaryHDU(huge)))[0].pixels[:, 4]).all()


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2"])
@pytest.mark.parametrize("shape", [(14, 17), (4, 14, 17)])
def test_tile_compressed_integers_are_exact(kind: str, shape: tuple[int, ...]) -> None:
    array = FLUX.reshape(-1)[: np.prod(shape)].reshape(shape).astype(np.int32)
    data = written(fits.PrimaryHDU(), fits.CompImageHDU(array, compression_type=kind))
    (plane,) = read_planes(data)
    np.testing.assert_array_equal(plane.pixels, array)
    assert image_shape(data) == shape and image_size(data) == (14, 17)


def test_tile_compressed_floats_without_loss() -> None:
    array = FLUX[0].astype(np.float32)
    hdu = fits.CompImageHDU(array, compression_type="GZIP_2", quantize_level=0.0)
    np.testing.assert_array_equal(read_planes(written(fits.PrimaryHDU(), hdu))[0].pixels, array)


def test_every_image_is_found_and_tables_are_passed_by() -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("id", "K", array=np.arange(3))])
    data = written(
        fits.PrimaryHDU(), fits.ImageHDU(FLUX[0], name="SCI"), table, fits.ImageHDU(), fits.ImageHDU(FLUX, name="CUBE")
    )
    planes = read_planes(data)
    assert [(p.name, p.index, p.pixels.shape) for p in planes] == [("SCI", 1, (14, 17)), ("CUBE", 4, (4, 14, 17))]
    assert len(read_planes(data, first=True)) == 1
    assert len(read_planes(gzip.compress(data))) == 2


def test_axes_of_length_one_are_dropped() -> None:
    for shape in ((1, 14, 17), (1, 1, 14, 17)):
        assert read_planes(written(fits.PrimaryHDU(FLUX[0].reshape(shape))))[0].pixels.shape == (14, 17)
    assert read_planes(written(fits.PrimaryHDU(FLUX.reshape(1, 4, 14, 17))))[0].pixels.shape == (4, 14, 17)


@pytest.mark.parametrize("shape", [(20,), (2, 3, 14, 17)])
def test_other_shapes_are_wrong(shape: tuple[int, ...]) -> None:
    data = written(fits.PrimaryHDU(np.random.default_rng(0).normal(size=shape)))
    for read in (read_planes, image_shape):
        with pytest.raises(BadImage) as caught:
            read(data)
        assert caught.value.reason is Reason.WRONG_SHAPE


def test_a_file_without_images_is_the_wrong_shape() -> None:
    with pytest.raises(BadImage, match="no image"):
        read_planes(written(fits.PrimaryHDU()))


def test_planes_too_many_for_bands_are_a_stack() -> None:
    data = written(fits.PrimaryHDU(np.random.default_rng(0).normal(size=(46, 9, 9))))
    assert read_planes(data)[0].pixels.shape == (46, 9, 9)
    with pytest.raises(BadImage, match="stack of galaxies"):
        decode(data)
    assert decode(data, bands=tuple(f"f{i}" for i in range(46))).pixels.shape == (46, 9, 9)


BANDS = [
    ({"BANDS": "grz"}, {}, 3, ("g", "r", "z")),
    ({"BANDS": "deg,g,r,i,z"}, {}, 5, ("deg", "g", "r", "i", "z")),
    ({"BANDS": "g r"}, {}, 2, ("g", "r")),
    ({"BANDS": "grz"}, {}, 4, ()),
    ({"BANDS": "ggg"}, {}, 3, ()),
    ({}, {"BANDS": "grz"}, 3, ("g", "r", "z")),
    ({"BAND0": "g", "BAND1": "r"}, {}, 2, ("g", "r")),
    ({"BAND0": "g"}, {}, 2, ()),
    ({"FILTER": "g DECam SDSS c0001 4720.0 1520.0"}, {}, 1, ("g",)),
    ({}, {"FILTER": "i"}, 1, ("i",)),
    ({"FILTER": "r"}, {"FILTER": "i"}, 1, ("r",)),
    ({"BAND": "z"}, {}, 1, ("z",)),
    ({"EXTNAME": "F160W"}, {}, 1, ("F160W",)),
    ({"EXTNAME": "SCI"}, {}, 1, ()),
    ({"EXTNAME": "N29"}, {}, 1, ()),
    ({"FILTER": 25}, {}, 1, ()),
    ({"FILTER": "  "}, {}, 1, ()),
]


@pytest.mark.parametrize(("header", "primary", "planes", "bands"), BANDS)
def test_bands_as_headers_tell_them(header: dict, primary: dict, planes: int, bands: tuple[str, ...]) -> None:
    assert told_bands(fits.Header(header.items()), fits.Header(primary.items()), planes) == bands


@pytest.mark.parametrize("angle", [0, 30, 90, 217])
def test_scale_and_centre_whatever_the_rotation(angle: float) -> None:
    plane = read_planes(written(fits.PrimaryHDU(FLUX[0], tan(0.4, angle))))[0]
    # The tangential projection is true at its centre; half a pixel away the scale differs by 1e-12.
    assert plane.pixel_scale == pytest.approx(0.4, rel=1e-8)
    assert (plane.ra, plane.dec) == (pytest.approx(150, abs=1e-9), pytest.approx(2, abs=1e-9))


def test_a_shifted_centre_and_a_seam_at_zero() -> None:
    header = tan(CRVAL1=0.0, CRPIX1=8.0)  # the middle, pixel 9, lies 1 px west of RA 0
    plane = read_planes(written(fits.PrimaryHDU(FLUX[0], header)))[0]
    assert plane.ra == pytest.approx(360 - 0.4 / 3600 / np.cos(np.radians(2)), abs=1e-9)
    assert plane.pixel_scale == pytest.approx(0.4, rel=1e-6)


def test_galactic_frames_become_icrs() -> None:
    header = tan(CTYPE1="GLON-TAN", CTYPE2="GLAT-TAN")
    plane = read_planes(written(fits.PrimaryHDU(FLUX[0], header)))[0]
    expected = SkyCoord(150, 2, unit="deg", frame="galactic").icrs
    assert (plane.ra, plane.dec) == (pytest.approx(expected.ra.deg), pytest.approx(expected.dec.deg))


SILENT = {
    "none": {},
    "not celestial": {"CTYPE1": "WAVE", "CTYPE2": "LINEAR"},
    "singular": dict(tan(CD1_1=0.0, CD1_2=0.0)),
    "unknown projection": dict(tan(CTYPE1="RA---XYZ", CTYPE2="DEC--XYZ")),
    "half a pair": dict(tan(CTYPE2="")),
    "no scale": {key: value for key, value in tan().items() if not key.startswith("CD")},
    "no reference pixel": {key: value for key, value in tan().items() if key != "CRPIX1"},
    "not a number": dict(tan(CRVAL1="abc")),
}


@pytest.mark.parametrize("name", SILENT)
def test_a_galaxy_without_coordinates_is_a_galaxy(name: str) -> None:
    plane = read_planes(written(fits.PrimaryHDU(FLUX[0], fits.Header(SILENT[name].items()))))[0]
    assert (plane.pixel_scale, plane.ra, plane.dec) == (None, None, None)
    np.testing.assert_array_equal(plane.pixels, FLUX[0].astype(np.float32))


def test_sip_coefficients_without_their_suffix_are_void() -> None:
    """Drizzled frames keep them (SIP convention, Shupe et al. 2005: the suffix -SIP switches the distortion on)."""
    sip = {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-3, "B_0_2": 1e-3, "A_0_2": 0.0, "B_2_0": 0.0}
    header = tan(CRPIX1=-100.0, CRPIX2=-100.0, **sip)
    plain = read_planes(written(fits.PrimaryHDU(FLUX[0], header)))[0].pixel_scale
    assert plain == pytest.approx(0.4, rel=1e-6)
    header.update(CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP")
    distorted = read_planes(written(fits.PrimaryHDU(FLUX[0], header)))[0].pixel_scale
    # u + A20 u^2 stretches by 1 + 2 A20 u at u = 109 and v = 107.5 px from CRPIX.
    assert distorted == pytest.approx(0.4 * np.sqrt((1 + 2e-3 * 109) * (1 + 2e-3 * 107.5)), rel=1e-3)


CLAIMS = {
    "no end": (lambda d: d[:2880].replace(b"END", b"XND"), Reason.TRUNCATED),
    "no axis": (lambda d: d.replace(b"NAXIS2", b"NAXISX"), Reason.CORRUPT),
    "negative axis": (
        lambda d: d.replace(b"NAXIS1  =                   17", b"NAXIS1  =                  -17"),
        Reason.CORRUPT,
    ),
    "axis in words": (
        lambda d: d.replace(b"NAXIS1  =                   17", b"NAXIS1  =                 many"),
        Reason.CORRUPT,
    ),
    "axis twice": (lambda d: d.replace(b"NAXIS2  ", b"NAXIS1  "), Reason.CORRUPT),
    "odd bitpix": (lambda d: d.replace(b"                  -64", b"                  -63"), Reason.CORRUPT),
    "not simple": (lambda d: d.replace(b"                    T", b"                    F", 1), Reason.CORRUPT),
    "short data": (lambda d: d[:-2880], Reason.TRUNCATED),
    "short padding": (lambda d: d[:-1], Reason.TRUNCATED),
    "no fits": (lambda d: b"X" + d, Reason.NOT_AN_IMAGE),
    "nothing": (lambda d: b"", Reason.EMPTY),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_headers_that_cannot_be_are_refused(name: str) -> None:
    damage, reason = CLAIMS[name]
    data = written(fits.PrimaryHDU(FLUX[0]))
    damaged = damage(data)
    assert damaged != data
    with pytest.raises(BadImage) as caught:
        read_planes(damaged)
    assert caught.value.reason is reason


REAL = {
    "candels_h.fits": [((84, 84), ("F160W",), 0.06)],
    "decals_grz_a.fits": [((3, 509, 509), ("g", "r", "z"), 0.262)],
    "decam_731_gband.fits": [((256, 256), (), 0.263)],
    "des_Y.fits": [((46, 91, 91), (), None)],
    "des_balrog_cutouts.fits": [((16, 128, 128), (), None), ((5, 128, 128), ("deg", "g", "r", "i", "z"), None)],
    "hsc_cut.fits": [((5, 50, 50), (), 0.168)],
    "hsc_i_star.fits": [((25, 25), ("i",), 0.168)],
    "hst_cut.fits": [((250, 250), (), 0.03)],
    "hst_f555w_n5419.fits": [((201, 201), (), 0.0455)],
    "sdss_r_ic3478_mask.fits": [((256, 256), ("r",), 0.396)],
    "statmorph_slice.fits": [((162, 162), (), None)] * 3,
}


@pytest.mark.parametrize("name", REAL)
def test_real_files_tell_their_shape_bands_and_scale(real_data: Path, name: str) -> None:
    """Pixel scales are the surveys' own published ones: DECam 0.263, HSC 0.168, SDSS 0.396, WFPC2/PC 0.0455 arcsec."""
    planes = read_planes((real_data / "fits" / name).read_bytes())
    for plane, (shape, bands, scale) in zip(planes, REAL[name], strict=True):
        assert (plane.pixels.shape, plane.bands) == (shape, bands)
        # TPV distortion changes DECam's scale by up to half a percent over the field.
        assert plane.pixel_scale == (None if scale is None else pytest.approx(scale, rel=0.005))


def test_every_real_file_is_read(real_data: Path) -> None:
    files = [*(real_data / "fits").glob("*.fits"), *(real_data / "lens_challenge").rglob("*.fits")]
    assert len(files) > 80
    for file in files:
        data = file.read_bytes()
        planes = read_planes(data)
        assert planes[0].pixels.shape == image_shape(data)
        if planes[0].pixels.ndim == 2 or len(planes[0].pixels) <= 20:
            assert decode(data).pixels.shape[1:] == image_size(data)
