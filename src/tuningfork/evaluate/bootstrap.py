"""Percentile bootstrap over galaxies: each statistic is a function of weights, ones first and then resamples."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Statistic = Callable[[Floats], dict[str, Floats]]

NO_GALAXIES = "no galaxies"
LEVEL = 0.95  # of every interval of the report
_CELLS = 640_000  # weights in memory at a time (float64)


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval; NaN where no galaxy says anything about it, or where nothing was resampled."""

    value: float
    low: float = float("nan")
    high: float = float("nan")

    def __str__(self) -> str:
        return self.text()

    def text(self, digits: int = 3) -> str:
        """``0.931 [0.918, 0.944]``; without an interval the value alone; ``no galaxies`` for NaN."""
        if not np.isfinite(self.value):
            return NO_GALAXIES
        if not (np.isfinite(self.low) and np.isfinite(self.high)):
            return f"{self.value:z.{digits}f}"
        return f"{self.value:z.{digits}f} [{self.low:z.{digits}f}, {self.high:z.{digits}f}]"

    def as_dict(self) -> dict[str, float | None]:
        """``{"value", "low", "high"}`` with None instead of NaN, for JSON."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {name: float(x) if np.isfinite(x) else None for name, x in numbers.items()}


def resampled_weights(n: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each of ``n`` galaxies is drawn in each resample, in blocks of shape (resamples in the block, n).

    Galaxies are drawn with replacement, each with the same chance and whatever its class (no strata), so that the
    number of galaxies of a class fluctuates from resample to resample, as it would from survey to survey. The draws
    depend on ``seed`` and ``n`` alone.
    """
    generator = np.random.default_rng(seed)
    block = max(1, _CELLS // max(n, 1))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = generator.integers(n, size=(rows, n)) + np.arange(rows)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def estimate(
    statistic: Statistic,
    n: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
    centred: Collection[str] = (),
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Estimate | list[Estimate]]:
    """Value and percentile interval of everything that ``statistic`` computes.

    ``statistic`` takes weights of shape (B, n) and returns arrays of shape (B,) or (B, K). The value comes from
    weights of one, the interval from the (1 - level)/2 and (1 + level)/2 quantiles over the resamples (Efron 1979;
    Efron & Tibshirani 1993, chapter 13). A resample in which a statistic is NaN (it holds no galaxy of a rare class)
    is left out of that statistic's quantiles; ``resamples=0`` gives values without intervals, and so does ``n=0``,
    whose values are NaN. Statistics named in ``centred`` are never negative and grow with noise, of which a resample
    has more than the sample: the spread of their resamples is laid about the value instead, and cut at 0.
    """
    whole = statistic(np.ones((1, n)))
    drawn: dict[str, list[Floats]] = {name: [] for name in whole}
    done = 0
    for weights in resampled_weights(n, resamples if n else 0, seed):
        for name, values in statistic(weights).items():
            drawn[name].append(values)
        done += len(weights)
        if progress is not None:
            progress(done, resamples, "bootstrap over galaxies")
    return {name: _with_interval(value[0], drawn[name], level, name in centred) for name, value in whole.items()}


def _with_interval(value: Floats, blocks: list[Floats], level: float, centred: bool) -> Estimate | list[Estimate]:
    values = np.atleast_1d(value)
    low = np.full(values.shape, np.nan)
    high = low.copy()
    if blocks:
        rows = np.concatenate(blocks).reshape(-1, len(values))
        for column in range(len(values)):
            finite = rows[np.isfinite(rows[:, column]), column]
            if len(finite) and np.isfinite(values[column]):
                low[column], high[column] = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
                if centred:
                    shift = values[column] - finite.mean()
                    low[column], high[column] = max(low[column] + shift, 0.0), high[column] + shift
    estimates = [Estimate(float(v), float(a), float(b)) for v, a, b in zip(values, low, high, strict=True)]
    return estimates[0] if np.ndim(value) == 0 else estimates


def ratio(above: Floats, below: Floats) -> Floats:
    """``above / below`` element by element, NaN where ``below`` is not positive."""
    shape = np.broadcast_shapes(above.shape, below.shape)
    return np.divide(above, below, out=np.full(shape, np.nan), where=np.broadcast_to(below > 0, shape))


def mean_of_finite(values: Floats) -> Floats:
    """The mean over the last axis of what is finite there; NaN where nothing is."""
    finite = np.isfinite(values)
    return ratio(np.where(finite, values, 0.0).sum(-1), finite.sum(-1).astype(np.float64))
