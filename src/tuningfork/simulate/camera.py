"""One galaxy as a survey's camera sees it: components, neighbours, artefacts and noise on a stamp per band."""

from __future__ import annotations

import numpy as np
import scipy.ndimage

from . import structure
from .artefacts import add_artefact
from .profiles import Canvas, canvas, disk, psf, sersic, shift, thick
from .survey import SimulatedSurvey, check_bands, find_survey, magnitude_offset
from .truth import Galaxy, generator

DUST_LAW = {"u": 1.8, "g": 1.4, "r": 1.0, "i": 0.75, "z": 0.55, "Y": 0.48}
"""Extinction by band over that in r (Cardelli, Clayton & Mathis 1989, rounded)."""


def stamp_scale(galaxy: Galaxy, survey: SimulatedSurvey, size: int) -> float:
    """The pixel scale in arcsec of a stamp of ``size`` px: the survey's own, or ``field`` R90 across the stamp."""
    if not survey.field:
        return survey.pixel_scale
    return float(survey.field * max(galaxy.petrosian(survey.psf_fwhm["r"]), 1.2) / size)


def draw(
    galaxy: Galaxy,
    bands: tuple[str, ...] = ("g", "r", "i"),
    survey: str | SimulatedSurvey = "sdss",
    size: int = 64,
    *,
    noise: bool = True,
    neighbours: bool = True,
) -> np.ndarray:
    """Draw a galaxy: float32 (bands, size, size) in the survey's counts per pixel, sky subtracted, row 0 at the top.

    The survey's zero point turns counts into magnitudes (AB): 22.5 (nanomaggies) for "sdss", 30 for "des". The pixel
    scale is :func:`stamp_scale`. North is up, east to the left. The same galaxy gives the same pixels, always, in each
    band whichever others are asked for (an artefact's trail lies in one of those that are).
    Raises BandError on unknown bands, RecipeError on an unknown survey, MissingExtra without GalSim.
    """
    bands, where = check_bands(bands), find_survey(survey)
    scale = stamp_scale(galaxy, where, size)
    rng = generator(galaxy.seed, galaxy.index, 1)
    seeing = float(np.exp(rng.normal(0, where.psf_scatter)))
    band_rng = {band: generator(galaxy.seed, galaxy.index, 1000 + ord(band)) for band in bands}
    grid = canvas(size, round(scale, 6), 0.42 * where.psf_fwhm["r"])
    others = draw_neighbours(grid, galaxy, where, rng) if neighbours else []
    layers = [layer for part in (galaxy, *galaxy.companions) for layer in _layers(grid, part)]
    depth = _dust_depth(grid, galaxy, seeing * where.psf_fwhm["r"])
    stamps = []
    for band in bands:
        own = np.exp(band_rng[band].normal(0, 0.4 * where.psf_scatter))
        miss = band_rng[band].normal(0, where.registration, 2)
        blur = psf(grid, seeing * own * where.psf_fwhm[band], where.psf_beta) * shift(grid, *miss)
        light = grid.image(_expose(layers, grid, band, where) * blur)
        if depth is not None:
            light = light * np.exp(-np.float32(DUST_LAW[band]) * depth)
        if others:
            light += grid.image(sum(_flux(m, y, z, band, where) * t for m, y, z, t in others) * blur)
        stamps.append(grid.stamp(light))
    image = np.stack(stamps)
    add_artefact(image, galaxy, bands, where, grid, rng)
    return add_noise(image, bands, where, scale, band_rng) if noise else image


def _flux(magnitude: float, youth: float, redshift: float, band: str, survey: SimulatedSurvey) -> np.float32:
    """Counts in a band of light of r ``magnitude`` and colour ``youth``."""
    return np.float32(10 ** (0.4 * (survey.zero_point - magnitude - magnitude_offset(band, youth, redshift))))


Layer = tuple[float, float, float, np.ndarray]  # r magnitude, youth, redshift, and a transform of unit flux


def _expose(layers: list[Layer], grid: Canvas, band: str, survey: SimulatedSurvey) -> np.ndarray:
    total = np.zeros((grid.side, grid.side // 2 + 1), np.complex64)
    for magnitude, youth, redshift, transform in layers:
        total += _flux(magnitude, youth, redshift, band, survey) * transform
    return total


def _layers(grid: Canvas, galaxy: Galaxy) -> list[Layer]:
    """The components of a galaxy, each as a transform of unit flux; their r fluxes add up to its magnitude."""
    if galaxy.kind == "artefact":
        return []
    here = shift(grid, galaxy.dx, galaxy.dy)
    if galaxy.kind == "star":
        return [(galaxy.magnitude, galaxy.disk_youth, 0.0, here)]
    parts: list[tuple[float, float, np.ndarray]] = []
    if galaxy.bulge_fraction > 0:
        parts.append((galaxy.bulge_fraction, galaxy.bulge_youth, _bulge(grid, galaxy, here)))
    if galaxy.bulge_fraction < 1 or galaxy.tail:
        parts += _disk_parts(grid, galaxy, here)
    whole = sum(share for share, _, _ in parts)
    return [
        (galaxy.magnitude - 2.5 * np.log10(share / whole), youth, galaxy.redshift, transform)
        for share, youth, transform in parts
        if share > 0
    ]


def _bulge(grid: Canvas, galaxy: Galaxy, here: np.ndarray) -> np.ndarray:
    if not galaxy.bulge_boxy:
        return here * sersic(
            grid, galaxy.bulge_index, galaxy.bulge_radius, galaxy.bulge_axis_ratio, galaxy.position_angle
        )
    angle = np.radians(galaxy.position_angle)
    x, y = grid.x - galaxy.dx, grid.y - galaxy.dy
    major = np.abs(-np.sin(angle) * x + np.cos(angle) * y) / galaxy.bulge_radius
    minor = np.abs(np.cos(angle) * x + np.sin(angle) * y) / (galaxy.bulge_radius * galaxy.bulge_axis_ratio)
    return _unit(grid, np.exp(-1.68 * (major**4 + minor**4) ** 0.25))


def _unit(grid: Canvas, image: np.ndarray) -> np.ndarray:
    return grid.transform((image / max(float(image.sum()), 1e-12)).astype(np.float32))


def _disk_parts(grid: Canvas, galaxy: Galaxy, here: np.ndarray) -> list[tuple[float, float, np.ndarray]]:
    """The disk's smooth light and its structures as (share of the galaxy, youth, transform)."""
    rng = generator(galaxy.seed, galaxy.index, 2 + int(1000 * abs(galaxy.dx)) % 997)
    light = 1 - galaxy.bulge_fraction
    height = galaxy.thickness * galaxy.radius / 1.678
    where = structure.plane(grid, galaxy)
    young = min(galaxy.disk_youth + 0.25, 1.15)
    drawn: list[tuple[float, float, np.ndarray]] = []
    guide = structure.exponential(where.r)
    if galaxy.arm_strength and galaxy.arms and light > 0:
        guide = structure.arms(where, galaxy, rng)
        drawn.append((galaxy.arm_strength, young, guide))
    if galaxy.ring_strength:
        drawn.append((galaxy.ring_strength, 0.5 * (young + galaxy.disk_youth), structure.ring(where, galaxy, rng)))
    if galaxy.bar_length and galaxy.bar_strength:
        drawn.append((galaxy.bar_strength, 0.6 * galaxy.disk_youth, structure.bar(where, galaxy)))
    if galaxy.clumps:
        drawn.append((galaxy.clumps, min(young + 0.2, 1.25), structure.clumps(grid, where, galaxy, guide, rng)))
    if galaxy.lopsided:
        uneven = structure.texture(rng, 1.4 * where.u + 24, 1.4 * where.v + 24) + np.cos(
            where.phi - rng.uniform(0, 6.3)
        )
        drawn.append((galaxy.lopsided, galaxy.disk_youth, structure.exponential(where.r) * np.exp(uneven)))
    vertical = thick(grid, height, galaxy.inclination, galaxy.position_angle)
    shares = sum(share for share, _, _ in drawn)
    squeeze = min(1.0, 0.9 / shares) if shares else 1.0
    smooth = light * (1 - squeeze * shares)
    parts = [(light * squeeze * share, youth, _unit(grid, image) * vertical) for share, youth, image in drawn]
    if smooth > 0:
        body = here * disk(grid, galaxy.radius, galaxy.inclination, height, galaxy.position_angle)
        parts.append((smooth, galaxy.disk_youth, body))
    if galaxy.tail:
        parts.append((galaxy.tail, max(galaxy.disk_youth, 0.3), _unit(grid, structure.tails(where, galaxy, rng))))
    return parts


def _dust_depth(grid: Canvas, galaxy: Galaxy, fwhm: float) -> np.ndarray | None:
    if not galaxy.dust or galaxy.kind in ("star", "artefact"):
        return None
    return structure.dust(grid, structure.plane(grid, galaxy), galaxy, fwhm)


def draw_neighbours(grid: Canvas, galaxy: Galaxy, survey: SimulatedSurvey, rng: np.random.Generator) -> list[Layer]:
    """Stars and galaxies that happen to lie in the field, as layers: N(<m) grows as 10^(0.35 m) to ``faintest``.

    Ellipticals live in company: one in seven has three times as many neighbours, of its own colour.
    """
    side = grid.side * grid.step
    crowd = survey.crowd * (side / 60) ** 2
    cluster = galaxy.kind == "elliptical" and rng.random() < 0.15
    layers: list[Layer] = []
    for _ in range(min(int(rng.poisson(crowd * (3 if cluster else 1))), 60)):
        fainter, x, y, kind, colour, size, ratio, angle = rng.random(8)
        magnitude = survey.faintest + np.log10(max(fainter, 1e-4)) / (0.2 if kind < survey.stars else 0.35)
        if magnitude < (13.5 if kind < survey.stars else 16.5):
            continue
        here = shift(grid, (x - 0.5) * side, (y - 0.5) * side)
        if kind < survey.stars:
            youth = -0.7 + 0.9 * colour if colour < 0.65 else 1.2 * colour - 0.45
            layers.append((magnitude, youth, 0.0, here))
            continue
        radius = 10 ** (-0.14 * (magnitude - 21)) * np.exp(0.8 * (size - 0.5)) * 0.8
        redshift, youth = (galaxy.redshift, 0.1 * colour) if cluster else (0.15 + 0.35 * size, colour)
        shape = disk(grid, radius, float(np.degrees(np.arccos(0.25 + 0.75 * ratio))), 0.1 * radius, 180 * angle)
        layers.append((magnitude, youth, redshift, here * shape))
    return layers


def add_noise(
    image: np.ndarray,
    bands: tuple[str, ...],
    survey: SimulatedSurvey,
    scale: float,
    rng: dict[str, np.random.Generator],
) -> np.ndarray:
    """Add sky and photon noise to counts (bands, height, width), as native pixels resampled to ``scale`` would have it.

    The variance per native pixel is noise^2 + counts / gain. A stamp finer than the native pixels gets noise drawn on
    native pixels and interpolated, as an enlarged picture has it; a coarser one white noise of the averaged variance.
    Each band has its own ``rng``, so that a band is the same whichever others are drawn.
    """
    area = (scale / survey.pixel_scale) ** 2
    _, height, width = image.shape
    noisy = np.empty_like(image)
    for number, band in enumerate(bands):
        unit = _unit_noise(rng[band], (height, width), scale / survey.pixel_scale, survey.noise_blend)
        variance = survey.noise[band] ** 2 + np.maximum(image[number] / area, 0) / survey.gain[band]
        noisy[number] = image[number] + unit * np.sqrt(variance) * area
    return noisy


def _unit_noise(rng: np.random.Generator, shape: tuple[int, int], ratio: float, blend: float) -> np.ndarray:
    """Noise per pixel in units of the native deviation of surface brightness; ``ratio`` is pixel over native pixel."""
    if ratio > 0.95:
        white = rng.standard_normal(shape, np.float32)
        if blend:
            kernel = np.array([blend, 1, blend], np.float32) / np.sqrt(1 + 2 * blend**2)
            for axis in (0, 1):
                white = scipy.ndimage.correlate1d(white, kernel, axis=axis, mode="wrap")
        return white / np.float32(max(ratio, 1.0))
    native = [int(np.ceil(side * ratio)) + 3 for side in shape]
    white = rng.standard_normal(native, np.float32)
    start = rng.random(2)
    places = np.meshgrid(
        *(np.arange(side) * ratio + begin for side, begin in zip(shape, start, strict=True)), indexing="ij"
    )
    return scipy.ndimage.map_coordinates(white, places, order=1, mode="nearest").astype(np.float32)
