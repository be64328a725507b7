"""What a display does to a galaxy besides stretching it: it smooths the cutout, and blackens faint pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadImage, Reason, RecipeError

FWHM = math.sqrt(8 * math.log(2))  # of a Gaussian, in sigmas: 2.3548
WIDEST = 100.0  # px; what is smoothed more is no galaxy any longer


def check(smooth: float, mask: int) -> None:
    """Raises RecipeError where a display's ``smooth`` is not 0 .. :data:`WIDEST` px, or its ``mask`` not 0 .. 255."""
    if not 0 <= smooth <= WIDEST:
        raise RecipeError(f"smooth is {smooth}; it is the FWHM of a Gaussian, 0 (none) to {WIDEST:g} px, such as 4")
    if not 0 <= mask <= 255:
        raise RecipeError(f"mask is {mask}; it is a grey level, 0 (none) to 255, such as 15 (weak) or 30 (strong)")


def smoothed(pixels: NDArray[Any], fwhm: float) -> NDArray[Any]:
    """Pixels (bands, height, width) convolved with a Gaussian of ``fwhm`` px along both axes; of the same dtype.

    sigma = fwhm / 2.3548; the kernel is sampled at whole pixels out to 4 sigma and sums to one, and the image is
    continued by its mirror image, so that the total flux stays. uint8 is rounded to the nearest level, once, after both
    axes. A ``fwhm`` of 0 gives the pixels themselves. NaN spreads: fill holes before. Raises BadImage (TOO_SMALL) where
    the Gaussian is wider than the image.
    """
    if not fwhm:
        return pixels
    height, width = pixels.shape[1:]
    if fwhm > min(height, width):
        raise BadImage(Reason.TOO_SMALL, f"{height} x {width} px, to be smoothed by a Gaussian of FWHM {fwhm:.3g} px")
    import scipy.ndimage  # 0.2 s, which displays that do not smooth are spared

    sigma = fwhm / FWHM
    out = scipy.ndimage.gaussian_filter(pixels.astype(np.float32), (0, sigma, sigma), mode="reflect", truncate=4.0)
    return np.rint(out).astype(np.uint8) if pixels.dtype == np.uint8 else out


def masked(shown: NDArray[np.uint8], threshold: int) -> NDArray[np.uint8]:
    """A rendered picture (bands, height, width), uint8, with 0 in all bands where their mean is below ``threshold``.

    A ``threshold`` of 0 gives the picture itself, one above every mean a black one.
    """
    if not threshold:
        return shown
    return shown * (shown.sum(axis=0, dtype=np.int64) >= threshold * len(shown))
