"""PNG, TIFF, WebP and unusual JPEGs, read by Pillow: whole, within the budget, or not at all."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageFile

from ..errors import BadImage, Reason
from .budget import Budget
from .fits import as_flux
from .strict import strictly, translated

_PNG = b"\x89PNG\r\n\x1a\n"
_NAMES = {"jpeg": ["JPEG"], "png": ["PNG"], "tiff": ["TIFF"], "webp": ["WEBP"]}
_DEEP = ("F", "I", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes of more than 8 bits a value
_CHANNELS = {"1": 1, "L": 1, "P": 3, "LA": 1, "PA": 3, "CMYK": 3, "F": 1, "I": 1}


def kind(data: bytes) -> str:
    """ "jpeg", "png", "tiff", "webp" by the first bytes, or "" for anything else."""
    if data[:2] == b"\xff\xd8":
        return "jpeg"
    if data[:8] == _PNG:
        return "png"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else ""


def size(data: bytes, kind: str, budget: Budget) -> tuple[int, int]:
    """(height, width) by the header."""
    with strictly(kind.upper()), Pillow.open(io.BytesIO(data), formats=_NAMES[kind]) as picture:
        return picture.height, picture.width


def read(data: bytes, kind: str, budget: Budget) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Pixels (height, width) or (height, width, 3): uint8, or float32 for grey values of more than 8 bits.

    Palettes, CMYK and other colour spaces become RGB, transparency is dropped without blending; colour of 16 bits a
    channel is read as 8 bits. Raises BadImage, WRONG_SHAPE for animations and files of several pages.
    """
    _whole(data, kind)
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise RuntimeError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set: half pictures would pass for whole ones; unset it"
        )
    with contextlib.ExitStack() as stack:
        with strictly(kind.upper()):
            picture = stack.enter_context(Pillow.open(io.BytesIO(data), formats=_NAMES[kind]))
            channels = _CHANNELS.get(picture.mode, 1 if picture.mode in _DEEP else 3)
            itemsize = 4 if picture.mode in _DEEP else 1
            budget.check((picture.height, picture.width, channels), itemsize, len(data), f"a {kind.upper()}")
            if getattr(picture, "is_animated", False):
                raise BadImage(Reason.WRONG_SHAPE, f"a {kind.upper()} of several pages: one galaxy is one picture")
            if kind == "tiff":
                _strips_arrived(picture, len(data))
                picture.load()
        with translated(kind.upper()):  # no warnings are raised from here on, so threads may decode side by side
            picture.load()
            return _array(picture)


def _array(picture: Pillow.Image) -> NDArray[Any]:
    mode = picture.mode
    if mode in _DEEP:
        return as_flux(np.asarray(picture))
    if mode in ("1", "LA"):
        picture = picture.convert("L")
    elif mode != "L" and mode != "RGB":
        picture = picture.convert("RGB")
    return np.asarray(picture)


def _whole(data: bytes, kind: str) -> None:
    """Refuse what ends too early, by the container's own count of bytes: Pillow would forgive a missing end."""
    if kind == "png":
        _png_chunks(data)
    elif kind == "webp":
        claimed = 8 + struct.unpack("<I", data[4:8])[0]
        if claimed > len(data):
            raise BadImage(Reason.TRUNCATED, f"a WebP of {claimed:,} bytes, of which {len(data):,} came")
    elif kind == "jpeg" and b"\xff\xd9" not in data[-64:]:
        raise BadImage(Reason.TRUNCATED, f"a JPEG of {len(data):,} bytes without an end marker")


def _png_chunks(data: bytes) -> None:
    """Walk a PNG's chunks to IEND and check each one's CRC."""
    offset = len(_PNG)
    while True:
        if offset + 12 > len(data):
            raise BadImage(Reason.TRUNCATED, f"a PNG of {len(data):,} bytes without IEND")
        length = struct.unpack(">I", data[offset : offset + 4])[0]
        end = offset + 12 + length
        if end > len(data):
            raise BadImage(Reason.TRUNCATED, f"a PNG chunk ends at byte {end:,}, the file at {len(data):,}")
        body = memoryview(data)[offset + 4 : end - 4]
        if zlib.crc32(body) != struct.unpack(">I", data[end - 4 : end])[0]:
            raise BadImage(Reason.CORRUPT, f"the PNG chunk at byte {offset:,} fails its checksum")
        if bytes(body[:4]) == b"IEND":
            return
        offset = end


def _strips_arrived(picture: Any, arrived: int) -> None:
    """Refuse a TIFF whose strips or tiles lie beyond the end of the file."""
    tags = picture.tag_v2
    for offsets, counts in ((273, 279), (324, 325)):
        starts, lengths = tags.get(offsets, ()), tags.get(counts, ())
        starts = starts if isinstance(starts, tuple) else (starts,)
        lengths = lengths if isinstance(lengths, tuple) else (lengths,)
        end = max((start + length for start, length in zip(starts, lengths, strict=False)), default=0)
        if end > arrived:
            raise BadImage(Reason.TRUNCATED, f"the TIFF's pixels end at byte {end:,}, the file at {arrived:,}")
