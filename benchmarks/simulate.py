"""How fast galaxies are drawn on one core: galaxies per second, beside the wanted 30 and beside GalSim alone.

GalSim alone draws the same bulges and disks (no arms, dust, clumps, tails or artefacts) with as many neighbours, each
convolved with the point-spread function in every band, without noise: the least that its plain use would cost.

    OMP_NUM_THREADS=1 python benchmarks/simulate.py [--size 64] [--number 200] [--repeat 3]
"""

import argparse
import os
import time
from collections.abc import Callable

import galsim
import numpy as np

from tuningfork.simulate.camera import draw, stamp_scale
from tuningfork.simulate.profiles import nearest_index
from tuningfork.simulate.survey import SDSS
from tuningfork.simulate.truth import Galaxy, draw_population, generator

BANDS = ("g", "r", "i")
WANTED = 30.0


def components(galaxy: Galaxy, rng: np.random.Generator, field: float) -> list[galsim.GSObject]:
    """Bulge, disk and neighbours as GalSim's objects, of r flux."""
    flux = 10 ** (0.4 * (22.5 - galaxy.magnitude))
    objects = []
    if galaxy.bulge_fraction > 0:
        radius = galaxy.bulge_radius * np.sqrt(galaxy.bulge_axis_ratio)
        bulge = galsim.Sersic(nearest_index(galaxy.bulge_index), half_light_radius=radius, flux=flux)
        bulge = bulge.shear(q=galaxy.bulge_axis_ratio, beta=(galaxy.position_angle + 90) * galsim.degrees)
        objects.append(galaxy.bulge_fraction * bulge)
    if galaxy.bulge_fraction < 1 and galaxy.kind not in ("star", "artefact"):
        tilt, thickness = galaxy.inclination * galsim.degrees, galaxy.thickness
        disk = galsim.InclinedExponential(tilt, half_light_radius=galaxy.radius, scale_h_over_r=thickness, flux=flux)
        objects.append((1 - galaxy.bulge_fraction) * disk.rotate((galaxy.position_angle + 90) * galsim.degrees))
    for _ in range(int(rng.poisson(SDSS.crowd * (1.2 * field / 60) ** 2))):
        other = galsim.Exponential(half_light_radius=0.8, flux=1).shear(g1=0.2, g2=0.1)
        objects.append(other.shift(*rng.uniform(-0.5, 0.5, 2) * field))
    return objects


def by_galsim(galaxy: Galaxy, size: int) -> None:
    """Every component convolved and drawn in every band."""
    scale = stamp_scale(galaxy, SDSS, size)
    objects = components(galaxy, generator(galaxy.seed, galaxy.index, 1), size * scale)
    for band in BANDS:
        psf = galsim.Moffat(beta=SDSS.psf_beta, fwhm=SDSS.psf_fwhm[band])
        image = galsim.ImageF(size, size, scale=scale)
        for one in objects:
            galsim.Convolve([one, psf]).drawImage(image=image, add_to_image=True, method="auto")


def rate(work: Callable[[Galaxy], object], galaxies: list[Galaxy], repeat: int) -> float:
    """Galaxies per second, the best of ``repeat`` rounds."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        for galaxy in galaxies:
            work(galaxy)
        times.append(time.perf_counter() - start)
    return len(galaxies) / min(times)


def main() -> None:
    """Measure both, print the rates and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--repeat", type=int, default=3)
    choice = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    galaxies = list(draw_population(0, choice.number))
    draw(galaxies[0], BANDS, "sdss", choice.size)
    ours = rate(lambda galaxy: draw(galaxy, BANDS, "sdss", choice.size), galaxies, choice.repeat)
    theirs = rate(lambda galaxy: by_galsim(galaxy, choice.size), galaxies[: max(10, choice.number // 10)], 1)
    print(f"tuningfork: {ours:.1f} galaxies of {choice.size} px and {len(BANDS)} bands per second on one core")
    print(f"GalSim alone, smooth components only: {theirs:.1f} per second")
    print(f"ratio to the wanted {WANTED:.0f} per second: {ours / WANTED:.2f}")
    print(f"ratio to GalSim alone: {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
