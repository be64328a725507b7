"""The only door for untrusted images: bytes in, checked pixels or one BadImage out."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image as Pillow

from ..errors import BadImage, Reason

COLOUR = ("red", "green", "blue")
GREY = ("grey",)


@dataclass(frozen=True)
class Image:
    """First draft: see the next commit."""

    pixels: NDArray[np.uint8] | NDArray[np.float32]
    bands: tuple[str, ...]
    pixel_scale: float | None = None
    ra: float | None = None
    dec: float | None = None
    shrink: float = 1.0


def decode(data: bytes, *, bands: tuple[str, ...] = (), shrink: float = 1.0) -> Image:
    """First draft (JPEG, PNG, npy), so that sources can be written against it."""
    if not data:
        raise BadImage(Reason.EMPTY)
    try:
        if data[:2] == b"\xff\xd8":
            return Image(np.moveaxis(simplejpeg.decode_jpeg(data), 2, 0), COLOUR)
        if data[:6] == b"\x93NUMPY":
            pixels = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
            return Image(pixels, bands or tuple(f"band{i}" for i in range(len(pixels))))
        with Pillow.open(io.BytesIO(data)) as picture:
            return Image(np.moveaxis(np.asarray(picture.convert("RGB")), 2, 0), COLOUR)
    except Exception as error:
        raise BadImage(Reason.CORRUPT, str(error)) from error


def image_size(data: bytes) -> tuple[int, int]:
    """First draft."""
    height, width = decode(data).pixels.shape[1:]
    return height, width
