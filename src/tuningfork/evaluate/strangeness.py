"""How unlike everything that a network was trained on a galaxy is, told from the network's features of it.

A mixture of Gaussians, one per class, with one covariance for all (Lee et al. 2018): few directions in full, and the
same variance in every other (Tipping & Bishop 1999), so that it is small enough to travel with a model's card (F = 1280
features, 32 directions: 97 kB). The score is the squared Mahalanobis distance to the nearest class; galaxies that the
fit has not seen turn it into the share of ordinary galaxies that are stranger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import BadVotes
from .bootstrap import Bools, Estimate, Floats, estimate
from .metrics import Ranking, weighted_mean

Singles = NDArray[np.float32]
KEPT = 1000  # scores of ordinary galaxies that are kept: p-values down to 0.001
_HELD = 5  # one galaxy in so many is kept from the fit where nothing else is held out
_ROWS = 8192  # galaxies scored at a time
_FEWEST = 20  # galaxies, below which there is no covariance to speak of


@dataclass(frozen=True, eq=False)
class Strangeness:
    """What :func:`fit_strangeness` found, as arrays for F features, D directions and C classes.

    ``mean`` and ``scale`` (F,) bring each feature to mean 0 and variance 1; ``axes`` (F, D), float16, are the
    directions; ``factor`` (D, D) whitens them; ``centres`` (C, D) are the classes there; ``rest`` (1,) is the variance
    in every other direction (0: there is none); ``ordinary`` (M,) are scores of galaxies that were not fitted, sorted.
    """

    mean: Singles
    scale: Singles
    axes: NDArray[np.float16]
    factor: Singles
    centres: Singles
    rest: Singles
    ordinary: Singles

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name, ready for safetensors; :meth:`from_arrays` takes them back."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Strangeness:
        """The same from :attr:`arrays`; raises :class:`BadVotes` where some are missing or do not fit together."""
        names = [one.name for one in fields(cls)]
        lacking = [name for name in names if name not in arrays]
        if lacking:
            raise BadVotes(f"the arrays of a strangeness lack {', '.join(lacking)}")
        single = {name: np.array(arrays[name], np.float32) for name in names if name != "axes"}
        made = cls(axes=np.array(arrays["axes"], np.float16), **single)
        n, d = made.axes.shape if made.axes.ndim == 2 else (-1, -1)
        wanted = {"mean": (n,), "scale": (n,), "factor": (d, d), "rest": (1,)}
        wrong = [name for name, shape in wanted.items() if getattr(made, name).shape != shape]
        if wrong or made.centres.shape[1:] != (d,) or not made.ordinary.size:
            shapes = ", ".join(f"{name} {getattr(made, name).shape}" for name in names)
            raise BadVotes(f"the arrays of a strangeness do not fit together: {shapes}")
        return made

    @property
    def n_bytes(self) -> int:
        """What the arrays take."""
        return sum(array.nbytes for array in self.arrays.values())

    def score(self, features: ArrayLike) -> Floats:
        """The squared Mahalanobis distance to the nearest class, for features (N, F): shape (N,), 0 and up.

        Features that are not finite are infinitely strange. Raises :class:`BadVotes` for another number of features.
        """
        rows = _checked(features, len(self.mean))
        parts = [self._score(rows[start : start + _ROWS]) for start in range(0, len(rows), _ROWS)]
        return np.concatenate(parts).astype(np.float64) if parts else np.zeros(0)

    def _score(self, rows: Singles) -> Floats:
        finite: Bools = np.asarray(np.isfinite(rows).all(1), np.bool_)
        x = np.where(finite[:, None], (rows - self.mean) / self.scale, 0.0)  # (n, F)
        seen = x @ self.axes.astype(np.float32)  # (n, D)
        white = seen @ self.factor
        centres = self.centres @ self.factor
        squared = (white**2).sum(1)[:, None] - 2 * white @ centres.T + (centres**2).sum(1)
        score = np.maximum(squared.min(1), 0.0)
        if self.rest[0] > 0:
            score = score + np.maximum((x**2).sum(1) - (seen**2).sum(1), 0.0) / self.rest[0]
        return np.where(finite & np.isfinite(score), score, np.inf).astype(np.float64)

    def share(self, features: ArrayLike) -> Floats:
        """The share of ordinary galaxies that are at least as strange, (N,): small means unlike the training.

        (1 + the number of kept scores that are not below) / (M + 1): of galaxies like those of the training at most a
        share of p has a value up to p, on average (a conformal p-value; Bates et al. 2023), and none is below
        1 / (M + 1), which is about 0.001.
        """
        return self.share_of(self.score(features))

    def share_of(self, scores: ArrayLike) -> Floats:
        """:meth:`share` of scores that are known already."""
        # float32 on both sides: a galaxy among the kept ones is not above itself by rounding
        values = np.asarray(scores, np.float64).astype(np.float32)
        stranger = len(self.ordinary) - np.searchsorted(self.ordinary, values, side="left")
        return np.asarray((1.0 + stranger) / (len(self.ordinary) + 1.0), np.float64)


def fit_strangeness(
    features: ArrayLike,
    classes: ArrayLike | None = None,
    *,
    held_out: ArrayLike | None = None,
    directions: int = 32,
    seed: int = 0,
) -> Strangeness:
    """What ordinary galaxies look like to a network, from its features (N, F) of them.

    Args:
        features: of galaxies of the training part.
        classes: the class of each (N,), any integers (of votes, the leading answer); None for one class.
        held_out: features (M, F) of galaxies like them that the network was not trained on, such as the validation
            part, which the p-values come from; None keeps every fifth galaxy, drawn with ``seed``, from the fit. A
            network knows its own training galaxies best, so that the latter makes others look a little too strange.
        directions: principal components in which the covariance is whole; fewer where the features have fewer.

    The covariance of the directions is pooled within classes, and its correlations are shrunk (Ledoit & Wolf 2004).
    Everything is rounded to what is kept before the p-values are made, so that rounding does not bias them. Raises
    :class:`BadVotes` for features that are not finite, do not vary, or are of too few galaxies.
    """
    rows = _checked(features, None)
    _all_finite(rows)
    groups = np.zeros(len(rows), np.int64) if classes is None else np.asarray(classes, np.int64)
    if groups.shape != rows.shape[:1]:
        raise BadVotes(f"classes of shape {groups.shape} for features of {len(rows)} galaxies")
    if held_out is None:
        kept = np.random.default_rng(seed).permutation(len(rows)) % _HELD == 0
        rows, groups, ordinary = rows[~kept], groups[~kept], rows[kept]
    else:
        ordinary = _checked(held_out, rows.shape[1])
        _all_finite(ordinary)
    if len(rows) < _FEWEST or len(ordinary) < _FEWEST:
        raise BadVotes(
            f"strangeness is told from {_FEWEST} galaxies or more, and as many that are held out, not from {len(rows)} "
            f"and {len(ordinary)}"
        )
    unscored = _fitted(rows, groups, directions)
    scores = np.sort(unscored.score(ordinary))
    m = min(len(scores), KEPT)
    # these ranks keep the p-values valid where scores are left out: the k-th kept is above k/(m+1) of the ranks
    ranks = np.ceil((len(scores) + 1) * np.arange(1, m + 1) / (m + 1) - 1e-9).astype(np.int64)
    return replace(unscored, ordinary=scores[ranks - 1].astype(np.float32))


def _fitted(rows: Singles, groups: NDArray[np.int64], directions: int) -> Strangeness:
    from sklearn.covariance import ledoit_wolf  # a second to import, and not needed to score

    mean = rows.mean(0, dtype=np.float64).astype(np.float32)
    spread = rows.std(0, dtype=np.float64)
    if not (spread > 1e-6 * np.abs(mean)).any():
        raise BadVotes(f"all {rows.shape[1]} features are the same for all {len(rows)} galaxies")
    # a feature that never moved (but for rounding) has no scale of its own; where it does move, that is strange
    still = spread <= 1e-6 * np.abs(mean)
    scale = np.where(still, np.median(spread[~still]), spread).astype(np.float32)
    x = ((rows - mean) / scale).astype(np.float64)
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    d = max(1, min(directions, len(x) - 1, int((values > 1e-6 * values[-1]).sum())))
    axes = vectors[:, ::-1][:, :d].astype(np.float16)
    seen = x @ axes.astype(np.float64)  # (n, D)
    names, place = np.unique(groups, return_inverse=True)
    centres = np.stack([seen[place == k].mean(0) for k in range(len(names))])
    inner = seen - centres[place]
    width = np.maximum(inner.std(0), 1e-6 * inner.std())  # of each direction, so that shrinking spares narrow ones
    correlation, _ = ledoit_wolf(inner / width, assume_centered=True)
    power, turned = np.linalg.eigh(correlation)
    factor = turned / np.sqrt(np.maximum(power, 1e-6 * power[-1])) / width[:, None]
    left = x.shape[1] - d
    rest = max(float((x**2).sum() - (seen**2).sum()) / len(x) / left, 0.0) if left else 0.0
    if rest <= 1e-6 * values[-1]:
        rest = 0.0  # nothing but rounding
    whiten, classes, variance = (one.astype(np.float32) for one in (factor, centres, np.array([rest])))
    return Strangeness(mean, scale, axes, whiten, classes, variance, np.zeros(0, np.float32))


def _checked(features: ArrayLike, width: int | None) -> Singles:
    rows = np.asarray(features, np.float32)
    if rows.ndim != 2 or (width is not None and rows.shape[1] != width) or not rows.shape[1]:
        wanted = f"(galaxies, {width})" if width is not None else "(galaxies, features)"
        raise BadVotes(f"features of shape {rows.shape}, where {wanted} is needed: are they of the same network?")
    return rows


def _all_finite(rows: Singles) -> None:
    bad = np.flatnonzero(~np.isfinite(rows).all(1))
    if len(bad):
        raise BadVotes(f"{len(bad)} of {len(rows)} galaxies have features with NaN or infinity, such as row {bad[0]}")


def judge_strangeness(
    ordinary: ArrayLike,
    strange: Mapping[str, ArrayLike],
    fitted: Strangeness,
    level: float = 0.01,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, Estimate | int]]:
    """How well scores tell other things from ordinary test galaxies: per name of ``strange``, with 95% intervals.

    Both hold scores (N,) of :meth:`Strangeness.score`. Keys: galaxies; roc_auc, the chance that one of these is
    stranger than an ordinary galaxy; flagged, the share whose p-value is at most ``level``; flagged_ordinary, that of
    ordinary galaxies, which is about ``level`` or less where they are like those of the fit.
    """
    own = np.asarray(ordinary, np.float64)
    found: dict[str, dict[str, Estimate | int]] = {}
    for name, values in strange.items():
        other = np.asarray(values, np.float64)
        both = np.concatenate([own, other])
        new = np.arange(len(both)) >= len(own)
        flag = (fitted.share_of(both) <= level).astype(np.float64)
        ranking = Ranking(new, both)

        def statistic(
            weights: Floats, ranking: Ranking = ranking, flag: Floats = flag, new: Bools = new
        ) -> dict[str, Floats]:
            return {
                "roc_auc": ranking.areas(weights)[0],
                "flagged": weighted_mean(flag[new], weights[:, new]),
                "flagged_ordinary": weighted_mean(flag[~new], weights[:, ~new]),
            }

        told = estimate(statistic, len(both), resamples=resamples, seed=seed)
        found[name] = {"galaxies": len(other)}
        found[name] |= {key: value for key, value in told.items() if isinstance(value, Estimate)}
    return found
