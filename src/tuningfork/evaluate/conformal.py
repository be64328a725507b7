"""Conformal prediction: sets of classes, and intervals of numbers, that hold the truth as often as they promise.

Split conformal prediction (Vovk, Gammerman & Shafer 2005; Lei et al. 2018): thresholds come from galaxies that the
model was not trained on (the validation part), and hold on average for new galaxies of the same kind (exchangeable with
them), whatever the model is and however badly it is calibrated. They promise nothing for another survey, nor for each
class or galaxy on its own. With n galaxies the chance to cover lies between ``coverage`` and ``coverage + 1/(n + 1)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ..errors import BadVotes
from .bootstrap import Bools, Estimate, Floats, Ints, estimate
from .calibration import wilson
from .metrics import weighted_mean

Method = Literal["least_ambiguous", "adaptive"]
_METHODS = ("least_ambiguous", "adaptive")


@dataclass(frozen=True)
class Promise:
    """What a fit holds, small enough for a model's card: ``threshold`` of the scores, on ``n`` galaxies.

    A threshold of infinity means that ``n`` is too small for the coverage: sets hold everything then.
    """

    threshold: float
    coverage: float
    n: int
    method: str


def quantile(scores: ArrayLike, coverage: float) -> float:
    """The ceil((n + 1) coverage)-th smallest of n scores; infinity where n is below coverage / (1 - coverage).

    A new score that is exchangeable with these is not above it with a chance of at least ``coverage``. Raises
    :class:`BadVotes` for a coverage outside (0, 1) or scores that are not finite.
    """
    values = np.sort(np.asarray(scores, np.float64).ravel())
    if not 0 < coverage < 1:
        raise BadVotes(f"the coverage is a share between 0 and 1, for instance 0.9, not {coverage:g}")
    if not np.isfinite(values).all():
        raise BadVotes(f"{int((~np.isfinite(values)).sum())} of {len(values)} scores are not finite numbers")
    place = int(np.ceil(round((len(values) + 1) * coverage, 9)))
    return float(values[place - 1]) if place <= len(values) else float("inf")


@dataclass(frozen=True)
class Banded:
    """Half-widths of intervals of a number, one per band of the prediction: B - 1 ``edges`` that grow, B widths.

    A prediction that is on an edge belongs to the band above it. ``n`` galaxies were known.
    """

    edges: tuple[float, ...]
    half_widths: tuple[float, ...]
    coverage: float
    n: int

    def half_width(self, predicted: ArrayLike) -> Floats:
        """That of each prediction's band, (N,)."""
        places = np.searchsorted(np.asarray(self.edges, np.float64), np.asarray(predicted, np.float64), side="right")
        return np.asarray(self.half_widths, np.float64)[places]


def fit_banded(
    predicted: ArrayLike, truth: ArrayLike, coverage: float = 0.7, bands: int = 3, fewest: int = 40
) -> Banded | None:
    """Intervals whose width follows the prediction: :func:`fit_intervals` within bands of as many galaxies each.

    The coverage holds in each band on average (Mondrian conformal prediction; Vovk, Gammerman & Shafer 2005, sec. 4.5),
    where one width for all is too wide for galaxies without a bar, and far too narrow for those with one. NaN in
    ``truth`` (N,) is left out; bands have ``fewest`` galaxies or there are fewer of them. None where not even one band
    has enough galaxies for the coverage.
    """
    true, guess = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    known = np.isfinite(true)
    true, guess = true[known], guess[known]
    bands = max(1, min(bands, len(true) // fewest))
    edges = np.unique(np.quantile(guess, np.arange(1, bands) / bands)) if len(guess) else np.zeros(0)
    edges = edges[edges > guess.min()] if len(guess) else edges  # equal predictions: no band is empty
    places = np.searchsorted(edges, guess, side="right")
    widths = [quantile(np.abs(true - guess)[places == k], coverage) for k in range(len(edges) + 1)]
    if not np.isfinite(widths).all():
        return None
    return Banded(tuple(edges.tolist()), tuple(widths), coverage, len(true))


def fit_sets(
    probabilities: ArrayLike,
    truth: ArrayLike,
    coverage: float = 0.9,
    method: Method = "least_ambiguous",
    seed: int = 0,
) -> Promise:
    """The threshold of sets of classes, from validation galaxies: ``probabilities`` (N, K), ``truth`` (N,) indices.

    - "least_ambiguous": the score of a class is 1 - p; the sets are the smallest on average (Sadinle, Lei & Wasserman
      2019, LAC), but may be empty for galaxies that are like none.
    - "adaptive": the score is the probability of all classes above it and, to make coverage exact, a uniformly random
      part of its own (Romano, Sesia & Candès 2020, APS): larger sets that follow each galaxy's difficulty better.

    Raises :class:`BadVotes` where shapes, classes or the coverage cannot be.
    """
    p, classes = _checked(probabilities, truth)
    scores = _scores(p, method, seed)[np.arange(len(p)), classes]
    return Promise(quantile(scores, coverage), coverage, len(p), method)


def sets(probabilities: ArrayLike, promise: Promise, seed: int = 1, *, never_empty: bool = False) -> Bools:
    """Which classes are in each galaxy's set, (N, K): those whose score is not above the threshold.

    ``seed`` draws the random parts of "adaptive"; it should not be that of the fit. ``never_empty`` adds the most
    probable class to a set without any, which can only raise the coverage.
    """
    p, _ = _checked(probabilities, None)
    inside: Bools = _scores(p, promise.method, seed) <= promise.threshold
    if never_empty and len(p):
        empty = np.flatnonzero(~inside.any(1))
        inside[empty, p[empty].argmax(1)] = True
    return inside


def _scores(p: Floats, method: str, seed: int) -> Floats:
    """How strange each class would be as the truth, (N, K)."""
    if method not in _METHODS:
        raise BadVotes(f"there is no conformal method '{method}': {', '.join(_METHODS)}")
    if method == "least_ambiguous":
        return 1.0 - p
    order = np.argsort(-p, axis=1, kind="stable")
    ranked = np.take_along_axis(p, order, axis=1)
    own = np.random.default_rng(seed).random((len(p), 1))  # one draw per galaxy
    scores = np.empty_like(p)
    np.put_along_axis(scores, order, np.cumsum(ranked, axis=1) - (1 - own) * ranked, axis=1)
    return scores


def _checked(probabilities: ArrayLike, truth: ArrayLike | None) -> tuple[Floats, Ints]:
    p = np.asarray(probabilities, np.float64)
    classes = np.zeros(len(p), np.int64) if truth is None else np.asarray(truth, np.int64)
    if p.ndim != 2 or classes.shape != p.shape[:1]:
        raise BadVotes(f"probabilities of shape {p.shape} and true classes of shape {classes.shape}: (N, K) and (N,)")
    if not np.isfinite(p).all():
        raise BadVotes(f"{int((~np.isfinite(p)).any(1).sum())} of {len(p)} rows of probabilities are not finite")
    if len(classes) and not (classes.min() >= 0 and classes.max() < p.shape[1]):
        raise BadVotes(f"true classes {classes.min()} to {classes.max()} for {p.shape[1]} columns of probabilities")
    return p, classes


def fit_intervals(
    predicted: ArrayLike,
    truth: ArrayLike,
    coverage: float = 0.9,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
) -> Promise:
    """The threshold of intervals of a number, from validation galaxies: all of shape (N,), NaN in ``truth`` left out.

    Without bounds the score is |truth - predicted| (method "residual"): every interval is as wide. With the model's
    own bounds it is max(lower - truth, truth - upper) (method "quantile"; Romano, Patterson & Candès 2019, CQR), so
    that intervals stay wide where the model says that it does not know.
    """
    true = np.asarray(truth, np.float64)
    known = np.isfinite(true)
    if (lower is None) != (upper is None):
        raise BadVotes("a conformal interval needs both bounds of the model, or none")
    if lower is None or upper is None:
        scores = np.abs(true - np.asarray(predicted, np.float64))
    else:
        scores = np.maximum(np.asarray(lower, np.float64) - true, true - np.asarray(upper, np.float64))
    method = "residual" if lower is None else "quantile"
    return Promise(quantile(scores[known], coverage), coverage, int(known.sum()), method)


def intervals(
    predicted: ArrayLike, promise: Promise, lower: ArrayLike | None = None, upper: ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """Lower and upper end for each prediction, (N,) each, of the method that was fitted.

    "residual": predicted -+ threshold; "quantile": lower - threshold and upper + threshold (a negative threshold
    narrows intervals that were too wide; where they would cross, both ends are the middle).
    """
    if promise.method == "residual":
        middle = np.asarray(predicted, np.float64)
        return middle - promise.threshold, middle + promise.threshold
    if promise.method != "quantile" or lower is None or upper is None:
        raise BadVotes(f"intervals of the method '{promise.method}' need the model's lower and upper bounds")
    low, high = np.asarray(lower, np.float64), np.asarray(upper, np.float64)
    width = np.maximum((high - low) / 2 + promise.threshold, 0.0)
    return (low + high) / 2 - width, (low + high) / 2 + width


def covered_within(share: float, n: int, level: float = 0.95) -> Estimate:
    """A share of ``n`` test galaxies with its Wilson interval; NaN without galaxies."""
    if not n:
        return Estimate(float("nan"))
    low, high = wilson(np.array([share]), np.array([float(n)]), level)
    return Estimate(share, float(low[0]), float(high[0]))


def judge_sets(inside: Bools, truth: Ints, *, resamples: int = 1000, seed: int = 0) -> dict[str, Estimate | float]:
    """What sets (N, K) reach on test galaxies with true classes (N,), with 95% intervals.

    coverage: how many hold the truth (Wilson interval); size: classes per set; single: how many hold one class
    alone; empty: how many hold none (the plain share); single_right: of the sets of one class, how many are right.
    """
    n = len(truth)
    right = inside[np.arange(n), truth]
    size = inside.sum(1)
    alone = size == 1

    def statistic(weights: Floats) -> dict[str, Floats]:
        return {
            "size": weighted_mean(size.astype(np.float64), weights),
            "single": weighted_mean(alone.astype(np.float64), weights),
            "single_right": weighted_mean(right[alone].astype(np.float64), weights[:, alone]),
        }

    found = {key: value for key, value in estimate(statistic, n, resamples=resamples, seed=seed).items()}
    share = float(right.mean()) if n else float("nan")
    told: dict[str, Estimate | float] = {"coverage": covered_within(share, n)}
    told |= {key: value for key, value in found.items() if isinstance(value, Estimate)}
    return told | {"empty": float((size == 0).mean()) if n else float("nan")}


def judge_intervals(lower: ArrayLike, upper: ArrayLike, truth: ArrayLike) -> dict[str, Estimate | float]:
    """coverage (with its Wilson interval) and median width of intervals on test galaxies whose truth is not NaN."""
    low, high, true = (np.asarray(one, np.float64) for one in (lower, upper, truth))
    known = np.isfinite(true)
    inside = (true[known] >= low[known]) & (true[known] <= high[known])
    n = int(known.sum())
    share = float(inside.mean()) if n else float("nan")
    width = float(np.median((high - low)[known])) if n else float("nan")
    return {"coverage": covered_within(share, n), "width": width}
