"""The same simulated galaxies ever farther away: how soon the answers fail."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import RecipeError
from ...evaluate.bootstrap import Estimate
from ...galaxy.cutout import Record
from ...simulate.galaxies import Order, draw_record
from ...simulate.survey import find_survey
from ...simulate.truth import CLASSES, Galaxy, draw_population
from .ask import Asked, ask, open_heads
from .findings import Findings, mean
from .headline import GZ1, GZ2, SPIRALS, four_classes

REDSHIFTS = (0.03, 0.06, 0.12, 0.24)
SKY = "sky"  # the model of the simulated sky's classes
SIZE = 96  # px of a stamp, as the simulated sky that is learnt from
_SMOOTH, _FEATURES = "t01_smooth_or_features_a01_smooth", "t01_smooth_or_features_a02_features_or_disk"


def distance(redshift: float) -> float:
    """Luminosity distance in Mpc, c z (1 + 0.78 z) / H0 for Omega_m = 0.3 and H0 = 70 km/s/Mpc, as the simulator's."""
    return 4283 * redshift * (1 + 0.78 * redshift)


def moved(galaxy: Galaxy, redshift: float) -> Galaxy:
    """The same galaxy at another redshift: fainter by its distance and a K correction of 1.1 z, and smaller.

    Magnitudes change by 5 log10 of the luminosity distances' ratio, angles by the ratio of D (1 + z)^-2; colours redden
    as the simulator has it. Companions move along.
    """
    farther = distance(redshift) / distance(galaxy.redshift)
    smaller = ((1 + redshift) / (1 + galaxy.redshift)) ** 2 / farther
    fainter = 5 * math.log10(farther) + 1.1 * (redshift - galaxy.redshift)

    def put(one: Galaxy) -> Galaxy:
        lengths = {name: getattr(one, name) * smaller for name in ("radius", "bulge_radius", "dx", "dy")}
        companions = tuple(put(other) for other in one.companions)
        return replace(one, redshift=redshift, magnitude=one.magnitude + fainter, companions=companions, **lengths)

    return put(galaxy)


def receding(
    models: str | Path | Sequence[str | Path],
    *,
    n: int = 200,
    redshifts: Sequence[float] = REDSHIFTS,
    seed: int = 4242,
    views: int = 1,
    resamples: int = 1000,
    command: str = "",
) -> Findings:
    """Accuracies on ``n`` simulated galaxies moved to each of some redshifts, all else being the same.

    Of the head "sky" its seven classes; of "gz1" elliptical against spiral; of "gz2" smooth against features, for the
    same galaxies. The stamp follows the galaxy, as Galaxy Zoo's pictures do, so that what grows is blur and noise.
    ``seed`` is that of a sky that nothing was trained on. Raises :class:`RecipeError` for a redshift that is none.
    """
    if wrong := [one for one in redshifts if not one > 0]:
        raise RecipeError(f"redshifts are {wrong}: they must be above 0, such as 0.1")
    findings, eyes = Findings(command), open_heads(models, (SKY, GZ1, GZ2), views=views)
    population = [one for one in draw_population(seed, n, "sdss", _WEIGHTS) if one.redshift > 0]
    labels = np.array([one.label for one in population], dtype=object)
    course: dict[tuple[str, str], list[tuple[float, Estimate]]] = {}
    for redshift in redshifts if eyes else ():
        asked = ask(_records(population, redshift, seed), eyes)
        on = f"simulated galaxies at redshift {redshift:g}"
        for name, what, right in _judged(asked, labels):
            value = mean(right, resamples)
            rejected = int((~asked.answered(name)).sum())
            findings.add(name, what, on, value, len(right), redshift=redshift, rejected=rejected)
            course.setdefault((name, what), []).append((redshift, value))
    for (name, what), values in course.items():
        if min(value.high for _, value in values) < values[0][1].low:
            told = ", ".join(f"{value.text(2)} at redshift {redshift:g}" for redshift, value in values)
            findings.fail(
                name, f"Distance hides structure: the same simulated galaxies, as SDSS would see them; {what}: {told}."
            )
    return findings


_WEIGHTS = {name: 1.0 for name in CLASSES if name != "star_or_artefact"}


def _records(population: Sequence[Galaxy], redshift: float, seed: int) -> Iterator[Record]:
    order = Order(find_survey("sdss"), ("g", "r", "i"), SIZE, True, seed, _WEIGHTS)
    return (draw_record(moved(one, redshift), order) for one in population)


def _judged(asked: Asked, labels: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    """(model, what, which answers are right) for each head that was asked."""
    if SKY in asked:
        done, names = asked.answered(SKY), np.array(asked.heads[SKY].names, dtype=object)
        yield SKY, "accuracy of the classes", names[asked.values[SKY][done].argmax(1)] == labels[done]
    spiral, either = np.isin(labels, SPIRALS), np.isin(labels, ("elliptical", *SPIRALS))
    if GZ1 in asked:
        done = asked.answered(GZ1) & either
        four = four_classes(asked.said(GZ1)[done], asked.heads[GZ1].names)
        yield GZ1, "accuracy, elliptical against spiral", (four[:, 1] > four[:, 0]) == spiral[done]
    if GZ2 in asked:
        done = asked.answered(GZ2) & either
        features = asked.column(GZ2, _FEATURES) > asked.column(GZ2, _SMOOTH)
        yield GZ2, "accuracy, smooth against features", features[done] == spiral[done]
