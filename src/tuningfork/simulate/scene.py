"""The truth about one stamp of the lens hunt: what stands in front, how it bends light, and what lies behind."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .background import Background, Clump
from .deflector import Deflector, Halo, ring
from .lookalikes import Place, draw_flavor, draw_lookalike, draw_place, early_type, members
from .survey import SimulatedSurvey
from .truth import Galaxy, generator

LENSES: dict[str, float] = {"lensed galaxy": 0.4, "lensed quasar": 0.3, "lensing cluster": 0.3}
"""The flavors of lens (the names of Space Warps) and the share of each among simulated lenses."""

PAINTED: dict[str, float] = {"lensed galaxy": 0.6, "lensed quasar": 0.4}
"""The same, where they are painted on galaxies that are there already: clusters would have to be found, not drawn."""

UNLENSED = "unlensed"
"""The flavor of a galaxy that is there already and is left as it is."""

EMPTY = Deflector()
"""No mass: what look-alikes have."""


@dataclass(frozen=True)
class Scene:
    """One stamp: its ``flavor``, the galaxy in the middle with all that belongs to it, and, of a lens, the optics.

    ``foreground`` is None where the stamp is painted on a galaxy that is there already.
    """

    seed: int
    index: int
    flavor: str
    place: Place
    foreground: Galaxy | None
    deflector: Deflector = EMPTY
    background: Background | None = None

    @property
    def is_lens(self) -> bool:
        """Whether something is lensed: class "lens", else "not_lens"."""
        return self.background is not None

    @property
    def einstein_radius(self) -> float:
        """In arcsec: the one halo's own, or that of all together (``deflector.ring``); NaN without mass."""
        halos = self.deflector.halos
        return ring(self.deflector) if len(halos) > 1 else halos[0].einstein_radius if halos else float("nan")


def draw_scene(seed: int, index: int, survey: SimulatedSurvey, fraction: float, painted: bool = False) -> Scene:
    """Draw stamp ``index`` of a simulated hunt: a lens with probability ``fraction``.

    The same (seed, index) gives the same scene, always. Group or not, redshift, magnitude and the group's members are
    drawn before and apart from the question whether there is a lens.
    """
    place = draw_place(generator(seed, index, 20), survey)
    company = members(generator(seed, index, 21), place)
    rng = generator(seed, index, 22)
    is_lens = bool(rng.random() < fraction)
    if not is_lens:
        flavor = UNLENSED if painted else draw_flavor(rng, place)
        front = None if painted else draw_lookalike(rng, flavor, place, survey)
    elif painted:
        flavor, front = str(rng.choice(list(PAINTED), p=list(PAINTED.values()))), None
    elif place.group:
        flavor, front = "lensing cluster", early_type(rng, place)
    else:
        single = np.array([LENSES["lensed galaxy"], LENSES["lensed quasar"]])
        flavor = str(rng.choice(["lensed galaxy", "lensed quasar"], p=single / single.sum()))
        front = early_type(rng, place)
    if front is not None:
        front = replace(front, seed=seed, index=index, companions=(*front.companions, *company))
    scene = Scene(seed, index, flavor, place, front)
    if not is_lens:
        return scene
    deflector = draw_deflector(rng, flavor, place, front)
    return replace(scene, deflector=deflector, background=draw_background(rng, flavor, place, deflector))


def draw_deflector(rng: np.random.Generator, flavor: str, place: Place, front: Galaxy | None) -> Deflector:
    """The mass of a lens: Einstein radii of 0.8 to 2.5 arcsec, 3 to 8 for groups and clusters.

    The main halo is as elongated as the light to 0.1 and turned from it by 8 degrees (one sigma); each member of a
    group has a halo whose radius follows the root of its light.
    """
    if front is None:
        ratio, angle = float(rng.uniform(0.65, 0.98)), float(rng.uniform(0, 180))
    else:
        ratio, angle = front.bulge_axis_ratio, front.position_angle
    ratio = float(np.clip(ratio + rng.normal(0.02, 0.1), 0.5, 0.99))
    angle = float((angle + rng.normal(0, 8)) % 180)
    shear = float(min(abs(rng.normal(0, 0.05)), 0.2))
    direction = float(rng.uniform(0, 180))
    if flavor != "lensing cluster" or front is None:
        brighter = -22.4 - place.absolute
        wanted = float(np.clip(np.exp(rng.normal(np.log(1.4), 0.28)) * 10 ** (0.1 * brighter), 0.8, 2.5))
        return Deflector((Halo(wanted, ratio, angle),), shear, direction)
    wanted = float(3 + 5 * rng.beta(1.1, 2.2))
    small = tuple(
        Halo(
            float(0.22 * wanted * 10 ** (-0.2 * (one.magnitude - front.magnitude))),
            one.bulge_axis_ratio,
            one.position_angle,
            one.dx,
            one.dy,
        )
        for one in front.companions
        if np.hypot(one.dx, one.dy) < 15
    )
    main = wanted
    for _ in range(4):  # the members' mass counts too: the main halo is what is left
        got = ring(Deflector((Halo(main, ratio, angle), *small)))
        main = max(main + wanted - got, 0.5 * wanted)
    return Deflector((Halo(float(main), ratio, angle), *small), shear, direction)


def draw_background(rng: np.random.Generator, flavor: str, place: Place, deflector: Deflector) -> Background:
    """What is lensed: a clumpy blue galaxy near enough to the middle to be seen more than once; perhaps a quasar.

    It lies within 0.45 Einstein radii of the optical axis (0.7 for quasars, 0.5 for clusters, and so that the images
    keep within some 10 arcsec), evenly by area; every third quasar within 0.15, so that about a quarter of them
    are quadruple.
    """
    quasar, cluster = flavor == "lensed quasar", flavor == "lensing cluster"
    limit = 0.7 if quasar else 0.5 if cluster else 0.45
    if quasar and rng.random() < 0.35:
        limit = 0.15  # inside or near the caustic: what is magnified more is found more often
    radius = ring(deflector) if cluster else deflector.halos[0].einstein_radius
    away = min(limit * radius, 10 - radius) * np.sqrt(rng.random())  # images stay inside a stamp of 30 arcsec
    towards = rng.uniform(0, 2 * np.pi)
    redshift = float(np.clip(place.redshift + 0.4 + rng.gamma(3.0, 0.35), 0.8, 3.5))
    extent = float(np.clip(np.exp(rng.normal(np.log(0.28 if not cluster else 0.4), 0.35)), 0.1, 0.9))
    magnitude = float(np.clip(rng.normal(23.9 if not quasar else 24.3, 0.6), 21.8, 25.5))
    clumps = [
        Clump(
            x=float(rng.normal(0, 0.75 * extent)),
            y=float(rng.normal(0, 0.75 * extent)),
            sigma=float(rng.uniform(0.04, 0.12)),
            share=float(rng.uniform(0.03, 0.15)),
        )
        for _ in range(int(rng.poisson(2.5)))
    ]
    return Background(
        redshift=redshift,
        magnitude=magnitude,
        x=float(away * np.cos(towards)),
        y=float(away * np.sin(towards)),
        radius=extent,
        axis_ratio=float(rng.uniform(0.35, 1.0)),
        position_angle=float(rng.uniform(0, 180)),
        index=float(np.clip(rng.normal(1.1, 0.3), 0.6, 2.0)),
        youth=float(np.clip(rng.normal(1.0, 0.22) if rng.random() < 0.88 else rng.uniform(0.3, 0.7), 0.25, 1.3)),
        clumps=tuple(clumps[:6]),
        quasar_magnitude=float(np.clip(rng.normal(22.7, 0.7), 20.5, 24.5)) if quasar else None,
        quasar_youth=float(rng.normal(0.95, 0.15)),
    )
