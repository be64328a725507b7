"""What a simulated galaxy is: every parameter of it, and the demographics from which the parameters are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..errors import RecipeError
from .survey import SimulatedSurvey, find_survey

CLASSES: dict[str, float] = {
    "elliptical": 0.44,
    "spiral_clockwise": 0.18,
    "spiral_anticlockwise": 0.18,
    "edge_on": 0.12,
    "merger": 0.03,
    "irregular": 0.03,
    "star_or_artefact": 0.02,
}
"""The classes (Galaxy Zoo 1 names) and the share each has unless told otherwise. Lenticulars count as elliptical."""

ARTEFACTS = ("trail", "glare", "stripes", "ghost")
"""What an artefact can be: a satellite's trail, a star's glare, a broken readout, an out-of-focus ghost."""


@dataclass(frozen=True)
class Galaxy:
    """The truth about one galaxy (or star, or artefact). Angles in degrees, lengths in arcsec unless said otherwise.

    ``kind``: elliptical, lenticular, spiral, irregular, merger, star or artefact (then ``artefact`` says which).
    ``magnitude`` is the total r (AB), companions apart. ``radius`` is the half-light radius of the disk along its
    major axis, or of the spheroid where there is no disk. ``position_angle`` runs from north (up) through east
    (left). ``bulge_fraction`` is the bulge's share of the r light; ``bulge_*`` its Sersic index, half-light radius,
    axis ratio, and whether it is boxy. The disk: ``inclination`` (0 face-on), ``thickness`` (scale height over scale
    length). Structure, as shares of the disk's r light: ``arm_strength``, ``bar_strength``, ``ring_strength``,
    ``clumps``, ``tail``; ``arms`` in number, ``pitch`` their pitch angle (small is tight), ``direction`` +1 clockwise
    (the letter Z), -1 anticlockwise (the letter S), 0 none; ``flocculence`` 0..1 breaks them up; ``bar_length`` and
    ``ring_radius`` in ``radius``; ``phase`` where arms and bar start. ``dust`` is the optical depth of lanes in r.
    ``lopsided`` shifts the disk's light to one side. ``*_youth`` 0..1 sets the colours, see
    ``survey.magnitude_offset``. ``dx``, ``dy`` shift it from the stamp's centre (to the right, up); ``companions``
    are galaxies that are part of the system.
    """

    kind: str
    seed: int = 0
    index: int = 0
    redshift: float = 0.05
    magnitude: float = 16.0
    radius: float = 3.0
    position_angle: float = 0.0
    bulge_fraction: float = 0.0
    bulge_index: float = 2.0
    bulge_radius: float = 1.0
    bulge_axis_ratio: float = 1.0
    bulge_boxy: bool = False
    bulge_youth: float = 0.0
    inclination: float = 0.0
    thickness: float = 0.12
    disk_youth: float = 0.5
    arms: int = 0
    pitch: float = 18.0
    direction: int = 0
    phase: float = 0.0
    arm_strength: float = 0.0
    arm_width: float = 1.0
    flocculence: float = 0.2
    bar_length: float = 0.0
    bar_strength: float = 0.0
    ring_radius: float = 0.0
    ring_strength: float = 0.0
    dust: float = 0.0
    clumps: float = 0.0
    lopsided: float = 0.0
    tail: float = 0.0
    artefact: str = ""
    dx: float = 0.0
    dy: float = 0.0
    companions: tuple[Galaxy, ...] = ()

    @property
    def label(self) -> str:
        """The class by the names of Galaxy Zoo 1 (:data:`CLASSES`)."""
        if self.kind in ("star", "artefact"):
            return "star_or_artefact"
        if self.kind in ("merger", "irregular"):
            return self.kind
        if self.kind != "elliptical" and self.inclination >= 78:
            return "edge_on"
        if self.kind == "spiral" and self.arms and self.direction:
            return "spiral_clockwise" if self.direction > 0 else "spiral_anticlockwise"
        return "elliptical"

    @property
    def axis_ratio(self) -> float:
        """Minor over major axis on the sky of the component that carries most light."""
        if self.bulge_fraction > 0.5:
            return self.bulge_axis_ratio
        flat = np.cos(np.radians(self.inclination)) ** 2
        return float(np.sqrt(flat + (1 - flat) * self.thickness**2))

    @property
    def half_light(self) -> float:
        """The half-light radius in a circular aperture, in arcsec, to about 10%; without the point-spread function."""
        disk = self.radius * (0.5 * (1 + self.axis_ratio)) ** 0.75
        bulge = self.bulge_radius * (0.5 * (1 + self.bulge_axis_ratio)) ** 0.75
        return float(disk * (1 - self.bulge_fraction) + bulge * self.bulge_fraction)

    def petrosian(self, fwhm: float) -> float:
        """Roughly the radius in arcsec that holds 90% of the Petrosian flux, blurred by a PSF of ``fwhm`` arcsec."""
        concentration = (
            2.65 - 0.08 * self.bulge_fraction * self.bulge_index
        )  # Petrosian apertures lose a de Vaucouleurs wing
        crowd = 1.35 if self.kind == "merger" else 1.0
        return float(np.hypot(crowd * concentration * self.half_light, 0.9 * fwhm))


def generator(seed: int, index: int, stream: int = 0) -> np.random.Generator:
    """The random numbers of one galaxy: the same for (seed, index, stream) in any process, whatever else is drawn."""
    return np.random.default_rng(np.random.SeedSequence(entropy=(abs(seed), int(seed < 0), index, stream)))


def draw_population(
    seed: int,
    n: int,
    survey: str | SimulatedSurvey = "sdss",
    class_weights: Mapping[str, float] | None = None,
    start: int = 0,
) -> Iterator[Galaxy]:
    """Yield the galaxies ``start`` .. ``n - 1`` of the simulated sky ``seed``.

    Galaxy i depends on (seed, i), the survey and the weights only. ``class_weights`` are relative shares by the names
    of :data:`CLASSES`, the unnamed being left out. Raises RecipeError on an unknown class or weights without a sum.
    """
    names, shares = class_shares(class_weights)
    where = find_survey(survey)
    for index in range(start, n):
        rng = generator(seed, index)
        name = names[int(np.searchsorted(np.cumsum(shares)[:-1], rng.random(), side="right"))]
        yield replace(draw_class(rng, name, where), seed=seed, index=index)


def class_shares(class_weights: Mapping[str, float] | None) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and normalised shares of the classes asked for. Raises RecipeError, naming what is not a class."""
    weights = dict(CLASSES if class_weights is None else class_weights)
    unknown = sorted(set(weights) - set(CLASSES))
    if unknown:
        raise RecipeError(f"no class {unknown[0]!r} to simulate: choose among {', '.join(CLASSES)}")
    weights = {name: weights[name] for name in CLASSES if name in weights}
    shares = np.array([float(share) for share in weights.values()])
    if not len(shares) or not np.isfinite(shares).all() or (shares < 0).any() or shares.sum() <= 0:
        raise RecipeError(f"class weights must be numbers >= 0, one of them > 0; got {weights}")
    return tuple(weights), shares / shares.sum()


def draw_class(rng: np.random.Generator, name: str, survey: SimulatedSurvey) -> Galaxy:
    """Draw one galaxy of a class of :data:`CLASSES` for a survey's magnitude range."""
    if name == "star_or_artefact":
        return _draw_intruder(rng)
    late = name not in ("elliptical",)
    magnitude, redshift, radius = _draw_size(rng, survey, late)
    seen = Galaxy("", magnitude=magnitude, redshift=redshift, radius=radius, position_angle=float(rng.uniform(0, 180)))
    if name == "elliptical":
        return _draw_elliptical(rng, seen) if rng.random() < 0.7 else _draw_lenticular(rng, seen)
    if name == "edge_on":
        return _draw_edge_on(rng, seen)
    if name == "irregular":
        return _draw_irregular(rng, seen)
    if name == "merger":
        return _draw_merger(rng, seen)
    return _draw_spiral(rng, seen, 1 if name == "spiral_clockwise" else -1)


def _draw_size(rng: np.random.Generator, survey: SimulatedSurvey, late: bool) -> tuple[float, float, float]:
    """Magnitude, redshift and half-light radius (arcsec), by the size-luminosity relations of Shen et al. (2003)."""
    bright, faint = survey.magnitudes
    steps = survey.slope * np.log(10)
    magnitude = faint + np.log(
        np.exp(-steps * (faint - bright)) + rng.random() * (1 - np.exp(-steps * (faint - bright)))
    )
    magnitude = float(faint + (magnitude - faint) / steps)
    absolute = float(np.clip(rng.normal(-20.8 if late else -21.4, 0.8), -23.2, -18.5))
    redshift = 0.05
    for _ in range(6):  # luminosity distance c z (1 + 0.78 z) / H0 for Omega_m 0.3, and a K correction of z
        distance = 10 ** ((magnitude - absolute - 1.1 * redshift - 25) / 5)
        redshift = float(np.clip(0.5 * redshift + 0.5 * distance / 4283 / (1 + 0.78 * redshift), 0.003, 0.8))
    per_arcsec = distance * 1e3 / (1 + redshift) ** 2 / 206265
    if late:
        size = -0.4 * 0.26 * absolute + 0.25 * np.log10(1 + 10 ** (-0.4 * (absolute + 20.91))) - 1.71
    else:
        size = -0.4 * 0.65 * absolute - 5.06
    radius = 10**size * np.exp(rng.normal(0.1, 0.28)) / per_arcsec
    return magnitude, redshift, float(np.clip(radius, 0.5, 25.0))


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _draw_elliptical(rng: np.random.Generator, seen: Galaxy) -> Galaxy:
    ratio = float(np.clip(1 - abs(rng.normal(0.12, 0.17)), 0.4, 1.0))
    companions: tuple[Galaxy, ...] = ()
    if rng.random() < 0.06:  # a companion by chance, undisturbed
        companions = (_beside(rng, seen, _between(rng, 2.0, 3.5), "elliptical"),)
    return replace(
        seen,
        kind="elliptical",
        bulge_fraction=1.0,
        bulge_index=float(np.clip(rng.normal(3.6, 0.9), 1.5, 6.0)),
        bulge_radius=seen.radius / np.sqrt(ratio),
        bulge_axis_ratio=ratio,
        bulge_youth=float(np.clip(rng.normal(0.04, 0.2) + 0.5 * (rng.random() < 0.08), -0.35, 0.9)),
        companions=companions,
    )


def _bulged(rng: np.random.Generator, seen: Galaxy, fraction: float) -> Galaxy:
    """Give a disk its bulge: small ones are exponential and blue-ish (pseudo-bulges), large ones old and peaked."""
    index = float(np.clip(rng.normal(1.2 + 4.0 * fraction, 0.6), 0.75, 4.0))
    ratio = float(np.clip(1 - (1 - np.cos(np.radians(seen.inclination))) * _between(rng, 0.25, 0.55), 0.45, 1.0))
    return replace(
        seen,
        bulge_fraction=fraction,
        bulge_index=index,
        bulge_radius=seen.radius * float(np.clip(0.12 + 0.55 * fraction, 0.1, 0.6) * np.exp(rng.normal(0, 0.2))),
        bulge_axis_ratio=ratio,
        bulge_youth=float(np.clip(rng.normal(0.03, 0.12), -0.1, 0.6)),
    )


def _draw_lenticular(rng: np.random.Generator, seen: Galaxy) -> Galaxy:
    inclination = float(np.degrees(np.arccos(_between(rng, 0.25, 1.0))))
    disk = replace(seen, inclination=inclination, thickness=_between(rng, 0.15, 0.3), radius=seen.radius * 1.35)
    disk = _bulged(rng, disk, _between(rng, 0.2, 0.6))
    ring = rng.random() < 0.10
    bar = rng.random() < 0.18
    return replace(
        disk,
        kind="lenticular",
        disk_youth=float(np.clip(rng.normal(0.12, 0.1), 0, 0.6)),
        ring_radius=_between(rng, 0.9, 1.5) if ring else 0.0,
        ring_strength=_between(rng, 0.15, 0.4) if ring else 0.0,
        bar_length=_between(rng, 0.5, 0.9) if bar else 0.0,
        bar_strength=_between(rng, 0.12, 0.25) if bar else 0.0,
        phase=_between(rng, 0, 360),
    )


def _draw_spiral(rng: np.random.Generator, seen: Galaxy, direction: int) -> Galaxy:
    inclination = float(np.degrees(np.arccos(_between(rng, 0.28, 1.0))))
    fraction = float(np.clip(rng.gamma(2.2, 0.085), 0.01, 0.6))
    disk = _bulged(rng, replace(seen, inclination=inclination, thickness=_between(rng, 0.08, 0.2)), fraction)
    arms = int(rng.choice([1, 2, 3, 4, 5, 6], p=[0.05, 0.58, 0.16, 0.09, 0.06, 0.06]))
    bar = rng.random() < 0.38
    ring = rng.random() < 0.07
    pitch = float(np.clip(rng.normal(24 - 25 * fraction, 7), 6, 45))
    youth = float(np.clip(rng.normal(0.56 - 0.8 * fraction, 0.17), 0.05, 0.95))
    return replace(
        disk,
        kind="spiral",
        disk_youth=youth,
        arms=arms,
        pitch=pitch,
        direction=direction,
        phase=_between(rng, 0, 360),
        arm_strength=float(np.clip(rng.normal(0.58, 0.13), 0.2, 0.85)),
        arm_width=_between(rng, 0.65, 1.3),
        flocculence=float(np.clip(rng.beta(1.6, 2.2), 0, 1)),
        bar_length=_between(rng, 0.4, 0.95) if bar else 0.0,
        bar_strength=_between(rng, 0.10, 0.26) if bar else 0.0,
        ring_radius=_between(rng, 0.7, 1.2) if ring else 0.0,
        ring_strength=_between(rng, 0.12, 0.3) if ring else 0.0,
        dust=_between(rng, 0.2, 1.2) if rng.random() < 0.6 else 0.0,
        clumps=float(np.clip(rng.gamma(1.5, 0.04) * youth * 2, 0, 0.25)),
        lopsided=abs(float(rng.normal(0, 0.08))),
    )


def _draw_edge_on(rng: np.random.Generator, seen: Galaxy) -> Galaxy:
    shape = rng.choice(["rounded", "boxy", "none"], p=[0.6, 0.1, 0.3])
    fraction = 0.0 if shape == "none" else _between(rng, 0.1, 0.45)
    seen = replace(
        seen, inclination=_between(rng, 79, 90), thickness=_between(rng, 0.14, 0.4), radius=seen.radius * 1.25
    )
    disk = _bulged(rng, seen, fraction)
    youth = float(np.clip(rng.normal(0.5 - 0.6 * fraction, 0.25), 0.0, 1.0))
    return replace(
        disk,
        kind="spiral" if rng.random() < 0.75 else "lenticular",
        bulge_axis_ratio=_between(rng, 0.55, 0.9),
        bulge_boxy=bool(shape == "boxy"),
        disk_youth=youth,
        dust=_between(rng, 0.3, 2.0) if rng.random() < 0.45 else 0.0,
        clumps=0.1 * youth * float(rng.random()),
        lopsided=abs(float(rng.normal(0, 0.1))),
    )


def _draw_irregular(rng: np.random.Generator, seen: Galaxy) -> Galaxy:
    seen = replace(seen, inclination=_between(rng, 10, 65), thickness=0.35, redshift=min(seen.redshift, 0.04))
    return replace(
        seen,
        kind="irregular",
        disk_youth=_between(rng, 0.6, 1.0),
        clumps=_between(rng, 0.12, 0.4),
        flocculence=_between(rng, 0.6, 1.0),
        lopsided=_between(rng, 0.25, 0.7),
        bar_length=_between(rng, 0.4, 0.8) if rng.random() < 0.3 else 0.0,
        bar_strength=0.2,
        phase=_between(rng, 0, 360),
    )


def _beside(rng: np.random.Generator, seen: Galaxy, distance: float, kind: str = "") -> Galaxy:
    """A second galaxy at ``distance`` radii of the first, 0.2 to 1.7 mag fainter."""
    fainter = _between(rng, 0.0, 1.7)
    small = replace(
        seen,
        magnitude=seen.magnitude + fainter,
        radius=seen.radius * float(10 ** (-0.11 * fainter)),
        position_angle=_between(rng, 0, 180),
    )
    kind = kind or str(rng.choice(["elliptical", "spiral"], p=[0.5, 0.5]))
    if kind == "elliptical":
        other = replace(_draw_elliptical(rng, small), companions=())
    else:
        other = _draw_spiral(rng, small, int(rng.choice([-1, 1])))
    angle, reach = _between(rng, 0, 2 * np.pi), distance * seen.radius
    return replace(other, dx=float(reach * np.cos(angle)), dy=float(reach * np.sin(angle)))


def _draw_merger(rng: np.random.Generator, seen: Galaxy) -> Galaxy:
    seen = replace(seen, radius=seen.radius * 0.75)
    main = _draw_elliptical(rng, seen) if rng.random() < 0.45 else _draw_spiral(rng, seen, int(rng.choice([-1, 1])))
    others = tuple(_beside(rng, seen, _between(rng, 0.9, 2.8)) for _ in range(1 if rng.random() < 0.9 else 2))
    shift = sum(o.dx for o in others) / 3, sum(o.dy for o in others) / 3
    others = tuple(replace(o, dx=o.dx - shift[0], dy=o.dy - shift[1]) for o in others)
    return replace(
        main,
        kind="merger",
        tail=_between(rng, 0.08, 0.35) if rng.random() < 0.75 else 0.0,
        lopsided=_between(rng, 0.15, 0.5),
        companions=others,
        dx=-shift[0],
        dy=-shift[1],
    )


def _draw_intruder(rng: np.random.Generator) -> Galaxy:
    size = _between(rng, 1.5, 5.0)
    if rng.random() < 0.6:
        magnitude = _between(rng, 12.5, 18.0)
        youth = float(rng.choice([_between(rng, -0.6, 0.2), _between(rng, 0.4, 1.2)]))
        return Galaxy(
            "star", magnitude=magnitude, radius=size, redshift=0.0, disk_youth=youth, phase=rng.uniform(0, 90)
        )
    kind = str(rng.choice(ARTEFACTS, p=[0.4, 0.4, 0.06, 0.14]))
    youth, phase = _between(rng, -0.5, 1.0), _between(rng, 0, 180)
    magnitude = _between(rng, 11, 15)
    return Galaxy(
        "artefact", artefact=kind, magnitude=magnitude, radius=size, redshift=0.0, disk_youth=youth, phase=phase
    )
