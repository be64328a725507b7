"""The only door for untrusted images: bytes in, checked pixels or one BadImage out."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from ..errors import BadImage, Reason
from . import raster
from .budget import BZIP2, GZIP, Budget, inflate
from .fits import MOST_BANDS, Plane, as_flux, image_shape, is_fits, read_planes
from .strict import translated

COLOUR = ("red", "green", "blue")
GREY = ("grey",)
SMALLEST = 8  # px, of the shorter side
FULL = 0.95  # the share of pixels at the largest value from which an image is saturated
MOST_SCANS = 64  # of a progressive JPEG; usual are about 10
NPY = b"\x93NUMPY"
DEFAULT = Budget()

Pixels = NDArray[np.uint8] | NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Image:
    """What :func:`decode` gives: pixels (bands, height, width), uint8 (picture) or float32 (flux, NaN = no data).

    ``pixel_scale`` is in arcsec per *stored* pixel; the pixels here are ``shrink`` times larger. They may be read-only.
    """

    pixels: Pixels
    bands: tuple[str, ...]
    pixel_scale: float | None = None
    ra: float | None = None
    dec: float | None = None
    shrink: float = 1.0


def decode(data: bytes, *, bands: tuple[str, ...] = (), shrink: float = 1.0, budget: Budget = DEFAULT) -> Image:
    """The image in some bytes, whatever they are: JPEG, PNG, TIFF, WebP, FITS, .npy, or one of them in gzip or bzip2.

    The kind is told by the first bytes, never by a name. Pictures of 8 bits become uint8 with bands :data:`GREY` or
    :data:`COLOUR` (palettes and CMYK are converted, transparency is dropped); grey PNG and TIFF of 16 or 32 bits, FITS
    and arrays other than uint8 become float32 flux. A grey JPEG stored as colour stays colour. An animation or a file
    of several pages is refused (WRONG_SHAPE). Of a FITS file the first image of two or three axes is taken (or, where
    ``bands`` are asked for that it has not, one HDU per band); three axes are (bands, height, width), up to 20 bands,
    or (height, width, 3..5).

    ``bands``, where given, are the names wanted: selected by name where the file names its planes, else laid on the
    planes in order; too few planes are MISSING_BAND, too many WRONG_SHAPE. Planes without names become "band0" ...

    ``shrink`` > 1 lets a JPEG be decoded 2, 4 or 8 times smaller, by at most that factor, and only where both sides are
    divisible by it, so that the geometry stays exact. Other formats ignore it.

    Raises BadImage, and nothing else, with one reason of the closed list. Every result has sides of at least 8 px and
    some signal: see :func:`check`.
    """
    data = bytes(data)
    with translated("image"):
        data, kind = _sniff(data, budget)
        image = _READERS[kind](data, bands, shrink, budget)
        check(image.pixels)
        return image


def image_size(data: bytes, budget: Budget = DEFAULT) -> tuple[int, int]:
    """(height, width) in stored pixels, by the header alone. Raises BadImage for what is no image, or too large."""
    with translated("image"):
        data, kind = _sniff(bytes(data), budget)
        if kind == "jpeg":
            try:
                height, width, _, _ = simplejpeg.decode_jpeg_header(data)
                return height, width
            except ValueError:
                return raster.size(data, "jpeg", budget)
        if kind == "fits":
            shape = image_shape(data, budget)
        elif kind == "npy":
            shape = _npy_header(data, budget)[0]
        else:
            return raster.size(data, kind, budget)
        if len(shape) not in (2, 3):
            raise BadImage(Reason.WRONG_SHAPE, f"an array of shape {shape}")
        height, width = shape[:2] if len(shape) == 3 and _bands_last(shape) else shape[-2:]
        return height, width


def check(pixels: Pixels) -> None:
    """The check that every image passes, whatever its format; raises BadImage.

    TOO_SMALL: a side below 8 px. NO_COVERAGE: no finite value. NO_SIGNAL: each band has one value only. SATURATED: more
    than 95% of the values are the largest value.
    """
    height, width = pixels.shape[1:]
    if min(height, width) < SMALLEST:
        raise BadImage(Reason.TOO_SMALL, f"{height} x {width} px; a galaxy needs {SMALLEST} x {SMALLEST}")
    flat = pixels.reshape(-1) if pixels.flags.c_contiguous else np.moveaxis(pixels, 0, -1).reshape(-1)
    if pixels.dtype != np.uint8:
        flat = flat[np.isfinite(flat)]
        if not flat.size:
            raise BadImage(Reason.NO_COVERAGE, f"none of the {pixels.size:,} values is finite")
    top = flat.max()
    if flat.min() == top or all(_constant(plane) for plane in pixels):
        raise BadImage(Reason.NO_SIGNAL, f"every pixel has the value {top:g}")
    full = np.count_nonzero(flat == top) / flat.size
    if full > FULL:
        raise BadImage(Reason.SATURATED, f"{100 * full:.1f}% of the values are {top:g}, the largest")


def _constant(plane: Pixels) -> bool:
    if plane.dtype != np.uint8:
        finite = plane[np.isfinite(plane)]
        return finite.size == 0 or bool(finite.min() == finite.max())
    return bool((plane[0] == plane[0, 0]).all() and (plane == plane[0, 0]).all())


def _sniff(data: bytes, budget: Budget) -> tuple[bytes, str]:
    """The bytes, inflated where they came compressed, and what they begin like."""
    if not data:
        raise BadImage(Reason.EMPTY, "zero bytes")
    if data[:2] == GZIP or (data[:3] == BZIP2 and data[3:4].isdigit()):
        data = inflate(data, budget)
        if not data:
            raise BadImage(Reason.EMPTY, "compressed, zero bytes")
    if is_fits(data):
        return data, "fits"
    if data[:6] == NPY:
        return data, "npy"
    kind = raster.kind(data)
    if kind:
        return data, kind
    if data[:4] == b"PK\x03\x04":
        raise BadImage(Reason.NOT_AN_IMAGE, "a zip archive (.npz?): store one array as .npy, or unpack it first")
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data[:80])
    raise BadImage(Reason.NOT_AN_IMAGE, f"{len(data):,} bytes that begin with {text}")


def _read_jpeg(data: bytes, bands: tuple[str, ...], shrink: float, budget: Budget) -> Image:
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:  # odd subsampling, or no JPEG at all
        return _read_raster(data, bands, "jpeg", budget)
    if space not in ("YCbCr", "RGB", "Gray"):
        return _read_raster(data, bands, "jpeg", budget)
    channels = 1 if space == "Gray" else 3
    budget.check((height, width, channels), 1, len(data), "a JPEG")
    if data.count(b"\xff\xda") > MOST_SCANS:
        raise BadImage(Reason.TOO_LARGE, f"a JPEG of more than {MOST_SCANS} scans: each costs a pass over all pixels")
    factor = next((f for f in (8, 4, 2) if f <= shrink and _shrinks(height, f) and _shrinks(width, f)), 1)
    smaller = {"min_height": height // factor, "min_width": width // factor, "min_factor": factor} if factor > 1 else {}
    pixels = simplejpeg.decode_jpeg(data, "GRAY" if channels == 1 else "RGB", **smaller)
    return _named(np.moveaxis(pixels, 2, 0), GREY if channels == 1 else COLOUR, bands, shrink=height / pixels.shape[0])


def _shrinks(side: int, factor: int) -> bool:
    return side % factor == 0 and side // factor >= SMALLEST


def _read_raster(data: bytes, bands: tuple[str, ...], kind: str, budget: Budget) -> Image:
    pixels = raster.read(data, kind, budget)  # (height, width) or (height, width, 3)
    if pixels.ndim == 2:
        return _named(pixels[None], GREY, bands)
    return _named(np.moveaxis(pixels, 2, 0), COLOUR, bands)


def _read_npy(data: bytes, bands: tuple[str, ...], shrink: float, budget: Budget) -> Image:
    shape, fortran, dtype, start = _npy_header(data, budget)
    array = np.frombuffer(data, dtype=dtype, offset=start).reshape(shape, order="F" if fortran else "C")
    as_it_is = array.dtype == np.uint8 or (array.dtype == np.dtype("=f4") and not np.isinf(array).any())
    cube = _cube(array if as_it_is else as_flux(array), bands)
    return _named(cube, (), bands)


def _npy_header(data: bytes, budget: Budget) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, order, dtype and offset of the array in .npy bytes, held against the budget and the bytes that came."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise BadImage(Reason.CORRUPT, f".npy of version {version}")
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = reader(stream)
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise BadImage(
            Reason.CORRUPT, f".npy of dtype {dtype}: pixels are numbers of at most 64 bits, objects are never read"
        )
    if any(side < 0 for side in shape):
        raise BadImage(Reason.CORRUPT, f".npy of shape {shape}")
    budget.check(shape, dtype.itemsize, len(data), "an .npy")
    start, claimed = stream.tell(), int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(data) - start != claimed:
        reason = Reason.TRUNCATED if len(data) - start < claimed else Reason.CORRUPT
        raise BadImage(reason, f".npy of shape {shape} needs {claimed:,} bytes of pixels, {len(data) - start:,} came")
    return tuple(shape), fortran, dtype, start


def _read_fits(data: bytes, bands: tuple[str, ...], shrink: float, budget: Budget) -> Image:
    planes = read_planes(data, budget, first=not bands)
    chosen = _wanted_plane(planes, bands)
    image = _named(_cube(chosen.pixels, bands or chosen.bands), chosen.bands, bands)
    return replace(image, pixel_scale=chosen.pixel_scale, ra=chosen.ra, dec=chosen.dec)


def _wanted_plane(planes: list[Plane], bands: tuple[str, ...]) -> Plane:
    """The first image that names the wanted bands; else one HDU per band, stacked; else the first of as many planes."""
    named = (plane for plane in planes if bands and set(bands) <= set(plane.bands))
    fitting = (p for p in planes if bands and len(bands) == (1 if p.pixels.ndim == 2 else len(p.pixels)))
    return next(named, None) or _one_hdu_per_band(planes, bands) or next(fitting, None) or planes[0]


def _one_hdu_per_band(planes: list[Plane], bands: tuple[str, ...]) -> Plane | None:
    """The HDUs that the bands name (by FILTER, BAND or EXTNAME), as one plane; None where they do not."""
    by_name = {
        name: plane for plane in reversed(planes) if plane.pixels.ndim == 2 for name in (*plane.bands, plane.name)
    }
    chosen = [by_name[band] for band in bands if band in by_name]
    if not bands or len(chosen) < len(bands) or len({plane.pixels.shape for plane in chosen}) > 1:
        return None
    return replace(chosen[0], pixels=np.stack([plane.pixels for plane in chosen]), bands=bands)


def _bands_last(shape: tuple[int, ...]) -> bool:
    """True for (height, width, 3..5) that cannot be meant as (bands, height, width)."""
    return 3 <= shape[2] <= 5 and shape[0] > MOST_BANDS and shape[1] > MOST_BANDS


def _cube(array: NDArray[Any], bands: tuple[str, ...]) -> NDArray[Any]:
    """(bands, height, width) from an array of two or three axes."""
    if array.ndim == 2:
        return array[None]
    if array.ndim != 3 or 0 in array.shape:
        raise BadImage(Reason.WRONG_SHAPE, f"an array of shape {array.shape}; pixels are (bands, height, width)")
    if _bands_last(array.shape):
        return np.ascontiguousarray(np.moveaxis(array, 2, 0))
    if len(array) > MOST_BANDS and len(array) != len(bands):
        detail = f"{array.shape}: {len(array)} planes are no bands of one galaxy; open a stack of galaxies as a source"
        raise BadImage(Reason.WRONG_SHAPE, detail)
    return array


def _named(pixels: NDArray[Any], told: tuple[str, ...], wanted: tuple[str, ...], shrink: float = 1.0) -> Image:
    """The image with its bands named, and chosen where the file names them and more than the wanted ones are there."""
    count = len(pixels)
    if wanted and told and wanted != told and set(wanted) <= set(told):
        return Image(pixels[[told.index(band) for band in wanted]], wanted, shrink=shrink)
    if wanted and count != len(wanted):
        reason = Reason.MISSING_BAND if count < len(wanted) else Reason.WRONG_SHAPE
        raise BadImage(reason, f"{count} band(s) {', '.join(told)} where {', '.join(wanted)} are wanted")
    if pixels.dtype == np.uint8 and count in (1, 3):
        told = told or (COLOUR if count == 3 else GREY)
    return Image(pixels, wanted or told or tuple(f"band{plane}" for plane in range(count)), shrink=shrink)


def _raster_reader(kind: str) -> Callable[[bytes, tuple[str, ...], float, Budget], Image]:
    return lambda data, bands, shrink, budget: _read_raster(data, bands, kind, budget)


_READERS: dict[str, Callable[[bytes, tuple[str, ...], float, Budget], Image]] = {
    "jpeg": _read_jpeg,
    "png": _raster_reader("png"),
    "tiff": _raster_reader("tiff"),
    "webp": _raster_reader("webp"),
    "fits": _read_fits,
    "npy": _read_npy,
}
