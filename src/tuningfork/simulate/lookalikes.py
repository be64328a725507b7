"""What is in the middle of a stamp: early-type galaxies alone or in groups, and the galaxies that pass for lenses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .survey import SimulatedSurvey
from .truth import Galaxy, draw_class

LOOKALIKES: dict[str, float] = {"ring": 0.2, "merger": 0.2, "spiral": 0.2, "satellites": 0.2, "elliptical": 0.2}
"""What is no lens, and the share of each: ring galaxies, mergers, spirals, early-type galaxies with small neighbours
that stand like images, and the same early-type galaxies that lenses have, alone or in groups."""

GROUPS = 0.3
"""The share of stamps, lenses or not, whose middle is the brightest galaxy of a group or cluster."""


@dataclass(frozen=True)
class Place:
    """What is decided before it is known whether there is a lens: so that nothing of it can tell.

    ``group`` whether the galaxy in the middle has company, its ``redshift``, absolute magnitude ``absolute`` and
    total ``magnitude`` in r (AB).
    """

    group: bool
    redshift: float
    absolute: float
    magnitude: float


def luminosity_distance(redshift: float) -> float:
    """In Mpc, of a flat universe with H0 = 70 and Omega_m = 0.3: cz (1 + 0.75 z - 0.19 z^2) / H0, to 1% below z = 1."""
    return 4283 * redshift * (1 + 0.75 * redshift - 0.19 * redshift**2)


def distance_modulus(redshift: float) -> float:
    """m - M in magnitudes, without K correction."""
    return float(5 * np.log10(luminosity_distance(redshift)) + 25)


def kiloparsec(redshift: float) -> float:
    """Arcsec that a kiloparsec subtends."""
    return 206.265 * (1 + redshift) ** 2 / luminosity_distance(redshift)


def draw_place(rng: np.random.Generator, survey: SimulatedSurvey) -> Place:
    """Draw the middle of a stamp: luminous galaxies at redshifts .15 to .75, within the survey's magnitudes."""
    group = bool(rng.random() < GROUPS)
    redshift = float(np.clip(rng.normal(0.45, 0.14), 0.15, 0.75))
    absolute = float(rng.normal(-23.2, 0.4) if group else rng.normal(-22.4, 0.55))
    bright, faint = survey.magnitudes
    magnitude = absolute + distance_modulus(redshift) + 0.8 * redshift
    return Place(group, redshift, absolute, float(np.clip(magnitude, bright, max(faint, bright + 0.1))))


def early_type(rng: np.random.Generator, place: Place, fainter: float = 0.0) -> Galaxy:
    """A red galaxy of the place's redshift, ``fainter`` by so many magnitudes; sizes by Shen et al. (2003)."""
    absolute = place.absolute + fainter
    size = 10 ** (-0.26 * absolute - 5.06) * np.exp(rng.normal(0.0, 0.25))
    ratio = float(np.clip(1 - abs(rng.normal(0.16, 0.16)), 0.45, 1.0))
    return Galaxy(
        "elliptical",
        redshift=place.redshift,
        magnitude=place.magnitude + fainter,
        radius=float(np.clip(size * kiloparsec(place.redshift), 0.15, 6.0)),
        position_angle=float(rng.uniform(0, 180)),
        bulge_fraction=1.0,
        bulge_index=float(np.clip(rng.normal(3.8, 0.8), 1.5, 6.0)),
        bulge_radius=float(np.clip(size * kiloparsec(place.redshift), 0.15, 6.0) / np.sqrt(ratio)),
        bulge_axis_ratio=ratio,
        bulge_youth=float(rng.normal(0.0, 0.07)),
    )


def members(rng: np.random.Generator, place: Place) -> tuple[Galaxy, ...]:
    """The other galaxies of a group: red, fainter, and denser towards the middle; none where there is no group."""
    others = []
    for _ in range(4 + int(rng.poisson(5)) if place.group else 0):
        one = early_type(rng, place, float(rng.uniform(0.7, 3.6)))
        reach, angle = 2.0 + rng.exponential(9.0), rng.uniform(0, 2 * np.pi)
        others.append(replace(one, dx=float(reach * np.cos(angle)), dy=float(reach * np.sin(angle))))
    return tuple(others)


def draw_flavor(rng: np.random.Generator, place: Place) -> str:
    """Which look-alike: in a group the two that have an early-type galaxy; the shares of all are :data:`LOOKALIKES`."""
    early = ("satellites", "elliptical")
    crowd = sum(LOOKALIKES[name] for name in early)
    shares = {}
    for name, share in LOOKALIKES.items():
        inside = GROUPS * share / crowd if name in early else 0.0
        shares[name] = inside / GROUPS if place.group else (share - inside) / (1 - GROUPS)
    weights = np.array(list(shares.values()))
    return str(rng.choice(list(shares), p=weights / weights.sum()))


def draw_lookalike(rng: np.random.Generator, flavor: str, place: Place, survey: SimulatedSurvey) -> Galaxy:
    """Draw the galaxy in the middle of a stamp without a lens; ``flavor`` is one of :data:`LOOKALIKES`.

    All have the place's magnitude, as lenses have; the group's other members come apart.
    """
    if flavor == "elliptical":
        return early_type(rng, place)
    if flavor == "satellites":
        return _satellites(rng, place)
    if flavor == "ring":
        return _ring(rng, place)
    here = replace(survey, magnitudes=(place.magnitude - 1e-3, place.magnitude))
    name = "merger" if flavor == "merger" else str(rng.choice(["spiral_clockwise", "spiral_anticlockwise"]))
    drawn = draw_class(rng, name, here)
    if flavor == "spiral":
        return replace(drawn, arm_strength=min(drawn.arm_strength + 0.15, 0.85))
    return drawn


def _ring(rng: np.random.Generator, place: Place) -> Galaxy:
    """A red middle in a blue ring of 1 to 3 arcsec, as after a head-on collision (Lynds & Toomre 1976)."""
    radius = float(rng.uniform(1.0, 3.0))
    return Galaxy(
        "lenticular",
        redshift=0.5 * place.redshift,
        magnitude=place.magnitude,
        radius=radius / 1.15,
        position_angle=float(rng.uniform(0, 180)),
        bulge_fraction=float(rng.uniform(0.3, 0.65)),
        bulge_index=float(rng.uniform(1.5, 3.5)),
        bulge_radius=float(radius * rng.uniform(0.16, 0.32)),
        bulge_axis_ratio=float(rng.uniform(0.75, 1.0)),
        bulge_youth=float(rng.normal(0.02, 0.08)),
        inclination=float(np.degrees(np.arccos(rng.uniform(0.55, 1.0)))),
        disk_youth=float(rng.uniform(0.6, 1.0)),
        ring_radius=1.15,
        ring_strength=float(rng.uniform(0.65, 0.88)),
        clumps=float(rng.uniform(0.0, 0.1)),
        lopsided=float(rng.uniform(0.0, 0.06)),
    )


def _satellites(rng: np.random.Generator, place: Place) -> Galaxy:
    """A red galaxy and 2 to 5 small ones near it, most blue, some thin and tangential as arcs are, some as points."""
    main = early_type(rng, place)
    near = float(rng.uniform(0.9, 3.0) * (1.6 if place.group else 1.0))
    others = []
    for _ in range(int(rng.integers(2, 6))):
        angle, reach = float(rng.uniform(0, 360)), near * float(rng.uniform(0.85, 1.5))
        tangential = rng.random() < 0.5
        point = rng.random() < 0.3
        others.append(
            Galaxy(
                "spiral",
                redshift=0.0,
                magnitude=float(rng.uniform(22.0, 24.0)),
                radius=0.05 if point else float(rng.uniform(0.25, 0.8)),
                position_angle=angle - 90 if not tangential else angle,
                inclination=float(rng.uniform(70, 86) if tangential else rng.uniform(0, 75)),
                disk_youth=float(rng.uniform(0.5, 1.1) if rng.random() < 0.75 else rng.uniform(-0.1, 0.4)),
                dx=float(reach * np.cos(np.radians(angle))),
                dy=float(reach * np.sin(np.radians(angle))),
            )
        )
    return replace(main, companions=tuple(others))
