"""Which pixels of a picture are the galaxy's, which its neighbours', and what the sky and its noise are: photutils."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadImage, MissingExtra, Reason
from ..galaxy.frame import QUANTUM, SourceFound, _sky, find_source

GALAXY, NEIGHBOUR = 1, 2  # the values of a segmentation; 0 is sky
SMALLEST = 24  # px; below this no annulus is left for the sky
OUTLINE = 3.0  # noises of the smoothed picture above which a pixel belongs to a source
CONTRAST = 0.005  # share of a blend's light that a piece of it must have to be split off
LEAST_SKY = 0.03  # share of pixels outside of all sources with which the sky is measured
MIRRORED = 2.0  # a piece is a neighbour where it has more than so many times the light of its mirror image
ROUNDS = 3  # of sources, and the sky outside of them


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A galaxy told from its neighbours and the sky, all arrays (height, width).

    ``light`` float64 is the plane less its ``sky``; 0 where ``masked`` (no finite value there). ``labels`` int32 is
    GALAXY, NEIGHBOUR or 0. ``noise`` is the standard deviation of the sky's pixels. ``found`` is the source that the
    house frames the galaxy by, ``covered`` the share of pixels that belong to sources.
    """

    light: NDArray[np.float64]
    labels: NDArray[np.int32]
    masked: NDArray[np.bool_]
    sky: float
    noise: float
    found: SourceFound
    covered: float


def segment(plane: NDArray[Any]) -> Segmentation:
    """Tell the galaxy nearest the middle of a plane (height, width) of flux, or uint8, from all else.

    The centre is that of :func:`~tuningfork.galaxy.frame.find_source`. The sky is first that of the dark pieces of the
    border, then what clipping at 3 standard deviations leaves outside of all sources: these are connected pixels 3
    noises above it in the plane smoothed by a Gaussian (FWHM 3 px, in planes above 96 px 1/32 of the side); three
    rounds. Blends are split by thresholds and watershed (photutils ``deblend_sources``, contrast 0.005), which would
    cut spirals into arms: a piece goes back to the galaxy unless it is more than twice as bright as its mirror image
    through the centre; and of such a neighbour those pixels that are not. Holes in the galaxy's segment are filled.

    Raises BadImage: TOO_SMALL below 24 px, WRONG_SHAPE, NO_COVERAGE where over half of the pixels are not finite, and
    what ``find_source`` does; :class:`MissingExtra` without photutils.
    """
    if plane.ndim != 2:
        raise BadImage(Reason.WRONG_SHAPE, f"one plane (height, width) is measured, this is {plane.shape}")
    if min(plane.shape) < SMALLEST:
        raise BadImage(Reason.TOO_SMALL, f"{plane.shape[0]} x {plane.shape[1]} px; shape needs {SMALLEST} x {SMALLEST}")
    masked = ~np.isfinite(plane)
    if masked.mean() > 0.5:
        raise BadImage(Reason.NO_COVERAGE, f"{masked.mean():.0%} of the pixels have no finite value")
    found = find_source(plane)
    known = np.asarray(plane, np.float64)[~masked]
    image = np.where(masked, np.median(known), plane).astype(np.float64)
    least = QUANTUM if plane.dtype == np.uint8 else 1e-5 * float(np.ptp(known))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # photutils tells of empty pictures, which come back as None here
        sky, noise, smooth, level = _detect(image, masked, least)
        labels = _split(smooth, level, masked)
    own = _galaxy(labels, smooth, found)
    light = np.where(masked, 0.0, image - sky)
    made = np.where(own, GALAXY, np.where(labels > 0, NEIGHBOUR, 0)).astype(np.int32)
    return Segmentation(light, made, masked, sky, noise, found, float((labels > 0).mean()))


def _detect(
    image: NDArray[np.float64], masked: NDArray[np.bool_], least: float
) -> tuple[float, float, NDArray[np.float64], float]:
    """The sky, its noise, the smoothed image less the sky, and the level above which its pixels belong to sources."""
    import scipy.ndimage

    sigma = max(3.0, min(image.shape) / 32) / 2.3548
    smooth = scipy.ndimage.gaussian_filter(image, sigma, mode="nearest")
    sky, noise = _sky(image.astype(np.float32))  # of the border's dark pieces: most of the rest may be galaxy
    smooth_sky, smooth_noise = _sky(smooth.astype(np.float32))
    for _ in range(ROUNDS):
        level = smooth_sky - sky + OUTLINE * max(smooth_noise, least / 4)
        sources = _sources(smooth - sky, level, masked)
        if sources is None:
            break
        grown = scipy.ndimage.binary_dilation(sources.data > 0, iterations=max(2, min(image.shape) // 40))
        outside = ~masked & ~grown
        if outside.mean() < LEAST_SKY:
            break
        sky, noise = _clipped(image[outside])
        smooth_sky, smooth_noise = _clipped(smooth[outside])
    level = smooth_sky - sky + OUTLINE * max(smooth_noise, least / 4)
    return sky, max(noise, least), smooth - sky, level


def _clipped(values: NDArray[np.float64]) -> tuple[float, float]:
    from astropy.stats import sigma_clipped_stats

    mean, _, spread = sigma_clipped_stats(values, sigma=3, maxiters=10, stdfunc="std", cenfunc="median")
    return float(mean), float(spread)


def _fewest(shape: tuple[int, ...]) -> int:
    """Pixels that a source has at least: 8, or 1/2000 of a large plane."""
    return max(8, shape[0] * shape[1] // 2000)


def _sources(light: NDArray[np.float64], level: float, masked: NDArray[np.bool_]) -> Any:
    try:
        from photutils.segmentation import detect_sources
    except ImportError as error:
        raise MissingExtra("photutils", "insight") from error
    return detect_sources(light, level, _fewest(light.shape), mask=masked)


def _split(light: NDArray[np.float64], level: float, masked: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Labels of all sources, blends split, each piece apart; raises BadImage (NO_SOURCE)."""
    from photutils.segmentation import deblend_sources

    sources = _sources(light, level, masked)
    if sources is None:
        raise BadImage(Reason.NO_SOURCE, f"no {_fewest(light.shape)} connected pixels rise above the sky")
    split = deblend_sources(light, sources, _fewest(light.shape), contrast=CONTRAST, progress_bar=False)
    return np.asarray(split.data, np.int32)


def _galaxy(labels: NDArray[np.int32], light: NDArray[np.float64], found: SourceFound) -> NDArray[np.bool_]:
    """The pixels of the source at the centre, with those pieces of its blend that it mirrors."""
    import scipy.ndimage

    y, x = round(found.y), round(found.x)
    near = labels[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
    at = int(labels[y, x]) or int(near.max())
    if not at:
        raise BadImage(Reason.NO_SOURCE, f"nothing rises above the sky at the galaxy's centre, ({x}, {y})")
    blends, _ = scipy.ndimage.label(labels > 0, np.ones((3, 3)))
    own = labels == at
    rows, columns = np.indices(labels.shape)
    across = (np.rint(2 * found.y - rows), np.rint(2 * found.x - columns))
    inside = (across[0] >= 0) & (across[0] < labels.shape[0]) & (across[1] >= 0) & (across[1] < labels.shape[1])
    mirror = np.where(inside, light[tuple(np.where(inside, one, 0).astype(np.intp) for one in across)], 0)
    like = inside & (light <= MIRRORED * np.maximum(mirror, 0))
    for piece in np.unique(labels[blends == blends[tuple(np.argwhere(own)[0])]]):
        here = (labels == piece) & inside
        if piece and here.any():
            whole = light[here].sum() <= MIRRORED * max(mirror[here].sum(), 0)
            own |= (labels == piece) if whole else (here & like)
    filled = scipy.ndimage.binary_fill_holes(own) & ((labels == 0) | own)
    joined, _ = scipy.ndimage.label(filled, np.ones((3, 3)))
    return np.asarray(joined == joined[tuple(np.argwhere(labels == at)[0])])
