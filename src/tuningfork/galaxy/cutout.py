"""One galaxy: as pixels (Cutout), as the bytes it came in (Record), or as the reason why it is neither (Rejected)."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from ..errors import Reason
from .decode import COLOUR, GREY, decode, image_size

__all__ = ["COLOUR", "GREY", "Cutout", "Record", "Rejected"]


@dataclass(frozen=True, eq=False)
class Cutout:
    """The pixels of one galaxy, and where on the sky they lie.

    ``pixels`` (bands, height, width) is uint8 for pictures, or float32 for flux, where NaN means "no data". ``bands``
    names the first axis: :data:`COLOUR` or :data:`GREY` for pictures, filter names ("g", "r", ...) for flux.
    ``pixel_scale`` is in arcsec per pixel *of these pixels*; ``ra`` and ``dec`` are the centre, ICRS degrees.
    ``shrink`` says by which factor a JPEG was decoded smaller than it was stored (1 = not at all).
    """

    id: str
    pixels: NDArray[np.uint8] | NDArray[np.float32]
    bands: tuple[str, ...]
    pixel_scale: float | None = None
    ra: float | None = None
    dec: float | None = None
    shrink: float = 1.0

    @property
    def is_picture(self) -> bool:
        """True where the pixels are ready to look at (uint8), False where they are flux (float32)."""
        return self.pixels.dtype == np.uint8


@dataclass(frozen=True, eq=False)
class Record:
    """One galaxy as its source keeps it: undecoded bytes, and what the source says about them.

    ``format`` is "jpeg", "png", "tiff", "webp", "fits" or "npy": what the source believes; decoding goes by the bytes.
    ``bands`` may be empty: then decoding tells. ``pixel_scale`` (arcsec per stored pixel), ``ra`` and ``dec`` (ICRS
    degrees), where known here, win over what the bytes say. ``sha256`` is that of ``data``, "" where nobody took it.
    """

    id: str
    data: bytes
    format: str
    bands: tuple[str, ...] = ()
    pixel_scale: float | None = None
    ra: float | None = None
    dec: float | None = None
    source: str = ""
    sha256: str = ""

    def cutout(self, shrink: float = 1.0) -> Cutout:
        """Decode the bytes; raises :class:`~tuningfork.errors.BadImage`, and nothing else.

        ``shrink`` > 1 allows (does not oblige) a JPEG to be decoded smaller, by at most that factor: libjpeg then skips
        the high frequencies of its cosine transform. The cutout's ``shrink`` and ``pixel_scale`` say what was done.
        """
        image = decode(self.data, bands=self.bands, shrink=shrink)
        scale = image.pixel_scale if self.pixel_scale is None else self.pixel_scale
        return Cutout(
            id=self.id,
            pixels=image.pixels,
            bands=image.bands,
            pixel_scale=None if scale is None else scale * image.shrink,
            ra=image.ra if self.ra is None else self.ra,
            dec=image.dec if self.dec is None else self.dec,
            shrink=image.shrink,
        )

    def size(self) -> tuple[int, int]:
        """(height, width) in stored pixels, from the header alone; raises :class:`~tuningfork.errors.BadImage`."""
        return image_size(self.data)

    @classmethod
    def from_pixels(
        cls,
        id: str,
        pixels: NDArray[np.uint8] | NDArray[np.float32],
        bands: tuple[str, ...],
        pixel_scale: float | None = None,
        ra: float | None = None,
        dec: float | None = None,
        source: str = "",
    ) -> Record:
        """A record of format "npy" from pixels (bands, height, width), kept exactly: uint8 as it is, else float32."""
        kept: NDArray[Any] = np.ascontiguousarray(pixels, dtype=np.uint8 if pixels.dtype == np.uint8 else np.float32)
        if pixels.ndim != 3 or len(pixels) != len(bands):
            raise ValueError(f"pixels of shape {pixels.shape} do not fit (bands, height, width) with bands {bands}")
        stream = io.BytesIO()
        np.lib.format.write_array(stream, kept, allow_pickle=False)
        return cls(id, stream.getvalue(), "npy", tuple(bands), pixel_scale, ra, dec, source)

    @classmethod
    def from_picture(
        cls,
        id: str,
        rgb: NDArray[np.uint8],
        pixel_scale: float | None = None,
        ra: float | None = None,
        dec: float | None = None,
        source: str = "",
        quality: int = 95,
    ) -> Record:
        """A record of format "jpeg" from a picture (height, width, 3), uint8; colours are not subsampled, but lossy."""
        rgb = np.ascontiguousarray(rgb)
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
            raise ValueError(f"a picture is uint8 (height, width, 3), this is {rgb.dtype} {rgb.shape}")
        data = simplejpeg.encode_jpeg(rgb, quality=quality, colorspace="RGB", colorsubsampling="444")
        return cls(id, data, "jpeg", COLOUR, pixel_scale, ra, dec, source)


@dataclass(frozen=True)
class Rejected:
    """One galaxy that could not be used, with its reason of the closed list and what was seen."""

    id: str
    reason: Reason
    detail: str = ""
    source: str = ""
