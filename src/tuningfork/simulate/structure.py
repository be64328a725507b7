"""Arms, bars, rings, clumps, tails and dust of a disk, rasterised on a canvas in the plane of the disk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from scipy.special import expit

from .profiles import Canvas
from .truth import Galaxy


@dataclass(frozen=True, eq=False)
class Plane:
    """Where each pixel lies in the plane of a disk, in its half-light radii: u along the major axis, v across it.

    Float32 (side, side). ``r`` and ``phi`` are the polar coordinates, phi growing anticlockwise on the sky (row 0 is
    the top). Disks seen at more than 80 degrees are treated as seen at 80: their structure is a line there anyway.
    """

    u: np.ndarray
    v: np.ndarray
    r: np.ndarray
    phi: np.ndarray


def plane(grid: Canvas, galaxy: Galaxy) -> Plane:
    """Deproject the canvas into the plane of the galaxy's disk."""
    angle = np.radians(galaxy.position_angle)
    sine, cosine = np.float32(np.sin(angle)), np.float32(np.cos(angle))
    x, y = grid.x - np.float32(galaxy.dx), grid.y - np.float32(galaxy.dy)
    flat = np.float32(max(np.cos(np.radians(galaxy.inclination)), 0.17))
    u = (-sine * x + cosine * y) / np.float32(galaxy.radius)
    v = (-cosine * x - sine * y) / (np.float32(galaxy.radius) * flat)
    return Plane(u, v, np.sqrt(u * u + v * v), np.arctan2(v, u))


def exponential(r: np.ndarray) -> np.ndarray:
    """exp(-r / h) of a disk whose half-light radius is 1 (h = 1 / 1.678), not normalised."""
    return np.exp(np.float32(-1.678347) * r)


def texture(rng: np.random.Generator, across: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Smooth random patches of mean 0 and deviation about 1, one per unit of the two coordinates; repeats after 48."""
    lattice = rng.standard_normal((48, 48)).astype(np.float32)
    lattice = scipy.ndimage.zoom(lattice, 2, order=3, mode="grid-wrap", grid_mode=True).astype(np.float32)
    places = np.stack([(2 * across) % 96, (2 * along) % 96])
    return scipy.ndimage.map_coordinates(lattice, places, order=1, mode="grid-wrap") * np.float32(1.25)


def arms(where: Plane, galaxy: Galaxy, rng: np.random.Generator) -> np.ndarray:
    """Light of logarithmic spiral arms, phi = phi0 + direction ln(r) / tan(pitch), unnormalised float32 >= 0.

    Each arm has its own pitch (by 16% / (1 + arms)), place and strength (more so the more flocculent), a von Mises
    profile across, a fading start at the bar's end or the bulge, and an end between 1.6 and 2.8 half-light radii.
    """
    log_r = np.log(np.maximum(where.r, 0.03))
    rough = np.float32(galaxy.flocculence)
    wobble = 0.18 * (0.5 + rough) * texture(rng, 1.3 * where.u + 24, 1.3 * where.v + 24)
    start = max(0.85 * galaxy.bar_length, 0.22 + 0.5 * galaxy.bulge_fraction)
    total = np.zeros_like(where.r)
    for number in range(galaxy.arms):
        pitch = np.radians(galaxy.pitch * np.exp(rng.normal(0, 0.16 / (1 + galaxy.arms))))
        place = np.radians(galaxy.phase) + 2 * np.pi * number / galaxy.arms
        place += rng.normal(0, (0.2 + 0.3 * rough) / (1 + galaxy.arms))
        sharpness = (0.75 + 0.55 * galaxy.arms) ** 1.5 / galaxy.arm_width**2
        end = rng.uniform(1.6, 2.8)
        angle = where.phi - galaxy.direction * (log_r - np.log(start)) / np.tan(pitch) - place + wobble
        weight = np.exp(rng.normal(0, 0.10 + 0.25 * rough))
        fade = expit((end - where.r) * 5) * expit((where.r - start) * 12)
        total += np.float32(weight) * fade * np.exp(np.float32(sharpness) * (np.cos(angle) - 1))
    turn = where.phi - galaxy.direction * log_r / np.tan(np.radians(galaxy.pitch))
    patches = texture(rng, turn * (20 / (2 * np.pi)), 4 * log_r + 20)
    total *= np.exp(rough * patches)
    return total * exponential(0.82 * where.r)


def bar(where: Plane, galaxy: Galaxy) -> np.ndarray:
    """Light of a bar: a flat-topped box of elliptic cross-section 4 : 1 (Ferrers-like), unnormalised float32 >= 0."""
    angle = np.radians(galaxy.phase)
    a = np.cos(angle) * where.u + np.sin(angle) * where.v
    b = -np.sin(angle) * where.u + np.cos(angle) * where.v
    m = (np.abs(a) / galaxy.bar_length) ** 3 + (np.abs(b) / (0.27 * galaxy.bar_length)) ** 2
    return np.maximum(1 - m, 0).astype(np.float32) + np.float32(0.35) * np.exp(-m)


def ring(where: Plane, galaxy: Galaxy, rng: np.random.Generator) -> np.ndarray:
    """Light of a ring of Gaussian cross-section and uneven brightness, unnormalised float32 >= 0."""
    width = galaxy.ring_radius * 0.13
    uneven = np.exp(0.35 * texture(rng, where.u * 2 + 24, where.v * 2 + 24))
    return np.exp(-0.5 * ((where.r - galaxy.ring_radius) / np.float32(width)) ** 2) * uneven


def clumps(grid: Canvas, where: Plane, galaxy: Galaxy, guide: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Knots of star formation, placed by chance with the probability ``guide`` (side, side); unnormalised float32 >= 0.

    Places are drawn in the disk's plane, independent of the canvas, and accepted by the guide's value there.
    """
    total = np.zeros_like(where.r)
    irregular = galaxy.kind == "irregular"
    limit = float(np.percentile(guide, 99.5)) + 1e-12
    wanted, angle = (7 if irregular else 16), np.radians(galaxy.position_angle)
    flat = max(np.cos(np.radians(galaxy.inclination)), 0.17)
    for _ in range(6 * wanted):
        r, phi, chance, bright, size = rng.uniform(0.1, 2.2), *rng.uniform(0, [2 * np.pi, 1.0]), *rng.random(2)
        u, v = r * np.cos(phi) * galaxy.radius, r * np.sin(phi) * galaxy.radius * flat
        x, y = -np.sin(angle) * u - np.cos(angle) * v + galaxy.dx, np.cos(angle) * u - np.sin(angle) * v + galaxy.dy
        column = round(float((x - grid.x[0, 0]) / grid.step))
        row = round(float((grid.y[0, 0] - y) / grid.step))
        inside = 0 <= row < grid.side and 0 <= column < grid.side
        if not inside or chance > guide[row, column] * r / limit or wanted == 0:
            continue
        wanted -= 1
        width = max(galaxy.radius * (0.16 if irregular else 0.05) * (0.5 + size), 0.7 * grid.step)
        reach = int(4 * width / grid.step) + 1
        box = np.s_[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
        square = (grid.x[:, box[1]] - x) ** 2 + (grid.y[box[0]] - y) ** 2
        total[box] += (bright**2 + 0.1) / width**2 * np.exp(-0.5 * square / width**2)
    return total


def tails(where: Plane, galaxy: Galaxy, rng: np.random.Generator) -> np.ndarray:
    """Light of one or two tidal tails: open arcs that widen and fade outwards to 5 radii, unnormalised float32 >= 0."""
    total = np.zeros_like(where.r)
    log_r = np.log(np.maximum(where.r, 0.05))
    turn = 1 if rng.random() < 0.5 else -1
    for number in range(1 if rng.random() < 0.4 else 2):
        pitch, end = np.radians(rng.uniform(32, 60)), rng.uniform(2.4, 4.5)
        angle = (
            where.phi - turn * log_r / np.tan(pitch) - np.pi * number - np.radians(galaxy.phase) + rng.normal(0, 0.3)
        )
        across = 2 * np.sin(0.5 * angle) * np.sqrt(where.r)
        fade = np.exp(-0.55 * where.r) * expit((end - where.r) * 4) * expit((where.r - 0.7) * 8)
        total += (
            np.float32(rng.uniform(0.5, 1.0))
            * fade
            * np.exp(-0.5 * (across / np.float32(rng.uniform(0.14, 0.3))) ** 2)
            * (np.cos(angle) > 0)
        )
    return total


def dust(grid: Canvas, where: Plane, galaxy: Galaxy, fwhm: float) -> np.ndarray:
    """Optical depth in r of the dust in front of the galaxy, float32 >= 0, already blurred to the seeing.

    Edge-on disks carry a lane along the midplane, shifted to the near side as they tilt; others carry lanes along the
    inner edges of their arms and a nearer half that is dimmer than the farther one.
    """
    if galaxy.inclination > 74:
        tilt = np.cos(np.radians(galaxy.inclination))
        angle = np.radians(galaxy.position_angle)
        x, y = grid.x - galaxy.dx, grid.y - galaxy.dy
        across = (-np.cos(angle) * x - np.sin(angle) * y) / galaxy.radius - 0.5 * tilt
        lane, seeing = 0.6 * galaxy.thickness / 1.678, fwhm / 2.355 / galaxy.radius
        width = np.hypot(lane, seeing)
        depth = galaxy.dust * np.exp(-0.5 * (across / width) ** 2) * (lane / width)
        return (depth * np.exp(-0.5 * (where.u / 1.2) ** 2)).astype(np.float32)
    side = 0.5 * (1 + np.sin(where.phi)) * np.sin(np.radians(galaxy.inclination)) ** 2
    depth = galaxy.dust * 0.35 * side * np.exp(-((where.r / 1.2) ** 2))
    if galaxy.arms and galaxy.direction:
        log_r = np.log(np.maximum(where.r, 0.05))
        turn = galaxy.direction * log_r / np.tan(np.radians(galaxy.pitch)) + np.radians(galaxy.phase)
        lane = np.exp(4.0 * galaxy.arms * (np.cos(galaxy.arms * (where.phi - turn) - 0.9 * galaxy.direction) - 1))
        depth = depth + galaxy.dust * 0.4 * lane * np.exp(-((where.r - 0.6) ** 2))
    return depth.astype(np.float32)
