"""Whether a probability of 0.8 is right 8 times in 10: reliability, expected calibration error, temperature scaling."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import optimize, special, stats

from .bootstrap import Bools, Floats, Ints, ratio
from .metrics import SMALLEST, log_losses

BINS = 15
Binning = Literal["width", "mass"]


@dataclass(frozen=True, eq=False)
class Reliability:
    """One row per bin that holds galaxies: how sure the votes were and how often they were right.

    ``confidence`` and ``accuracy`` are means over the bin's ``count`` galaxies; ``low`` and ``high`` are the 95%
    Wilson score interval of the accuracy (Wilson 1927). All have shape (bins,).
    """

    count: Ints
    confidence: Floats
    accuracy: Floats
    low: Floats
    high: Floats


def bin_of(confidence: Floats, bins: int = BINS, binning: Binning = "width") -> Ints:
    """The bin of each confidence in [0, 1], shape (N,).

    ``width``: ((m-1)/bins, m/bins], as in Guo et al. (2017), with 0 in the first. ``mass``: as many galaxies in each
    bin as in the next (up to one), where galaxies of equal confidence are never parted, so that the order of the rows
    does not matter; many ties make fewer, fuller bins.
    """
    if binning == "width":
        return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    rank = stats.rankdata(confidence, method="min") - 1
    return (rank * bins // max(len(confidence), 1)).astype(np.int64)


def expected_calibration_error(
    confidence: Floats, correct: Floats, weights: Floats, bins: int = BINS, binning: Binning = "width"
) -> Floats:
    """ECE = sum over bins of (n_m / n) |accuracy_m - confidence_m| (Guo et al. 2017, eq. 3), shape (B,).

    ``confidence`` and ``correct`` (0 or 1) have shape (N,), ``weights`` (B, N). NaN without galaxies. The estimate is
    never negative, so that noise alone makes it positive: compare it with :func:`calibrated_level`.
    """
    membership = np.zeros((len(confidence), bins))
    membership[np.arange(len(confidence)), bin_of(confidence, bins, binning)] = correct - confidence
    return ratio(np.abs(weights @ membership).sum(1), weights.sum(1))


def calibrated_level(confidence: Floats, bins: int = BINS, binning: Binning = "width", seed: int = 0) -> float:
    """The mean ECE that these very confidences would show if they were perfectly calibrated (200 seeded draws).

    Whether a galaxy is right is drawn with its own confidence as the chance; what remains is the noise of so many
    galaxies in so many bins. NaN without galaxies.
    """
    if not len(confidence):
        return float("nan")
    generator = np.random.default_rng(seed)
    ones = np.ones((1, len(confidence)))
    draws = [(generator.random(len(confidence)) < confidence).astype(np.float64) for _ in range(200)]
    return float(np.mean([expected_calibration_error(confidence, draw, ones, bins, binning)[0] for draw in draws]))


def reliability(confidence: Floats, correct: Floats, bins: int = BINS, binning: Binning = "mass") -> Reliability:
    """The points of a reliability diagram (DeGroot & Fienberg 1983); bins without galaxies are left out."""
    index = bin_of(confidence, bins, binning)
    count = np.bincount(index, minlength=bins)
    filled = count > 0
    count = count[filled]
    mean = np.bincount(index, confidence, bins)[filled] / count
    right = np.bincount(index, correct, bins)[filled] / count
    low, high = wilson(right, count.astype(np.float64))
    return Reliability(count, mean, right, low, high)


def wilson(share: Floats, count: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """The Wilson (1927) score interval of a binomial ``share`` of ``count`` galaxies; 0..1 where count is 0."""
    z2 = stats.norm.ppf((1 + level) / 2) ** 2
    centre = (share * count + z2 / 2) / (count + z2)
    half = np.sqrt(z2 * (share * (1 - share) * count + z2 / 4)) / (count + z2)
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def scale(probabilities: Floats, temperature: float) -> Floats:
    """softmax(ln p / T), shape (N, K): T > 1 makes probabilities less sure, T < 1 surer, T = 1 changes nothing.

    For p = softmax(z / T0) this equals softmax(z / (T0 T)), whatever constant z had, so that ``scale(p, 1 / T0)``
    undoes a temperature T0. Probabilities below 1e-15 are taken as 1e-15.
    """
    scaled: Floats = special.softmax(np.log(np.maximum(probabilities, SMALLEST)) / temperature, axis=1)
    return scaled


def fit_temperature(truth: Ints, probabilities: Floats) -> float:
    """The T of :func:`scale` with the smallest mean log loss on these galaxies (Guo et al. 2017, sec. 4.2).

    The loss is convex in 1/T; it is searched in 0.05 <= T <= 20 and stops at that edge where the best T lies beyond
    (a perfect guess wants T = 0). 1.0 without galaxies.
    """
    if not len(truth):
        return 1.0

    def loss(log_temperature: float) -> float:
        return float(log_losses(truth, scale(probabilities, float(np.exp(log_temperature)))).mean())

    edge = np.log(20.0)
    found = optimize.minimize_scalar(loss, bounds=(-edge, edge), method="bounded", options={"xatol": 1e-5})
    return float(np.exp(found.x))


def halves(ids: tuple[str, ...], seed: int = 0) -> Bools:
    """Which of two halves each galaxy falls into, by a hash of seed and id: the order of the rows does not matter."""
    return np.array([hashlib.sha256(f"{seed}:half:{name}".encode()).digest()[0] % 2 == 1 for name in ids], dtype=bool)


def cross_fitted(truth: Ints, probabilities: Floats, second: Bools) -> tuple[Floats, tuple[float, float]]:
    """Probabilities rescaled by a temperature that was fitted on the other half, and the two temperatures.

    No galaxy is judged with a temperature that has seen its truth. The temperatures are those applied to the first
    and to the second half. A half that is empty leaves the other as it is (T = 1).
    """
    scaled = probabilities.copy()
    applied = []
    for half in (~second, second):
        temperature = fit_temperature(truth[~half], probabilities[~half])
        scaled[half] = scale(probabilities[half], temperature)
        applied.append(temperature)
    return scaled, (applied[0], applied[1])
