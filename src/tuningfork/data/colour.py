"""Colour: the axes along which the bands of pictures vary together, by numpy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def principal_axes(pixels: NDArray[np.uint8], limit: int = 2_000_000) -> NDArray[np.float64]:
    """The principal axes of the bands of ``pixels`` (N, C, S, S), each as long as the standard deviation along it.

    Row k of the (C, C) result is sqrt(lambda_k) p_k, with lambda and p the eigenvalues and -vectors of the covariance
    of the pixels' band values in [0, 1] (Krizhevsky et al. 2012, section 4.1, there with lambda itself), largest last.
    At most ``limit`` evenly spaced pixels of at most about 2,000 evenly spaced pictures are used. The sign of an
    eigenvector is free: here it brightens. One band gives its standard deviation, pictures without contrast zeros.
    """
    bands = pixels.shape[1]
    some = np.moveaxis(pixels[:: max(1, len(pixels) // 2000)], 1, 0).reshape(bands, -1)
    values = some[:, :: max(1, some.shape[1] // limit)].astype(np.float64) / 255  # (C, P)
    variances, axes = np.linalg.eigh(np.atleast_2d(np.cov(values, bias=True)))
    axes = axes * np.where(axes.sum(axis=0) < 0, -1, 1)
    return np.ascontiguousarray((np.sqrt(np.maximum(variances, 0)) * axes).T)


def recoloured(
    images: NDArray[np.uint8], axis: NDArray[np.float64], strength: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """``images`` (N, C, S, S) with ``strength`` (N,) times ``axis`` (C,), where 1 is white, added to every pixel.

    The sum is cut to black and white and rounded to the nearest of 256 levels; where the strength is 0, the picture
    stays as it is, bit for bit.
    """
    added = (255 * strength[:, None] * axis).astype(np.float32)  # (N, C)
    return np.rint(np.clip(images + added[:, :, None, None], 0, 255)).astype(np.uint8)
