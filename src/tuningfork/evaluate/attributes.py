"""How good predicted attributes are: error, rank order, bias, the expert's bounds, and yes or no by two thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import LabelError
from ..galaxy.question import nearest
from ..galaxy.tree import Tree
from .bootstrap import Bools, Floats, Statistic, ratio
from .metrics import Ranking, weighted_mean

CODED = 64  # distinct values, up to which an attribute counts as coded in steps
_NEAR = 1e-6  # of a scale's length: what float32 leaves open between a threshold and a value that is on it


@dataclass(frozen=True, eq=False)
class Attribute:
    """One attribute of N galaxies on its own scale, ``low`` to ``high``: shape (N,) each.

    ``truth`` is NaN where the expert left it undefined; ``lower`` and ``upper`` are the published bounds of the
    expert's confidence (EFIGI: 70%), NaN where undefined, None where the truth brings none. ``ends`` are the two ends
    of the predictions' own intervals; None where they have none.
    """

    name: str
    low: float
    high: float
    predicted: Floats
    truth: Floats
    lower: Floats | None = None
    upper: Floats | None = None
    ends: tuple[Floats, Floats] | None = None

    @property
    def known(self) -> Bools:
        """Which galaxies have a value to be judged by, shape (N,)."""
        return np.isfinite(self.truth)

    @property
    def step(self) -> float:
        """The smallest gap between true values that are coded in steps (EFIGI: 0.25; of T: 1); 0 for continuous ones.

        An expert who writes 0.25 does not mean that 0.26 is wrong: a prediction is read to half a step.
        """
        codes = np.unique(self.truth[self.known])
        return float(np.diff(codes).min()) if 2 <= len(codes) <= CODED else 0.0


@dataclass(frozen=True)
class Reading:
    """An attribute read as yes or no: yes from ``high`` up, no from ``low`` down; between them galaxies are left out.

    Both are on the attribute's own scale: ``Reading("Bar_Length", 0.5, 0)`` holds clear bars against none.
    """

    attribute: str
    high: float
    low: float

    @property
    def title(self) -> str:
        """``Bar_Length ≥ 0.5 against ≤ 0``."""
        return f"{self.attribute} ≥ {self.high:g} against ≤ {self.low:g}"


# Where "the middle of the scale or more, against its lower end" does not ask what an astronomer would.
_READINGS: dict[str, dict[str, tuple[float, float]]] = {
    "efigi": {
        "T": (1, -1),  # spirals and later, against lenticulars and ellipticals
        "Bulge_to_Total": (0.75, 0.25),
        "Arm_Curvature": (0.75, 0.25),  # tightly wound against open
        "Arm_Rotation": (0.75, 0.25),  # one sense against the other
        "Inclination": (0.75, 0.25),
        "Multiplicity": (0.25, 0),
    }
}


def default_readings(tree: Tree) -> tuple[Reading, ...]:
    """One reading per attribute: the middle of its scale or more against its lower end, but as EFIGI's table says."""
    known = _READINGS.get(tree.name, {})
    pairs = [(one.name, known.get(one.name, ((one.low + one.high) / 2, one.low))) for one in tree.questions]
    return tuple(Reading(name, float(high), float(low)) for name, (high, low) in pairs)


def check_readings(readings: tuple[Reading, ...], tree: Tree) -> None:
    """Raise :class:`LabelError` for an attribute that the tree does not have, or thresholds that are not apart."""
    for one in readings:
        if one.attribute not in tree.columns:
            raise LabelError(
                f"the tree '{tree.name}' has no attribute '{one.attribute}'{nearest(one.attribute, tree.columns)}: "
                f"{', '.join(tree.columns)}"
            )
        if not one.high > one.low:
            raise LabelError(f"'{one.title}': the threshold of yes must lie above that of no")


def weighted_ranks(values: Floats, weights: Floats) -> Floats:
    """The mid-rank of each value (N,) where galaxy i is there ``weights[:, i]`` times, shape (B, N), from 0."""
    _, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(place[order]) > 0]) if len(values) else np.zeros(0, np.int64)
    if not len(starts):
        return np.zeros(weights.shape)
    sums = np.add.reduceat(weights[:, order], starts, axis=1)
    middle: Floats = (np.cumsum(sums, axis=1) - sums / 2)[:, place]
    return middle


def spearman(first: Floats, second: Floats, weights: Floats) -> Floats:
    """Spearman's (1904) rank correlation of two values (N,), ties at their mid-rank, shape (B,).

    For whole weights it is that of the galaxies repeated so many times. NaN where either value is constant.
    """
    ranks = [weighted_ranks(one, weights) for one in (first, second)]
    total = weights.sum(1, keepdims=True)
    off = [rank - ratio((weights * rank).sum(1, keepdims=True), total) for rank in ranks]
    spread = (weights * off[0] ** 2).sum(1) * (weights * off[1] ** 2).sum(1)
    return ratio((weights * off[0] * off[1]).sum(1), np.sqrt(spread))


def pooled_statistic(predicted: Floats, truth: Floats) -> Statistic:
    """RMSE over all defined values of attributes scaled to [0, 1], (N, K), NaN where undefined, as (B,) each.

    ``rmse``: sqrt of the mean of (p - t)^2 over galaxies and attributes; ``rmse_constant``: the same of the best
    constant prediction, each attribute's mean over the same galaxies.
    """
    known = np.isfinite(truth)
    filled = np.where(known, truth, 0.0)
    squared = np.where(known, (predicted - filled) ** 2, 0.0).sum(1)

    def statistic(weights: Floats) -> dict[str, Floats]:
        each = weights @ known  # (B, K)
        spread = weights @ filled**2 - np.nan_to_num(ratio((weights @ filled) ** 2, each))
        return {
            "rmse": np.sqrt(ratio(weights @ squared, each.sum(1))),
            "rmse_constant": np.sqrt(ratio(np.maximum(spread, 0.0).sum(1), each.sum(1))),
        }

    return statistic


def attribute_statistic(one: Attribute) -> Statistic:
    """Everything the report says about one attribute, on the galaxies for which it is defined, (B,) each.

    rmse, sqrt of the mean of (p - t)^2, and bias, the mean of p - t, both on the attribute's own scale;
    rmse_constant, the RMSE of the mean of the same galaxies, and relative, the ratio of the two (below 1 is better
    than a constant); spearman. Where the truth has bounds: within, the share of predictions between the expert's
    bounds when read to half a :attr:`Attribute.step`; within_exactly, without that allowance; within_constant, the
    share that the best single value would reach. Where the predictions have intervals: covered, the share of these
    that hold the truth, and width, their mean width. NaN where no galaxy says anything.
    """
    rows = one.known
    predicted, truth = one.predicted[rows], one.truth[rows]
    squared = (predicted - truth) ** 2
    inside = _inside(one)
    ends = None if one.ends is None else (one.ends[0][rows], one.ends[1][rows])
    slack = _NEAR * (one.high - one.low)

    def statistic(weights: Floats) -> dict[str, Floats]:
        every = weights = weights[:, rows]
        mean = weighted_mean(truth, weights)
        rmse = np.sqrt(weighted_mean(squared, weights))
        constant = np.sqrt(np.maximum(weighted_mean(truth**2, weights) - mean**2, 0.0))
        found = {
            "rmse": rmse,
            "rmse_constant": constant,
            "relative": ratio(rmse, np.where(constant > _NEAR * (one.high - one.low), constant, 0.0)),
            "bias": weighted_mean(predicted - truth, weights),
            "spearman": spearman(predicted, truth, weights),
        }
        if inside is not None:
            bounded, near, exact, codes = inside
            weights = weights[:, bounded]
            shares = ratio(weights @ codes, weights.sum(1, keepdims=True))
            found["within"] = weighted_mean(near, weights)
            found["within_exactly"] = weighted_mean(exact, weights)
            found["within_constant"] = shares.max(1) if shares.shape[1] else np.full(len(weights), np.nan)
        if ends is not None:
            held = (truth >= ends[0] - slack) & (truth <= ends[1] + slack)
            found["covered"] = weighted_mean(held.astype(np.float64), every)
            found["width"] = weighted_mean(ends[1] - ends[0], every)
        return found

    return statistic


def _inside(one: Attribute) -> tuple[Bools, Floats, Floats, Floats] | None:
    """Of the galaxies with a value, which have bounds; of these, whose prediction lies between them (to half a step,
    exactly), and (galaxies, candidates) whether each candidate of a constant does."""
    if one.lower is None or one.upper is None:
        return None
    rows = one.known
    bounded = np.isfinite(one.lower[rows]) & np.isfinite(one.upper[rows])
    predicted, truth = one.predicted[rows][bounded], one.truth[rows][bounded]
    slack = _NEAR * (one.high - one.low)
    lower, upper = one.lower[rows][bounded] - slack, one.upper[rows][bounded] + slack
    half = one.step / 2
    near = (predicted >= lower - half) & (predicted <= upper + half)
    exact = (predicted >= lower) & (predicted <= upper)
    values = np.unique(truth)
    candidates = values if len(values) <= CODED else np.quantile(values, np.linspace(0, 1, CODED))
    codes = (candidates >= lower[:, None]) & (candidates <= upper[:, None])
    return bounded, near.astype(np.float64), exact.astype(np.float64), codes.astype(np.float64)


def read_as(one: Attribute, reading: Reading) -> tuple[Bools, Bools]:
    """Which galaxies are a clear yes and which a clear no, shape (N,) each; undefined ones are neither."""
    slack = _NEAR * (one.high - one.low)
    value = np.where(one.known, one.truth, (reading.high + reading.low) / 2)
    return value >= reading.high - slack, value <= reading.low + slack


def reading_statistic(one: Attribute, reading: Reading) -> Statistic:
    """roc_auc and average_precision of yes against no, ranked by the predicted value, shape (B,); NaN without both."""
    yes, no = read_as(one, reading)
    rows = yes | no
    ranking = Ranking(yes[rows], one.predicted[rows])

    def statistic(weights: Floats) -> dict[str, Floats]:
        area, average = ranking.areas(weights[:, rows])
        return {"roc_auc": area, "average_precision": average}

    return statistic
