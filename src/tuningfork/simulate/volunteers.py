"""Volunteers who answer the Galaxy Zoo 2 tree about galaxies of known truth, the worse the smaller and fainter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..galaxy.tree import Tree
from .survey import SimulatedSurvey, find_survey
from .truth import Galaxy, generator

VOLUNTEERS = 40.0
"""The mean number of volunteers per galaxy; each galaxy's own number is Poisson distributed, and at least 5."""


def _rise(value: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(value, -50, 50))))


def visibility(galaxy: Galaxy, survey: str | SimulatedSurvey = "sdss") -> float:
    """How well structure can be seen, 0 (a blur) to 1: rising with size over seeing, and with signal over noise.

    logistic(2.2 (log2(R50 / FWHM) - 0.5)) logistic(3 (log10(S/N) - 1.5)), where S/N is that of the r light within two
    half-light radii R50. Of a bright galaxy half can be seen at R50 = 1.4 FWHM.
    """
    where = find_survey(survey)
    radius, fwhm = galaxy.half_light, where.psf_fwhm["r"]
    counts = 10 ** (0.4 * (where.zero_point - galaxy.magnitude))
    pixels = np.pi * (2 * np.hypot(radius, 0.5 * fwhm) / where.pixel_scale) ** 2
    signal = counts / np.sqrt(pixels * where.noise["r"] ** 2 + counts / where.gain["r"])
    return _rise(2.2 * (np.log2(max(radius, 0.01) / fwhm) - 0.5)) * _rise(3 * (np.log10(max(signal, 1e-3)) - 1.5))


def _near(value: float, centres: tuple[float, ...], width: float) -> np.ndarray:
    """Shares of ordered answers: a Gaussian in the distance to each one's centre, and 1% for every slip of the hand."""
    distance = (value - np.array(centres)) / width
    shares = np.exp(-0.5 * (distance**2 - (distance**2).min()))
    return 0.01 + shares / shares.sum()


def _yes(probability: float) -> np.ndarray:
    probability = float(np.clip(probability, 0.01, 0.99))
    return np.array([probability, 1 - probability])


def structures(galaxy: Galaxy, sight: float) -> dict[str, float]:
    """How strongly arms, bar, ring, dust, tail, an uneven disk and an edge strike the eye at this visibility, 0..1."""
    face = _rise((76 - galaxy.inclination) / 5)
    disk = 1 - galaxy.bulge_fraction
    edge = _rise((galaxy.inclination - 76) / 2.5) * disk if galaxy.kind in ("spiral", "lenticular") else 0.0
    shares = {
        "arms": 1.6 * galaxy.arm_strength * (galaxy.arms > 0) * face * min(1, 1.3 * disk),
        "bar": 3.2 * galaxy.bar_strength * (galaxy.bar_length > 0) * face * min(1, 1.3 * disk),
        "ring": 2.4 * galaxy.ring_strength * face,
        "dust": 0.5 * galaxy.dust * (1.0 if edge > 0.3 else 0.35),
        "tail": 3.0 * galaxy.tail,
        "uneven": 1.4 * galaxy.lopsided + 1.2 * galaxy.clumps,
    }
    seen = {name: float(np.clip(share, 0, 1)) * sight for name, share in shares.items()}
    return seen | {"edge": float(np.clip(1.25 * edge, 0, 1)) * (0.35 + 0.65 * sight)}


def _first(galaxy: Galaxy, sight: float, seen: dict[str, float], blur: float) -> np.ndarray:
    if galaxy.kind == "star":
        return np.array([0.28, 0.02, 0.70]) if galaxy.magnitude > 16.5 else np.array([0.05, 0.02, 0.93])
    if galaxy.kind == "artefact":
        return np.array([0.04, 0.06, 0.90])
    missed = np.prod([1 - min(0.97, share) for share in seen.values()])
    features = 0.04 + 0.92 * (1 - missed) if galaxy.kind != "elliptical" else 0.04 + 0.1 * (1 - galaxy.axis_ratio)
    if galaxy.kind == "merger":
        features = max(features, 0.3 + 0.3 * sight)
    if galaxy.kind == "irregular":
        features = max(features, 0.2 + 0.5 * sight)
    star = 0.012 + 0.35 * _rise(6 * (np.log2(blur) - 1.6))
    features = min(features, 0.97)
    return np.array([(1 - features) * (1 - star), features * (1 - star), star])


def _odd_features(galaxy: Galaxy, seen: dict[str, float]) -> np.ndarray:
    """Shares of ring, lens or arc, disturbed, irregular, other, merger, dust lane among those who found it odd."""
    merging = 3.0 if galaxy.kind == "merger" else 0.5 * len(galaxy.companions)
    irregular = 2.5 if galaxy.kind == "irregular" else 0.25 * seen["uneven"]
    lens = 0.04 + 0.1 * seen["tail"]
    disturbed = 0.06 + 1.2 * seen["tail"] + 0.5 * seen["uneven"]
    return np.array(
        [0.05 + 2 * seen["ring"], lens, disturbed, 0.05 + irregular, 0.25, 0.06 + merging, 0.03 + seen["dust"]]
    )


def _arm_count(galaxy: Galaxy, sight: float) -> np.ndarray:
    """Shares of 1, 2, 3, 4, more than 4 and "can't tell"."""
    if not galaxy.arms:
        return np.array([0.08, 0.3, 0.05, 0.03, 0.04, 0.5])
    lost = float(np.clip(0.08 + 0.55 * (1 - sight) + 0.3 * galaxy.flocculence + 0.05 * (galaxy.arms - 2), 0.05, 0.9))
    told = _near(min(galaxy.arms, 5), (1, 2, 3, 4, 5), 0.35 + 0.5 * (1 - sight) + 0.3 * galaxy.flocculence)
    return np.append(told / told.sum() * (1 - lost), lost)


def expected_fractions(galaxy: Galaxy, survey: str | SimulatedSurvey, tree: Tree) -> np.ndarray:
    """The share of each answer among those who are asked, were there infinitely many volunteers.

    Float64 (answers of the tree "gz2",) in the order of ``tree.columns``; every question sums to 1, also those that
    hardly anybody reaches. Structure is judged through :func:`visibility`: what is not seen is answered as if absent,
    orderings (bulge, winding, roundness) blur into their neighbours, arms turn into "can't tell".
    """
    where = find_survey(survey)
    sight = visibility(galaxy, where)
    seen = structures(galaxy, sight)
    blur = where.psf_fwhm["r"] / max(galaxy.half_light, 0.01)
    dull = 1 - sight
    ratio = float(np.sqrt((galaxy.axis_ratio**2 + 0.15 * blur**2) / (1 + 0.15 * blur**2)))
    odd = 0.06 + 0.5 * seen["ring"] + 0.7 * seen["tail"] + 0.4 * seen["uneven"] + 0.3 * seen["dust"]
    odd += {"merger": 0.45, "irregular": 0.3}.get(galaxy.kind, 0.0) + 0.1 * bool(galaxy.companions)
    spiral = 0.05 + 0.05 * dull + (0.9 * min(1.0, 1.15 * seen["arms"]) if galaxy.kind in ("spiral", "merger") else 0.0)
    no_bulge = 0.75 if galaxy.bulge_fraction < 0.05 else 0.15 * dull + 0.05
    boxy = (0.55 if galaxy.bulge_boxy else 0.04) * (1 - no_bulge)
    answers: dict[str, Callable[[], np.ndarray]] = {
        "t01_smooth_or_features": lambda: _first(galaxy, sight, seen, blur),
        "t02_edgeon": lambda: _yes(0.03 + 0.05 * dull + 0.92 * seen["edge"] + 0.5 * max(0, 0.4 - ratio)),
        "t03_bar": lambda: _yes(0.06 + 0.85 * seen["bar"]),
        "t04_spiral": lambda: _yes(spiral),
        "t05_bulge_prominence": lambda: _near(galaxy.bulge_fraction, (0.0, 0.1, 0.32, 0.7), 0.09 + 0.14 * dull),
        "t06_odd": lambda: _yes(odd),
        "t07_rounded": lambda: _near(ratio, (0.97, 0.66, 0.28), 0.13 + 0.06 * dull),
        "t08_odd_feature": lambda: _odd_features(galaxy, seen),
        "t09_bulge_shape": lambda: np.array([1 - no_bulge - boxy, boxy, no_bulge]),
        "t10_arms_winding": lambda: _near(galaxy.pitch, (11, 21, 33), 5.0 + 6.0 * dull),
        "t11_arms_number": lambda: _arm_count(galaxy, sight),
    }
    shares = [answers[question.name]() for question in tree.questions]
    return np.concatenate([share / share.sum() for share in shares])


def vote(galaxy: Galaxy, expected: np.ndarray, tree: Tree, mean: float = VOLUNTEERS) -> np.ndarray:
    """Let max(5, Poisson(``mean``)) volunteers walk the tree: votes per answer, int64 (answers,).

    Each question gets as many votes as the answers that lead to it; the same galaxy gets the same votes, always.
    """
    rng = generator(galaxy.seed, galaxy.index, 7)
    counts = np.zeros(tree.n_answers, np.int64)
    asked = max(5, int(rng.poisson(mean)))
    for number in tree.order:
        question = tree.questions[number]
        parents = list(tree.parents(question.name))
        here = tree.slices[question.name]
        n = int(counts[parents].sum()) if parents else asked
        counts[here] = rng.multinomial(n, expected[here] / expected[here].sum())
    return counts
