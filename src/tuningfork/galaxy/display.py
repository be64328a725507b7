"""From a galaxy to what a network sees: its central square, stretched to 8 bits. The one path of train and predict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadImage, Reason, RecipeError
from . import smoothing
from .cutout import COLOUR, GREY, Cutout, Record
from .frame import find_source, framed
from .light import LIGHT, as_light, find_light, sky_and_noise
from .resample import Square, resampled, resampled_picture

STRETCHES = ("none", "linear", "sqrt", "log", "asinh", "lupton")
SMALLEST_CROP = 4  # px of the cutout; a smaller square holds no galaxy
WIDEST_FRAME = 20.0  # Petrosian radii; a galaxy is a dot in a wider square


@dataclass(frozen=True)
class Display:
    """How a galaxy is shown to the network; kept on the model card, so that predict cannot disagree with train.

    ``size`` is the side of the network's input. ``crop`` is the side of the central square that is shown, in pixels of
    the cutout as stored (0 = its whole shorter side); where ``pixel_scale`` (arcsec) is given, ``crop`` counts pixels
    of that scale, and a cutout of another known scale is cut to the same angle on the sky; so too ``smooth``, the FWHM
    of a Gaussian that the cutout is convolved with before it is resampled. ``bands`` are picked and ordered by name
    (empty = as they come); the one band "light" is made of whatever bands there are
    (:func:`~tuningfork.galaxy.light.as_light`), those of FITS files with the last row first, as in pictures.
    ``stretch`` and what follows turn flux into 8 bits: see :func:`stretched`. Pixels of the 8-bit result whose mean
    over the bands is below ``mask`` become 0 in all of them.

    ``petrosian`` takes the place of ``crop``: the square is so many Petrosian radii wide, about the source that
    :func:`~tuningfork.galaxy.frame.find_source` finds in these bands (in light
    :func:`~tuningfork.galaxy.light.find_light`), so that pictures of any scale show their galaxy alike; never wider
    than the picture's shorter side. Raises RecipeError for what cannot be.
    """

    size: int = 64  # px, side of the network's input
    crop: float = 0.0  # px, side of the central square shown; 0 = the whole shorter side
    pixel_scale: float = 0.0  # arcsec per pixel that `crop` is counted in; 0 = the cutout's own pixels
    bands: tuple[str, ...] = ()  # picked and ordered by name; empty = all, as they come
    stretch: str = "none"  # none (pictures), linear, sqrt, log, asinh, lupton
    softening: float = 0.1  # asinh, lupton, log: share of the range below which the stretch is linear
    low: float = 5.0  # percentile of the square shown that becomes 0
    high: float = 99.5  # percentile of the square's inner half (a bright star beside the galaxy is left out) -> 255
    per_band: bool = False  # True: each band has its own range; False: one range for all, so that colours stay
    limits: tuple[float, ...] = ()  # fixed low, high (of all bands, or of each in turn) in place of the percentiles
    smooth: float = 0.0  # px, FWHM, counted like `crop`; 0 = none
    mask: int = 0  # grey level; 0 = none
    petrosian: float = 0.0  # side of the square shown in Petrosian radii of the source, such as 3; 0 = off: see `crop`

    def __post_init__(self) -> None:
        if self.stretch not in STRETCHES:
            raise RecipeError(f"stretch is '{self.stretch}'; it may be one of: {', '.join(STRETCHES)}")
        if self.size < 8:
            raise RecipeError(f"size is {self.size} px; a network sees at least 8")
        if not (0 <= self.crop < math.inf and 0 <= self.pixel_scale < math.inf):
            raise RecipeError(f"crop ({self.crop}) and pixel_scale ({self.pixel_scale}) are 0 (unknown) or positive")
        if not 0 <= self.petrosian <= WIDEST_FRAME or (self.petrosian and self.crop):
            raise RecipeError(
                f"petrosian is {self.petrosian} and crop {self.crop}; the side of the square shown is given by one of "
                f"them, in Petrosian radii (0 = off, at most {WIDEST_FRAME:g}, such as 3) or in pixels"
            )
        if not 0 < self.softening < math.inf:
            raise RecipeError(f"softening is {self.softening}; it is a positive share of the range, such as 0.1")
        if not 0 <= self.low < self.high <= 100:
            raise RecipeError(f"low and high are {self.low} and {self.high}; they are percentiles, low < high")
        if len(set(self.bands)) < len(self.bands):
            raise RecipeError(f"bands are {', '.join(self.bands)}; each may stand there once")
        if self.stretch == "lupton" and self.bands and len(self.bands) != 3:
            raise RecipeError(f"lupton makes one picture of three bands, not of {', '.join(self.bands)}")
        pairs = list(zip(self.limits[::2], self.limits[1::2], strict=False))
        if len(self.limits) % 2 or any(not low < high for low, high in pairs):
            raise RecipeError(f"limits are {self.limits}; they are pairs low, high with low < high")
        if self.bands and len(pairs) not in (0, 1, len(self.bands)):
            raise RecipeError(f"limits are {len(pairs)} pairs for {len(self.bands)} bands; give one pair, or one each")
        smoothing.check(self.smooth, self.mask)

    @classmethod
    def for_bands(cls, bands: Sequence[str], **choices: Any) -> Display:
        """The default for these bands: pictures as they are, flux through asinh; ``choices`` are kept as given."""
        picture = tuple(bands) in (COLOUR, GREY)
        return cls(**{"bands": tuple(bands), "stretch": "none" if picture else "asinh", **choices})


def render(cutout: Cutout, display: Display, margin: int = 0) -> NDArray[np.uint8]:
    """What the network sees of a cutout: uint8 (bands, size + 2 margin, size + 2 margin); deterministic.

    The central square of side ``crop``, or that of ``petrosian`` radii about the source, is resampled to ``size`` by
    averaging under a Hamming-windowed kernel twice as wide as an output pixel (Pillow's HAMMING): nearly an area
    average, without the ringing that a Lanczos kernel gives around bright stars and the uneven columns that a box gives
    at fractional scales. ``margin`` adds as many pixels of the surroundings on each side, for augmentations that turn
    and shift; the centre is the same, bit for bit, for every margin. What lies outside the cutout is 0 in pictures, and
    the low end of the stretch in flux. Flux: pixels without data count as sky, the median of their band. Smoothing
    (:func:`~tuningfork.galaxy.smoothing.smoothed`) comes first, of the whole cutout; the mask comes last.

    Raises BadImage: MISSING_BAND; TOO_SMALL where the cutout covers less than half of the crop's side, the crop less
    than 4 px, or the cutout less than the FWHM; NO_COVERAGE where over half of a band's central square has no data,
    NO_SIGNAL where it is constant; with ``petrosian`` NO_SOURCE and TRUNCATED_SOURCE. RecipeError for flux without a
    stretch.
    """
    pixels = _pick(cutout, display)
    centre, side = _shown(pixels, cutout, display)
    square = Square(pixels.shape[1:], centre, side, display.size, margin)
    fwhm = _counted(display.smooth, display, cutout.pixel_scale, cutout.shrink)
    if display.stretch == "none":
        if pixels.dtype != np.uint8:
            raise RecipeError(
                f"stretch is 'none', but galaxy '{cutout.id}' is flux ({pixels.dtype}; {', '.join(cutout.bands)}): "
                "choose display.stretch = 'asinh', or another"
            )
        picture = square.fill(resampled_picture(smoothing.smoothed(pixels, fwhm), square))
        return smoothing.masked(picture, display.mask)
    flux = smoothing.smoothed(_without_holes(np.asarray(pixels, dtype=np.float32), square), fwhm)
    shown = np.stack([resampled(plane, square) for plane in flux])
    lows, highs = _levels(square.central(shown), display)
    return smoothing.masked(square.fill(stretched(shown, lows, highs, display)), display.mask)


def render_record(record: Record, display: Display, margin: int = 0) -> NDArray[np.uint8]:
    """Decode a record and :func:`render` it: the one path that training and prediction share.

    A JPEG is decoded 2, 4 or 8 times smaller where the crop is still at least as large as ``size`` then, but whole
    where it is to be smoothed or framed by its source: that depends on the display and the picture's header only, so
    one galaxy always gives the same pixels.
    """
    shrink = 1.0
    if record.format == "jpeg" and not display.smooth and not display.petrosian:
        shrink = max(1.0, _crop_side(display, record.size(), record.pixel_scale, 1.0) / display.size)
    cutout = record.cutout(shrink)
    if display.bands == LIGHT:
        cutout = as_light(cutout, upside_down=record.format == "fits")
    return render(cutout, display, margin)


def stretched(
    flux: NDArray[np.float32], lows: NDArray[np.float64], highs: NDArray[np.float64], display: Display
) -> NDArray[np.uint8]:
    """Flux (bands, height, width) as 8 bits, by the display's stretch between ``lows`` and ``highs`` of each band.

    With y = (x - low) / (high - low), cut to 0..1, and s the softening, a pixel becomes round(255 f(y)):

    * linear f = y; sqrt f = y^0.5; log f = log(1 + y/s) / log(1 + 1/s);
    * asinh f = asinh(y/s) / asinh(1/s): linear for faint y << s, logarithmic for bright y >> s (Lupton et al. 1999,
      AJ 118, 1406);
    * lupton (three bands): I = mean of the three y (not cut from above), each becomes y asinh(I/s) / (I asinh(1/s)),
      and a pixel of which a band passes 1 is divided by its largest band, so that bright cores keep their colour
      (Lupton et al. 2004, PASP 116, 133, equations 2 and 3).
    """
    s = np.float32(display.softening)
    low, span = lows.astype(np.float32)[:, None, None], (highs - lows).astype(np.float32)[:, None, None]
    y = np.maximum((flux - low) / span, np.float32(0))
    if display.stretch == "lupton":
        if len(y) != 3:
            raise RecipeError(
                f"lupton makes one picture of three bands; these are {len(y)}: name three in display.bands"
            )
        intensity = np.maximum(y.mean(axis=0), np.float32(1e-9))
        y = y * (np.arcsinh(intensity / s) / (np.arcsinh(1 / s) * intensity))
        y = y / np.maximum(y.max(axis=0), 1)
    else:
        y = np.minimum(y, np.float32(1))
        if display.stretch == "sqrt":
            y = np.sqrt(y)
        elif display.stretch == "log":
            y = np.log1p(y / s) / np.log1p(1 / s)
        elif display.stretch == "asinh":
            y = np.arcsinh(y / s) / np.arcsinh(1 / s)
    return np.rint(255 * np.minimum(y, np.float32(1))).astype(np.uint8)


def _levels(central: NDArray[np.float32], display: Display) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What becomes 0 and 255 in each band, by the central square alone, so that no margin changes it.

    Each band has its own low level, since the sky may have been subtracted or not; the range is shared by all bands
    (the largest of theirs) unless ``per_band``. The high level is sought where the galaxy is, in the inner half (of the
    side), so that a bright star beside a faint galaxy saturates and does not darken it; in the whole square where the
    inner half has no contrast.
    """
    if display.limits:
        pairs = np.array(display.limits, dtype=np.float64).reshape(-1, 2)
        if len(pairs) not in (1, len(central)):
            raise RecipeError(
                f"display.limits are {len(pairs)} pairs for {len(central)} bands; give one pair, or one each"
            )
        pairs = np.broadcast_to(pairs, (len(central), 2))
        return pairs[:, 0], pairs[:, 1]
    rows, columns = central.shape[1] // 4, central.shape[2] // 4
    inner = central[:, rows : central.shape[1] - rows, columns : central.shape[2] - columns]
    lows = np.percentile(central, display.low, axis=(1, 2)).astype(np.float64)
    spans = np.percentile(inner, display.high, axis=(1, 2)) - lows
    if not spans.max() > 0:
        spans = np.percentile(central, display.high, axis=(1, 2)) - lows
    if not display.per_band or display.stretch == "lupton":
        spans = np.full_like(spans, spans.max())
    if not (np.isfinite(spans).all() and (spans > 0).all()):
        detail = (
            f"a band has no contrast between percentiles {display.low:g} and {display.high:g} of the central square"
        )
        raise BadImage(Reason.NO_SIGNAL, detail)
    return lows, lows + spans


def _pick(cutout: Cutout, display: Display) -> NDArray[Any]:
    """The display's bands, in its order."""
    if not display.bands or display.bands == cutout.bands:
        return cutout.pixels
    if display.bands == LIGHT:
        return as_light(cutout).pixels
    missing = [band for band in display.bands if band not in cutout.bands]
    if missing:
        has, wanted = ", ".join(cutout.bands), ", ".join(missing)
        raise BadImage(Reason.MISSING_BAND, f"the galaxy has {has}; the display also wants {wanted}")
    return cutout.pixels[[cutout.bands.index(band) for band in display.bands]]


def _shown(pixels: NDArray[Any], cutout: Cutout, display: Display) -> tuple[tuple[float, float], float]:
    """Centre (y, x) and side of the square that is shown, in pixels of the cutout."""
    height, width = pixels.shape[1:]
    if not display.petrosian:
        return (height / 2, width / 2), _crop_side(display, (height, width), cutout.pixel_scale, cutout.shrink)
    source = find_light(pixels) if display.bands == LIGHT else find_source(pixels)
    centre, side = framed(source, display.petrosian, (height, width))
    if side < SMALLEST_CROP:
        raise BadImage(Reason.TOO_SMALL, f"the source's frame is {side:.2g} px; at least {SMALLEST_CROP} are needed")
    return centre, side


def _crop_side(display: Display, shape: tuple[int, ...], pixel_scale: float | None, shrink: float) -> float:
    """The side of the central square in pixels of an image of ``shape``, ``pixel_scale`` and ``shrink``."""
    if not display.crop:
        return float(min(shape))
    side = _counted(display.crop, display, pixel_scale, shrink)
    if side < SMALLEST_CROP:
        raise BadImage(
            Reason.TOO_SMALL, f"the crop is {side:.2g} px of this image; at least {SMALLEST_CROP} are needed"
        )
    if min(shape) < side / 2:
        raise BadImage(Reason.TOO_SMALL, f"{shape[0]} x {shape[1]} px of a crop of {side:.0f}: less than half")
    return side


def _counted(length: float, display: Display, pixel_scale: float | None, shrink: float) -> float:
    """A length of the display, such as its crop, in pixels of an image of ``pixel_scale`` and ``shrink``."""
    if display.pixel_scale and pixel_scale:
        return length * display.pixel_scale / pixel_scale
    return length / shrink


def _without_holes(flux: NDArray[np.float32], square: Square) -> NDArray[np.float32]:
    """Pixels without data replaced by the sky: the median of their band."""
    holes = ~np.isfinite(flux)
    if not holes.any():
        return flux
    filled = flux.copy()
    for band, (plane, hole) in enumerate(zip(filled, holes, strict=True)):
        share = square.source(hole).mean()
        if share > 0.5:
            raise BadImage(Reason.NO_COVERAGE, f"{100 * share:.0f}% of band {band}'s central square has no data")
        plane[hole] = np.median(plane[~hole])
    return filled


# Roughly where each filter lies, in nm: the order of colours in a picture.
WAVELENGTHS = {
    **{"FUV": 153, "NUV": 227, "u": 355, "B": 440, "g": 475, "V": 551, "r": 622, "R": 650, "VIS": 700, "i": 763},
    **{"I": 800, "z": 905, "y": 980, "Y": 1000, "J": 1250, "H": 1650, "K": 2200, "Ks": 2150},
}  # fmt: skip


def lupton_rgb(
    red: NDArray[Any],
    green: NDArray[Any],
    blue: NDArray[Any],
    *,
    low: Sequence[float] | None = None,
    span: float | None = None,
    softening: float | None = None,
    stretch: str = "lupton",
) -> NDArray[np.uint8]:
    """A colour picture (height, width, 3), uint8, of flux in three bands (height, width), red the longest wavelength.

    The "lupton" stretch of :func:`stretched` (Lupton et al. 2004, PASP 116, 133): colour is the ratio of the bands at
    every brightness; ``stretch`` may name another. ``low`` (three values) is what becomes black, by default each band's
    sky (median) less one sigma of its noise; ``span`` is the intensity above it that becomes white, by default the
    99.8th percentile; ``softening`` the share of the span where linear turns into logarithmic, by default five sigma of
    the noise, within 0.005 .. 0.5. NaN is black. Flux without contrast gives black.
    """
    flux = np.stack([red, green, blue]).astype(np.float32)
    sky, noise = sky_and_noise(flux)
    lows = sky - noise if low is None else np.asarray(low, dtype=np.float64)
    flux = np.where(np.isfinite(flux), flux, lows[:, None, None].astype(np.float32))
    intensity = (flux - lows[:, None, None]).mean(axis=0)
    span = float(np.percentile(intensity, 99.8)) if span is None else span
    if not span > 0:
        return np.zeros((*flux.shape[1:], 3), dtype=np.uint8)
    if softening is None:
        softening = float(np.clip(5 * noise.mean() / span, 0.005, 0.5))
    display = Display(stretch=stretch, softening=softening)
    return np.ascontiguousarray(np.moveaxis(stretched(flux, lows, lows + span, display), 0, -1))


def to_picture(cutout: Cutout) -> NDArray[np.uint8]:
    """A picture (height, width, 3), uint8, of any cutout, for people to look at (networks get :func:`render`).

    Pictures stay as they are, grey ones become three equal channels. Flux: one band becomes a grey asinh picture, two
    become red and blue with their mean between; of more, three are taken (i, r, g where they are there, else the last,
    middle and first by wavelength), balanced halfway between their own scales and equal brightness: surveys differ in
    zero points, and galaxies would else all be of one colour; asinh band by band, so that bright cores turn white. Rows
    run as they are stored.
    """
    pixels = cutout.pixels
    if pixels.dtype == np.uint8:
        chosen = pixels if len(pixels) == 3 else pixels[[0, 0, 0]] if len(pixels) < 3 else pixels[[0, 1, 2]]
        return np.ascontiguousarray(np.moveaxis(chosen, 0, -1))
    flux = np.asarray(pixels, dtype=np.float32)
    if len(flux) == 1:
        return lupton_rgb(flux[0], flux[0], flux[0])
    flux = flux[list(_colours(cutout.bands))]
    sky, noise = sky_and_noise(flux)
    above = np.percentile(np.nan_to_num(flux - sky[:, None, None]), 99.5, axis=(1, 2))
    gains = np.where(above > noise, 1 / np.sqrt(np.maximum(above, 1e-30)), 0)
    gains = gains / gains.max() if gains.max() > 0 else np.ones(len(flux))
    balanced = (flux - sky[:, None, None]) * gains[:, None, None]
    if len(balanced) == 2:
        balanced = np.stack([balanced[0], balanced.mean(axis=0), balanced[1]])
    return lupton_rgb(*balanced, stretch="asinh")


def _colours(bands: tuple[str, ...]) -> tuple[int, ...]:
    """Which planes are shown, red first: three of them, or both of two."""
    if all(band in bands for band in "irg"):
        return tuple(bands.index(band) for band in "irg")
    known = [plane for plane, band in enumerate(bands) if band in WAVELENGTHS]
    if len(known) < min(3, len(bands)):
        known = list(range(len(bands)))
    else:
        known.sort(key=lambda plane: WAVELENGTHS[bands[plane]])
    return (known[-1], known[0]) if len(known) == 2 else (known[-1], known[len(known) // 2], known[0])
