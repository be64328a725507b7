"""The images inside a FITS file, of whatever shape, with their bands, pixel scale and place on the sky."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..errors import BadImage, Reason
from .budget import BZIP2, GZIP, Budget, inflate
from .strict import strictly
from .wcs import place

BLOCK, CARD = 2880, 80
MOST_BANDS = 20  # a cube of more planes is a stack of galaxies
# astropy's decoders of HCOMPRESS_1 and PLIO_1 write outside their buffers when the bytes are damaged (measured: a crash
# of the whole process within 1,500 flipped bits), so untrusted bytes never reach them.
SAFE_COMPRESSION = ("RICE_1", "RICE_ONE", "GZIP_1", "GZIP_2", "NOCOMPRESS")
_STRUCTURE = re.compile(
    rb"(SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|GROUPS|Z(IMAGE|CMPTYPE|BITPIX|NAXIS\d*|TILE\d+))$"
)
_BAND = re.compile(r"[ugrizyYJHKBVRI]$|Ks$|F\d{3,4}[A-Z]{1,2}\d?$|NUV$|FUV$|VIS$|W[1-4]$")


@dataclass(frozen=True, eq=False)
class Plane:
    """One image HDU: its 2-d or 3-d array, and what the headers tell about it.

    ``pixels`` is float32, (height, width) or three axes as they are stored (slowest first), NaN where there is no data.
    ``bands`` is what the headers say about the planes: as many names as planes, or (). ``pixel_scale`` (arcsec), ``ra``
    and ``dec`` of the centre (ICRS degrees) are None where the header has no usable celestial coordinates.
    """

    name: str
    index: int
    pixels: NDArray[np.float32]
    bands: tuple[str, ...] = ()
    pixel_scale: float | None = None
    ra: float | None = None
    dec: float | None = None


def is_fits(data: bytes) -> bool:
    """True where the bytes begin as a FITS file does."""
    return data[:9] == b"SIMPLE  ="


def read_planes(data: bytes, budget: Budget | None = None, *, first: bool = False) -> list[Plane]:
    """Every image of 2 or 3 axes (axes of length 1 aside) in a FITS file, also inside gzip or bzip2, in file order.

    ``first`` stops at the first one. Integers are scaled (BSCALE, BZERO), BLANK and every value that is not finite
    become NaN, everything becomes float32 (integers above 2^24 are rounded). Tile-compressed images are read where
    their compression is one of ``SAFE_COMPRESSION``. Tables and images without data are passed by.

    Raises BadImage, and nothing else: NOT_AN_IMAGE, EMPTY, TOO_LARGE, TRUNCATED, CORRUPT; WRONG_SHAPE where no HDU
    holds an image. What a header claims is held against the budget before any array exists.
    """
    budget = budget or Budget()
    if not data:
        raise BadImage(Reason.EMPTY, "a FITS file of zero bytes")
    if data[:2] == GZIP or data[:3] == BZIP2:
        data = inflate(data, budget)
    if not is_fits(data):
        raise BadImage(Reason.NOT_AN_IMAGE, f"a FITS file begins with 'SIMPLE  =', this with {data[:20]!r}")
    check_headers(data, budget)
    with strictly("FITS"):
        planes = list(_planes(data, budget, first))
    if not planes:
        raise BadImage(Reason.WRONG_SHAPE, "the FITS file has no image of two or three axes")
    return planes


def image_shape(data: bytes, budget: Budget | None = None) -> tuple[int, ...]:
    """The shape (slowest axis first) that the header of the first image claims, without reading pixels."""
    for header in check_headers(data, budget or Budget()):
        shape = tuple(side for side in _claimed(header)[0] if side != 1)
        if len(shape) in (2, 3) and 0 not in shape and _is_image(header):
            return shape
    raise BadImage(Reason.WRONG_SHAPE, "the FITS file has no image of two or three axes")


Header = dict[bytes, str]


def check_headers(data: bytes, budget: Budget) -> list[Header]:
    """Walk the headers as bytes, and refuse what they claim beyond the budget or beyond the file's end.

    Only the keywords that say how many bytes follow are read, here, before astropy sees the file. Returns them.
    """
    headers: list[Header] = []
    offset = total = 0
    while offset < len(data) and data[offset : offset + CARD].strip(b" \0"):
        if len(headers) >= budget.hdus:
            raise BadImage(Reason.TOO_LARGE, f"more than {budget.hdus} HDUs in one FITS file")
        header, offset = _structure(data, offset)
        if not headers and "T" not in header.get(b"SIMPLE", ""):
            raise BadImage(Reason.CORRUPT, "the FITS file does not say SIMPLE = T")
        shape, itemsize = _claimed(header)
        total += math.prod(shape) * itemsize
        budget.check(shape, itemsize, len(data), f"HDU {len(headers)}")
        if total > max(budget.inflated, len(data)):
            raise BadImage(Reason.TOO_LARGE, f"the HDUs claim {total:,} bytes together")
        offset += -(-_stored(header) // BLOCK) * BLOCK
        if offset > len(data):
            what = f"HDU {len(headers)} ends at byte {offset:,}"
            raise BadImage(Reason.TRUNCATED, f"{what} by its header, the file at {len(data):,}")
        headers.append(header)
    return headers


def _structure(data: bytes, offset: int) -> tuple[Header, int]:
    """The structural keywords of the header at ``offset``, and the offset of the data behind it."""
    found: Header = {}
    position = offset
    while True:
        card = data[position : position + CARD]
        if len(card) < CARD:
            raise BadImage(Reason.TRUNCATED, f"the FITS header at byte {offset:,} has no END")
        keyword = card[:8].strip().upper()
        if keyword == b"END":
            break
        if _STRUCTURE.match(keyword) and card[8:9] == b"=":
            if keyword in found:
                raise BadImage(Reason.CORRUPT, f"the FITS header has {keyword.decode()} twice")
            found[keyword] = card[10:].split(b"/")[0].strip().decode("ascii", "replace")
        position += CARD
    return found, offset + -(-(position + CARD - offset) // BLOCK) * BLOCK


def _integer(header: Header, keyword: bytes, default: int | None = None) -> int:
    text = header.get(keyword)
    if text is None and default is not None:
        return default
    try:
        value = int(str(text))
    except ValueError:
        raise BadImage(Reason.CORRUPT, f"the FITS header says {keyword.decode()} = {text}, no integer") from None
    if value < 0 and keyword[-6:] != b"BITPIX":
        raise BadImage(Reason.CORRUPT, f"the FITS header says {keyword.decode()} = {value}")
    return value


def _axes(header: Header, prefix: bytes = b"") -> tuple[int, ...]:
    """NAXISn, slowest axis first."""
    count = _integer(header, prefix + b"NAXIS")
    if count > 999:
        raise BadImage(Reason.CORRUPT, f"the FITS header says {count} axes")
    return tuple(_integer(header, prefix + b"NAXIS%d" % axis) for axis in range(count, 0, -1))


def _bytes_a_value(header: Header, prefix: bytes = b"") -> int:
    bitpix = _integer(header, prefix + b"BITPIX")
    if bitpix not in (8, 16, 32, 64, -32, -64):
        raise BadImage(Reason.CORRUPT, f"the FITS header says {prefix.decode()}BITPIX = {bitpix}")
    return abs(bitpix) // 8


def _is_compressed(header: Header) -> bool:
    return header.get(b"ZIMAGE", "").startswith("T")


def _is_image(header: Header) -> bool:
    return _is_compressed(header) or b"XTENSION" not in header or "IMAGE" in header[b"XTENSION"]


def _claimed(header: Header) -> tuple[tuple[int, ...], int]:
    """The shape that the data has once decompressed, and the bytes of one value. () for no data."""
    prefix = b"Z" if _is_compressed(header) else b""
    shape, itemsize = _axes(header, prefix), _bytes_a_value(header, prefix)
    if prefix:
        tile = [_integer(header, b"ZTILE%d" % (axis + 1), 1) for axis in range(len(shape))]
        if any(side > full for side, full in zip(tile, shape[::-1], strict=True)):
            raise BadImage(Reason.CORRUPT, f"tiles of {tile} pixels in an image of {list(shape[::-1])}")
        if header.get(b"ZCMPTYPE", "").strip("' ") not in SAFE_COMPRESSION:
            kind = header.get(b"ZCMPTYPE", "none")
            detail = f"tile compression {kind} is not read (its decoder is unsafe on damaged bytes): funpack it first"
            raise BadImage(Reason.NOT_AN_IMAGE, detail)
    return (shape, itemsize) if shape else ((0,), itemsize)


def _stored(header: Header) -> int:
    """How many bytes of data follow this header in the file, before padding."""
    shape = _axes(header)
    if shape and shape[-1] == 0 and header.get(b"GROUPS", "").startswith("T"):
        raise BadImage(Reason.WRONG_SHAPE, "random groups are not read")
    values = math.prod(shape) if shape else 0
    groups = _integer(header, b"GCOUNT", 1)
    return _bytes_a_value(header) * groups * (_integer(header, b"PCOUNT", 0) + values)


def _planes(data: bytes, budget: Budget, first: bool) -> Iterator[Plane]:
    with fits.open(io.BytesIO(data), memmap=False, lazy_load_hdus=False) as hdus:
        for index, hdu in enumerate(hdus):
            if not isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU):
                continue
            shape = tuple(hdu.shape)
            if sum(side > 1 for side in shape) not in (2, 3) or 0 in shape:
                continue
            budget.check(shape, abs(hdu.header["BITPIX"]) // 8, len(data), f"HDU {index}")  # by astropy's own reading
            if isinstance(hdu, fits.CompImageHDU):
                _check_tiles(data, index, hdu)
            pixels = as_flux(hdu.data)
            bands = told_bands(hdu.header, hdus[0].header, 1 if pixels.ndim == 2 else len(pixels))
            scale, ra, dec = place(hdu.header)
            yield Plane(str(hdu.name), index, pixels, bands, scale, ra, dec)
            if first:
                return


def _check_tiles(data: bytes, index: int, hdu: Any) -> None:
    """Inflate the gzip tiles of a compressed image once, within what a tile may hold: astropy would set no limit."""
    if hdu.compression_type not in SAFE_COMPRESSION:
        raise BadImage(Reason.NOT_AN_IMAGE, f"tile compression {hdu.compression_type} is not read")
    limit = math.prod(hdu.tile_shape) * 8
    with fits.open(io.BytesIO(data), memmap=False, disable_image_compression=True) as hdus:
        table = hdus[index]
        for column in table.columns.names:
            gzipped = column == "GZIP_COMPRESSED_DATA" or hdu.compression_type.startswith("GZIP")
            if gzipped and column.endswith("COMPRESSED_DATA"):
                for tile in table.data[column]:
                    if len(tile):
                        inflate(np.asarray(tile).tobytes(), Budget(), limit)


def as_flux(array: NDArray[Any]) -> NDArray[np.float32]:
    """float32, in the machine's byte order, axes of length 1 dropped down to two, NaN for whatever is not finite."""
    if array.ndim > 3 or (array.ndim == 3 and array.shape[0] == 1):
        array = array.reshape([side for side in array.shape if side > 1])
    with np.errstate(all="ignore"):
        flux = np.array(array, dtype=np.float32)  # a copy: the result never leans on the file's buffer
    flux[~np.isfinite(flux)] = np.nan
    return flux


def told_bands(header: Any, primary: Any, planes: int) -> tuple[str, ...]:
    """The bands of an HDU of so many planes by its header, or ().

    BANDS ('grz', or 'g,r,z') and BAND0..n for cubes; BAND, FILTER (its first word), or an EXTNAME that is a filter's
    name for single planes; then the same in the primary header.
    """
    for cards in (header, primary):
        text = cards.get("BANDS")
        if isinstance(text, str):
            words = tuple(word for word in re.split(r"[\s,;/|]+", text.strip()) if word)
            if len(words) == 1 < planes:
                words = tuple(text.strip())
            if len(words) == planes and len(set(words)) == planes:
                return words
        each = tuple(str(cards.get(f"BAND{plane}", "")).strip() for plane in range(planes))
        if all(each) and len(set(each)) == planes:
            return each
        if planes == 1:
            for keyword in ("BAND", "FILTER"):
                value = cards.get(keyword)
                if isinstance(value, str) and value.strip():
                    return (value.split()[0],)
            name = str(cards.get("EXTNAME", "")).strip()
            if _BAND.match(name):
                return (name,)
    return ()
