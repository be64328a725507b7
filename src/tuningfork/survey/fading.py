"""How vote fractions fade with redshift: cumulative distributions in cells of size, magnitude and redshift, as laws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial import cKDTree
from sklearn.cluster import KMeans

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Shape = Literal["logistic", "power"]
PER_SLICE = 50  # galaxies with a vote for the answer, in each slice of redshift of a cell
MOST_SLICES = 20
CLIP = 5.0  # percentiles of the fitted parameters that are left out at either end
_GRID = np.log10(np.linspace(10**-1.5, 1, 100))  # log fractions at which a law is held against a distribution
_BOUNDS: dict[Shape, Any] = {"logistic": ((0.5, -10.0), (10.0, 10.0)), "power": ((1e-5, 1e-5), (10.0, 10.0))}
_START: dict[Shape, Any] = {"logistic": (3.0, -3.0), "power": (2.0, 1.0)}
_Terms = dict[str, Callable[[Floats], Floats]]
_TERMS_M: _Terms = {
    "log": lambda m: np.log10(-m),
    "linear": lambda m: -m,
    "luminosity": lambda m: 10 ** (-0.4 * (m + 20)),
}
_TERMS_R: _Terms = {"log": lambda r: r, "linear": lambda r: 10**r}  # r is log10 of the size already
_TERMS_Z: _Terms = {"log": np.log10, "linear": lambda z: z, "exponential": lambda z: 10**z}


@dataclass(frozen=True, eq=False)
class Cells:
    """Voronoi cells of the plane of magnitude and log size: k-means centres, hence small where galaxies are many."""

    middle: Floats  # (2,), with which the plane is
    spread: Floats  # (2,) standardised
    centres: Floats  # (cells, 2)

    @classmethod
    def of(cls, magnitude: Floats, log_size: Floats, most: int) -> Cells:
        """At most ``most`` cells; always the same for the same galaxies, in whatever order."""
        plane = np.column_stack([magnitude, log_size])
        spread = plane.std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        middle = plane.mean(axis=0)
        plane = (plane - middle) / spread
        most = min(most, len(np.unique(plane, axis=0)))
        ordered = plane[np.lexsort(plane.T)]
        return cls(middle, spread, KMeans(most, n_init=1, random_state=0).fit(ordered).cluster_centers_)

    def number(self, magnitude: Floats, log_size: Floats) -> Ints:
        """The cell of each galaxy, from 0: that of the nearest centre."""
        plane = (np.column_stack([magnitude, log_size]) - self.middle) / self.spread
        return cKDTree(self.centres).query(plane)[1].astype(np.int64)


def edges_of(cell: Ints, redshift: Floats, fraction: Floats) -> dict[int, Floats]:
    """For each cell, the redshifts at which a new slice begins (perhaps none).

    They are quantiles, so that each slice has about :data:`PER_SLICE` galaxies, or more, with a vote for the answer.
    """
    edges = {}
    for one in np.unique(cell).tolist():
        voted = redshift[(cell == one) & (fraction > 0)]
        number = min(len(voted) // PER_SLICE, MOST_SLICES)
        edges[one] = np.quantile(voted, np.linspace(0, 1, number + 1)[1:-1]) if number > 1 else np.zeros(0)
    return edges


def slices_of(cell: Ints, redshift: Floats, edges: dict[int, Floats]) -> Ints:
    """The slice of each galaxy within its cell, 0 = the nearest."""
    slices = np.zeros(len(cell), np.int64)
    for one in np.unique(cell).tolist():
        here = cell == one
        slices[here] = np.searchsorted(edges[one], redshift[here], side="right")
    return slices


def law(x: Floats, k: Floats, c: Floats, shape: Shape) -> Floats:
    """The share of galaxies whose log10 vote fraction is at most ``x`` <= 0; 1 at x = 0 (Hart et al. 2016, section 3).

    "logistic": ``(1 + e^c) / (1 + e^(c - k x))``; "power": ``exp(-k (-x)^c)``. Arguments broadcast.
    """
    if shape == "logistic":
        return (1 + np.exp(c)) / (1 + np.exp(np.minimum(c - k * x, 700)))
    return np.exp(-k * np.maximum(-x, 1e-12) ** c)


def inverse(y: Floats, k: Floats, c: Floats, shape: Shape) -> Floats:
    """The log10 vote fraction below which the share ``y``, in (0, 1], of galaxies is; the inverse of :func:`law`."""
    y = np.clip(y, 1e-12, 1)
    if shape == "logistic":
        return np.minimum((c - np.log(np.maximum((1 + np.exp(c)) / y - 1, 1e-300))) / k, 0)
    return -((-np.log(y) / k) ** (1 / c))


def _slopes(x: Floats, k: float, c: float, shape: Shape) -> Floats:
    """The derivatives of :func:`law` by k and c, (N, 2)."""
    y = law(x, np.asarray(k), np.asarray(c), shape)
    if shape == "logistic":
        above = 1 / (1 + np.exp(np.minimum(k * x - c, 700)))  # e^(c - kx) / (1 + e^(c - kx))
        return np.column_stack([y * x * above, np.exp(c) * (1 - above) - y * above])
    t = np.maximum(-x, 1e-12)
    return np.column_stack([-(t**c) * y, -k * t**c * np.log(t) * y])


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice of redshift of one cell: mean magnitude, log size and redshift, and its cumulative distribution."""

    magnitude: float
    log_size: float
    redshift: float
    below: Floats  # the share of galaxies at or below each of the log fractions of the grid

    @classmethod
    def of(cls, magnitude: Floats, log_size: Floats, redshift: Floats, fraction: Floats) -> Slice:
        """Of the galaxies of a slice."""
        below = np.searchsorted(np.sort(fraction), 10**_GRID + 1e-9, side="right") / len(fraction)
        return cls(float(magnitude.mean()), float(log_size.mean()), float(redshift.mean()), below)

    def fit(self, shape: Shape) -> tuple[float, float, float]:
        """k, c and the sum of squared differences."""
        found = least_squares(
            lambda p: law(_GRID, p[0], p[1], shape) - self.below,
            _START[shape],
            jac=lambda p: _slopes(_GRID, p[0], p[1], shape),
            bounds=_BOUNDS[shape],
            max_nfev=60,
        )
        return float(found.x[0]), float(found.x[1]), float(2 * found.cost)


@dataclass(frozen=True, eq=False)
class Trend:
    """One parameter of a law as ``A0 + AM fM(M) + AR fR(R) + Az fz(z)``, kept within the values that were fitted."""

    terms: tuple[str, str, str]
    coefficients: Floats
    low: float
    high: float

    def at(self, magnitude: Floats, log_size: Floats, redshift: Floats) -> Floats:
        """The parameter for galaxies of these properties."""
        return np.clip(_design(self.terms, magnitude, log_size, redshift) @ self.coefficients, self.low, self.high)

    @classmethod
    def of(cls, slices: list[Slice], values: Floats) -> Trend:
        """The best of all combinations of terms, without the extreme :data:`CLIP` percent of the values."""
        low, high = np.percentile(values, [CLIP, 100 - CLIP])
        kept = (values >= low) & (values <= high)
        m, r, z = (np.array([getattr(s, n) for s in slices])[kept] for n in ("magnitude", "log_size", "redshift"))
        best, least = None, np.inf
        for terms in product(_TERMS_M, _TERMS_R, _TERMS_Z):
            design = _design(terms, m, r, z)
            coefficients = np.linalg.lstsq(design, values[kept], rcond=None)[0]
            residual = float(((design @ coefficients - values[kept]) ** 2).sum())
            if residual < least:
                best, least = (terms, coefficients), residual
        assert best is not None
        return cls(best[0], best[1], float(low), float(high))


def _design(terms: tuple[str, str, str], magnitude: Floats, log_size: Floats, redshift: Floats) -> Floats:
    m, r, z = _TERMS_M[terms[0]](magnitude), _TERMS_R[terms[1]](log_size), _TERMS_Z[terms[2]](redshift)
    return np.column_stack([np.ones(len(m)), m, r, z])


@dataclass(frozen=True, eq=False)
class Sample:
    """The galaxies from which a correction is derived, or to which it is applied: arrays (N,) of one length."""

    magnitude: Floats
    log_size: Floats
    redshift: Floats
    fraction: Floats
    cell: Ints
    slice: Ints


@dataclass(frozen=True, eq=False)
class Fading:
    """How the fractions of one answer fade: a law whose two parameters change with magnitude, size and redshift."""

    shape: Shape
    k: Trend
    c: Trend
    n_slices: int
    misfit: float  # root mean square between laws and distributions, in shares of galaxies

    @classmethod
    def of(cls, sample: Sample) -> Fading | None:
        """Fit both shapes to all slices and keep the better; None where there are fewer than eight slices."""
        slices = []
        for cell, number in np.unique(np.column_stack([sample.cell, sample.slice]), axis=0).tolist():
            here = (sample.cell == cell) & (sample.slice == number)
            if here.sum() >= PER_SLICE and (sample.fraction[here] > 0).sum() >= PER_SLICE // 2:
                parts = (sample.magnitude, sample.log_size, sample.redshift, sample.fraction)
                slices.append(Slice.of(*(values[here] for values in parts)))
        if len(slices) < 8:
            return None
        fits = {shape: np.array([one.fit(shape) for one in slices]) for shape in _BOUNDS}
        shape = min(fits, key=lambda one: float(fits[one][:, 2].sum()))
        k, c = (Trend.of(slices, fits[shape][:, column]) for column in (0, 1))
        misfit = float(np.sqrt(fits[shape][:, 2].mean() / len(_GRID)))
        return cls(shape, k, c, len(slices), misfit)

    def corrected(self, sample: Sample, reference: float) -> Floats:
        """The fractions that the galaxies would have at the redshift ``reference``: same rank, other law. 0 stays 0."""
        out = np.zeros(len(sample.fraction))
        some = sample.fraction > 0
        m, r, z = sample.magnitude[some], sample.log_size[some], sample.redshift[some]
        there = np.full(len(z), reference)
        rank = law(np.log10(sample.fraction[some]), self.k.at(m, r, z), self.c.at(m, r, z), self.shape)
        out[some] = 10 ** inverse(rank, self.k.at(m, r, there), self.c.at(m, r, there), self.shape)
        return out


def matched(sample: Sample, basis: Sample) -> Floats:
    """The fractions of ``sample`` moved, rank by rank within each cell, onto those of the cell's nearest slice.

    Ranks are counted in ``basis``, the well-observed galaxies; equal fractions share a mean rank; 0 stays 0 and 1 stays
    1 (Hart et al. 2016, the method for answers that no law describes).
    """
    out = sample.fraction.copy()
    for cell in np.unique(basis.cell).tolist():
        ours = basis.cell == cell
        near = np.sort(basis.fraction[ours & (basis.slice == 0)])
        for number in np.unique(basis.slice[ours]).tolist():
            here = (sample.cell == cell) & (sample.slice == number)
            seen = np.sort(basis.fraction[ours & (basis.slice == number)])
            values = sample.fraction[here]
            edges = [np.searchsorted(seen, values, side=side) for side in ("left", "right")]  # type: ignore[call-overload]
            rank = (edges[0] + edges[1]) / (2 * len(seen))
            out[here] = np.quantile(near, np.clip(rank, 0, 1))
    out[sample.fraction <= 0] = 0.0
    out[sample.fraction >= 1] = 1.0
    return out


def unevenness(values: Floats, sample: Sample) -> float:
    """How far the distributions of ``values`` in slices are from those of the raw fractions nearby; 0 is not at all.

    For each cell and slice the histogram over ten bins is held against that of the fractions in the cell's nearest
    slice: the mean squared difference of shares, summed over bins and weighted by galaxies.
    """
    edges = np.linspace(0, 1, 11)
    total, n = 0.0, 0
    for cell in np.unique(sample.cell).tolist():
        ours = sample.cell == cell
        near = sample.fraction[ours & (sample.slice == 0)]
        wanted = np.histogram(near, edges)[0] / len(near)
        for number in np.unique(sample.slice[ours & (sample.slice > 0)]).tolist():
            here = values[ours & (sample.slice == number)]
            found = np.histogram(np.clip(here, 0, 1), edges)[0] / len(here)
            total, n = total + len(here) * float(((found - wanted) ** 2).sum()), n + len(here)
    return total / n if n else 0.0
