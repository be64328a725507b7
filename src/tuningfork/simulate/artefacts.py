"""What is no galaxy: trails, glare, broken readout and ghosts, and the spikes and bleeding of bright stars."""

from __future__ import annotations

import numpy as np

from .profiles import Canvas
from .survey import SimulatedSurvey, magnitude_offset
from .truth import Galaxy


def _axes(size: int) -> tuple[np.ndarray, np.ndarray]:
    axis = (np.arange(size) - 0.5 * (size - 1)).astype(np.float32)
    return axis[None, :], -axis[:, None]


def spikes(size: int, scale: float, angle: float, place: np.ndarray) -> np.ndarray:
    """Diffraction spikes of a unit star: a cross of two lines falling as 1 / r^1.5, float32 (size, size), sum 0.03.

    ``scale`` in arcsec per pixel, ``angle`` in degrees, ``place`` the star's (x, y) in arcsec from the middle.
    """
    x, y = (axis * scale - offset for axis, offset in zip(_axes(size), place, strict=True))
    total = np.zeros((size, size), np.float32)
    for turn in (np.radians(angle), np.radians(angle + 90)):
        along, across = np.cos(turn) * x + np.sin(turn) * y, -np.sin(turn) * x + np.cos(turn) * y
        total += np.exp(-0.5 * (across / max(0.5, 0.4 * scale)) ** 2) / (2.0 + np.abs(along)) ** 1.5
    return total * np.float32(0.03 / total.sum())


def add_artefact(
    image: np.ndarray,
    galaxy: Galaxy,
    bands: tuple[str, ...],
    survey: SimulatedSurvey,
    grid: Canvas,
    rng: np.random.Generator,
) -> None:
    """Add to the counts (bands, size, size), in place, what a bright star's optics or an artefact puts there."""
    if galaxy.kind not in ("star", "artefact"):
        return
    size, scale = image.shape[-1], grid.pixel_scale
    counts = [
        10 ** (0.4 * (survey.zero_point - galaxy.magnitude - magnitude_offset(b, galaxy.disk_youth))) for b in bands
    ]
    x, y = _axes(size)
    if galaxy.kind == "star" or galaxy.artefact == "glare":
        if galaxy.kind == "star":
            place = np.zeros(2)
        else:
            place = rng.uniform(-0.3, 0.3, 2) * size * scale
            _glare(image, counts, scale, place, rng)
        cross = spikes(size, scale, galaxy.phase, place)
        for number, flux in enumerate(counts):
            image[number] += np.float32(flux) * cross
    elif galaxy.artefact == "trail":
        angle, offset = np.radians(galaxy.phase), rng.uniform(-0.1, 0.1) * size
        across = (-np.sin(angle) * x + np.cos(angle) * y - offset) * scale
        line = np.exp(-0.5 * (across / max(0.5, 0.4 * scale)) ** 2) * scale**2
        number = int(rng.integers(len(bands)))  # the bands are exposed one after another: a trail is in one of them
        image[number] += np.float32(rng.uniform(6, 35) * survey.noise[bands[number]]) * line / survey.pixel_scale**2
    elif galaxy.artefact == "stripes":
        rows = slice(int(rng.uniform(0.2, 0.5) * size), int(rng.uniform(0.6, 0.95) * size))
        for number, band in enumerate(bands):
            level = survey.noise[band] * (scale / survey.pixel_scale) ** 2
            image[number, rows] += (level * rng.normal(4, 12, (rows.stop - rows.start, 1))).astype(np.float32)
    else:
        _ghost(image, bands, survey, scale, rng)


def _glare(image: np.ndarray, counts: list[float], scale: float, place: np.ndarray, rng: np.random.Generator) -> None:
    """The wings of a star off the middle: 1 / r^2.5 out to the edge, with a bleeding column."""
    x, y = (axis * scale for axis in _axes(image.shape[-1]))
    x0, y0 = place
    square = (x - x0) ** 2 + (y - y0) ** 2
    halo = (1 + square / 2.0) ** -1.25
    bleed = np.exp(-0.5 * ((x - x0) / max(0.5, 0.5 * scale)) ** 2) * np.exp(-np.abs(y - y0) / (5 * scale + 4))
    for number, flux in enumerate(counts):
        image[number] += (flux * scale**2 * (0.06 * halo + 0.03 * rng.random() * bleed)).astype(np.float32)


def _ghost(
    image: np.ndarray, bands: tuple[str, ...], survey: SimulatedSurvey, scale: float, rng: np.random.Generator
) -> None:
    """An out-of-focus image of a bright star: a faint disk or annulus, shifted from band to band."""
    size = image.shape[-1]
    x, y = _axes(size)
    radius, hole = rng.uniform(0.15, 0.35) * size, rng.uniform(0.0, 0.6)
    for number, band in enumerate(bands):
        x0, y0 = rng.normal(0, 0.04, 2) * size
        r = np.sqrt((x - x0) ** 2 + (y - y0) ** 2) / radius
        shape = 1 / (1 + np.exp((r - 1) * 18)) / (1 + np.exp((hole - r) * 18))
        level = survey.noise[band] * (scale / survey.pixel_scale) ** 2 * rng.uniform(1.5, 12)
        image[number] += (level * shape).astype(np.float32)
