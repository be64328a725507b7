"""One scene before the camera: galaxies, lensed light, neighbours and noise, and how well the arcs can be seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .background import Background, lensed
from .camera import Layer, add_noise, draw, draw_neighbours
from .profiles import Canvas, canvas, psf
from .scene import Scene
from .survey import SimulatedSurvey, magnitude_offset
from .truth import Galaxy, generator

JUDGED = ("g", "r", "i")
"""The bands in which visibility is judged, whichever are drawn: so that a lens is the same in any choice of bands."""

CONFUSION = 0.1
"""The share of the foreground's light that counts as noise: nobody knows a galaxy's light better than to 10%."""


@dataclass(frozen=True, eq=False)
class Exposure:
    """One stamp: ``flux`` float32 (bands, size, size) in the survey's counts, row 0 at the top, and what it shows.

    ``arcs`` is the lensed light alone, noiseless, of the same shape. ``background`` is the scene's with the magnitudes
    that were in fact drawn (None without a lens). ``snr`` and ``arc_pixels`` are of :func:`visibility`; ``seeing`` is
    the FWHM in r, arcsec.
    """

    flux: np.ndarray
    arcs: np.ndarray
    background: Background | None
    magnification: float
    n_images: int
    snr: float
    arc_pixels: int
    seeing: float


def weather(seed: int, index: int, survey: SimulatedSurvey) -> SimulatedSurvey:
    """The survey in the night of one stamp: its seeing by band, without any further scatter."""
    rng = generator(seed, index, 23)
    night = float(np.exp(rng.normal(0, survey.psf_scatter)))
    seeing = {
        band: round(fwhm * night * float(np.exp(rng.normal(0, 0.4 * survey.psf_scatter))), 3)
        for band, fwhm in survey.psf_fwhm.items()
    }
    return replace(survey, psf_fwhm=seeing, psf_scatter=0.0, registration=0.0, field=0.0)


def light(layers: tuple[Layer, ...], grid: Canvas, bands: tuple[str, ...], survey: SimulatedSurvey) -> np.ndarray:
    """Expose layers through the survey's point-spread function: noiseless counts, float32 (bands, size, size)."""
    stamps = np.zeros((len(bands), grid.size, grid.size), np.float32)
    for number, band in enumerate(bands if layers else ()):
        total = np.zeros((grid.side, grid.side // 2 + 1), np.complex64)
        for magnitude, youth, redshift, transform in layers:
            counts = 10 ** (0.4 * (survey.zero_point - magnitude - magnitude_offset(band, youth, redshift)))
            total += np.float32(counts) * transform
        blurred = grid.image(total * psf(grid, survey.psf_fwhm[band], survey.psf_beta))
        stamps[number] = grid.stamp(blurred)
    return stamps


def visibility(
    arcs: np.ndarray, front: np.ndarray, bands: tuple[str, ...], survey: SimulatedSurvey
) -> tuple[float, int]:
    """How well lensed light can be seen: its signal-to-noise in the best band, and on how many pixels.

    Of the pixels on which the arcs are brighter than one deviation of the sky: sum of their counts over the root of
    the summed variances noise^2 + counts / gain + (0.1 foreground)^2, the last because an arc is lost in a galaxy's
    light. ``arcs`` and ``front`` are noiseless counts (bands, height, width). (0, 0) where no pixel is that bright.
    """
    best = (0.0, 0)
    for number, band in enumerate(bands):
        sky, behind = survey.noise[band], np.maximum(front[number], 0)
        seen = arcs[number] > sky
        if not seen.any():
            continue
        variance = sky**2 + (arcs[number] + behind) / survey.gain[band] + (CONFUSION * behind) ** 2
        best = max(best, (float(arcs[number][seen].sum() / np.sqrt(variance[seen].sum())), int(seen.sum())))
    return best


def expose(
    scene: Scene,
    bands: tuple[str, ...],
    survey: SimulatedSurvey,
    size: int,
    *,
    snr: float = 25.0,
    backdrop: np.ndarray | None = None,
    noise: bool = True,
    neighbours: bool = True,
) -> Exposure:
    """Draw a scene; a lens whose arcs have a signal-to-noise below ``snr`` is made brighter until they have.

    ``backdrop`` (bands, size, size), a stamp that is there already with its own sky and noise, takes the place of
    galaxy, neighbours and noise: only arcs and their photon noise are added. The same scene gives the same pixels.
    """
    night = weather(scene.seed, scene.index, survey)
    scale = survey.pixel_scale
    grid = canvas(size, round(scale, 6), round(0.42 * survey.psf_fwhm["r"], 6))
    judged = JUDGED if backdrop is None else bands
    drawn = tuple(dict.fromkeys((*judged, *bands)))  # the judged bands come first
    wanted = [drawn.index(band) for band in bands]
    if backdrop is not None:
        front = backdrop
    elif scene.foreground is not None:
        front = draw(scene.foreground, drawn, night, size, noise=False, neighbours=False)
        if not scene.place.group:
            front *= _without_wings(grid)
    else:
        front = np.zeros((len(drawn), size, size), np.float32)
    arcs, background, magnification, n_images, seen = np.zeros_like(front), scene.background, 1.0, 0, (0.0, 0)
    if background is not None:
        found = lensed(grid, scene.deflector, background)
        arcs = light(found.layers, grid, drawn, night)
        target = snr * float(np.exp(generator(scene.seed, scene.index, 24).exponential(0.45)))
        brighter, seen = _brightening(arcs, front, judged, survey, target, snr)
        arcs = arcs * np.float32(brighter)
        background = brightened(background, brighter)
        magnification, n_images = found.magnification, found.n_images
    flux, arcs = (front + arcs)[wanted], arcs[wanted]
    if backdrop is not None:
        flux = flux + _photons(scene, arcs, bands, survey)
    elif neighbours:
        flux = flux + _others(scene, grid, bands, night)
    if noise and backdrop is None:
        rngs = {band: generator(scene.seed, scene.index, 3000 + ord(band)) for band in bands}
        flux = add_noise(flux, bands, survey, scale, rngs)
    return Exposure(flux, arcs, background, magnification, n_images, *seen, night.psf_fwhm["r"])


def _without_wings(grid: Canvas) -> np.ndarray:
    """1 within 7 arcsec of the stamp's centre, falling to 0 at 11: what subtracting the local sky leaves of a galaxy.

    A lone lens is an early-type galaxy, most of its look-alikes are not; by the faint wings of its light at the edge of
    the stamp a network could else tell one from the other without looking at the middle.
    """
    axis = (np.arange(grid.size) - 0.5 * (grid.size - 1)) * grid.pixel_scale
    rest = np.clip((11 - np.hypot(axis[:, None], axis[None])) / 4, 0, 1)
    return (rest * rest * (3 - 2 * rest)).astype(np.float32)


def brightened(background: Background, factor: float) -> Background:
    """The background with all its light times ``factor``."""
    less = float(2.5 * np.log10(factor))
    quasar = None if background.quasar_magnitude is None else background.quasar_magnitude - less
    return replace(background, magnitude=background.magnitude - less, quasar_magnitude=quasar)


def _brightening(
    arcs: np.ndarray, front: np.ndarray, bands: tuple[str, ...], survey: SimulatedSurvey, target: float, least: float
) -> tuple[float, tuple[float, int]]:
    """The factor that makes arcs visible, 1 where they are, and what is then seen."""
    factor, n = 1.0, len(bands)
    seen = visibility(arcs[:n], front[:n], bands, survey)
    if seen[0] >= least:
        return factor, seen
    for _ in range(40):
        factor *= 1.15
        seen = visibility(factor * arcs[:n], front[:n], bands, survey)
        if seen[0] >= target:
            break
    return factor, seen


def _others(scene: Scene, grid: Canvas, bands: tuple[str, ...], night: SimulatedSurvey) -> np.ndarray:
    """Chance neighbours; whatever is in the middle, they come from one and the same population."""
    nobody = Galaxy("spiral", redshift=scene.place.redshift)
    rng = generator(scene.seed, scene.index, 25)
    return light(tuple(draw_neighbours(grid, nobody, night, rng)), grid, bands, night)


def _photons(scene: Scene, arcs: np.ndarray, bands: tuple[str, ...], survey: SimulatedSurvey) -> np.ndarray:
    """The photon noise of arcs alone, for stamps that have all other noise already."""
    extra = np.empty_like(arcs)
    for number, band in enumerate(bands):
        unit = generator(scene.seed, scene.index, 3000 + ord(band)).standard_normal(arcs[number].shape, np.float32)
        extra[number] = unit * np.sqrt(np.maximum(arcs[number], 0) / survey.gain[band])
    return extra
