"""Places on a grid: every point of a map gets a cell of its own, and like stays beside like."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.optimize import linear_sum_assignment

Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

WINDOW = 12  # cells a side within which galaxies change places: an exact assignment of 144 takes some ms
ROUNDS = (3, 3, 2, 2, *(1,) * 8)  # of a round, how many cells about each are its neighbourhood
NEIGHBOURS = 20


@dataclass(frozen=True)
class Kept:
    """How well a grid keeps neighbours: see :func:`kept_neighbours`.

    ``share`` is the mean over the galaxies, ``chance`` what a shuffled grid gives, ``projected`` what the map has
    before it is laid on the grid.
    """

    share: float
    chance: float
    projected: float


def grid_shape(n: int) -> tuple[int, int]:
    """Rows and columns of the squarest grid with a cell for each of ``n``: at most one row's worth stays empty."""
    columns = math.ceil(math.sqrt(n))
    return math.ceil(n / columns), columns


def grid_places(positions: Singles, features: Singles) -> Ints:
    """The row and column (N, 2) of each galaxy, each cell taken once, on the grid of :func:`grid_shape`.

    ``positions`` (N, 2) are those on the map, x to the right and y up; ``features`` (N, D) say what is alike. The map
    is first halved again and again at the median of its longer side, so that dense and empty regions take cells alike
    (:func:`halved`). Then, as linear assignment sorting (Barthel et al. 2023, CGF 42, e14718) does: the features on the
    grid are averaged over a neighbourhood of cells, and within windows of 12 x 12 the galaxies take the places whose
    average they are nearest to, by an exact assignment; again with smaller neighbourhoods. An exact assignment of the
    whole map is of the order N^3: at 10,000 galaxies hours. The same input gives the same places.
    """
    rows, columns = grid_shape(len(positions))
    places = halved(positions, rows, columns)
    grid = np.full((rows, columns), -1, np.int64)
    grid[places[:, 0], places[:, 1]] = np.arange(len(positions))
    for number, reach in enumerate(ROUNDS):
        _sort(grid, np.asarray(features, np.float32), reach, number)
    row, column = np.nonzero(grid >= 0)
    places[grid[row, column]] = np.stack([row, column], axis=1)
    return places


def halved(positions: Singles, rows: int, columns: int) -> Ints:
    """Places (N, 2) by halving: the longer side of a block of cells is cut, and the points at as many of them."""
    places = np.zeros((len(positions), 2), np.int64)
    along = np.stack([-positions[:, 1], positions[:, 0]], axis=1)  # rows run down
    blocks = [(np.arange(len(positions)), 0, rows, 0, columns)]
    while blocks:
        who, top, bottom, left, right = blocks.pop()
        height, width = bottom - top, right - left
        if not len(who):
            continue
        if height * width == 1:
            places[who] = top, left
            continue
        axis = int(width > height)
        sides = (height, width)
        middle = sides[axis] // 2
        first, second = middle * sides[1 - axis], (sides[axis] - middle) * sides[1 - axis]
        count = min(max(round(len(who) * middle / sides[axis]), len(who) - second), first)
        order = who[np.argsort(along[who, axis], kind="stable")]
        if axis == 0:
            blocks.append((order[:count], top, top + middle, left, right))
            blocks.append((order[count:], top + middle, bottom, left, right))
        else:
            blocks.append((order[:count], top, bottom, left, left + middle))
            blocks.append((order[count:], top, bottom, left + middle, right))
    return places


def _sort(grid: Ints, features: Singles, reach: int, number: int) -> None:
    """One round: in each window the galaxies of ``grid`` take the places whose surroundings they are nearest to."""
    taken = (grid >= 0).astype(np.float32)
    size = (2 * reach + 1, 2 * reach + 1, 1)
    on = features[np.maximum(grid, 0)] * taken[..., None]
    weight = uniform_filter(taken[..., None], size, mode="nearest")
    target = uniform_filter(on, size, mode="nearest") / np.maximum(weight, 1e-6)
    for rows, columns in _windows(grid.shape, number):
        who = grid[rows, columns].ravel()
        cells = target[rows, columns].reshape(len(who), -1)
        some = who[who >= 0]
        here = features[some]
        # |x - t|^2 without |x|^2, which is the same wherever a galaxy goes
        cost = (cells**2).sum(axis=1)[None] - 2 * here @ cells.T
        galaxies, chosen = linear_sum_assignment(cost)
        new = np.full(len(who), -1, np.int64)
        new[chosen] = some[galaxies]
        grid[rows, columns] = new.reshape(grid[rows, columns].shape)


def _windows(shape: tuple[int, ...], number: int) -> Iterator[tuple[slice, slice]]:
    """Windows that cover the grid, each cell once; those of another round are shifted by half a window."""
    down, right = (WINDOW // 2 * (number >> bit & 1) for bit in (0, 1))
    for top in range(-down, shape[0], WINDOW):
        for left in range(-right, shape[1], WINDOW):
            yield slice(max(top, 0), top + WINDOW), slice(max(left, 0), left + WINDOW)


def kept_neighbours(
    features: Singles, places: Ints, positions: Singles, count: int = NEIGHBOURS, some: int = 2000, seed: int = 0
) -> Kept:
    """The share of a galaxy's neighbours on the grid (8, fewer at the edge) that are among its ``count`` nearest.

    Nearest is by ``features`` (N, D), Euclidean. Averaged over at most ``some`` galaxies, drawn by ``seed``. By chance
    it is count / (N - 1). ``projected`` is the same of the 8 nearest on the map ``positions`` (N, 2).
    """
    n = len(features)
    chosen = np.sort(np.random.default_rng(seed).permutation(n)[:some])
    count, eight = min(count, n - 1), min(8, n - 1)
    shares, projected = [], []
    for start in range(0, len(chosen), 256):
        rows = chosen[start : start + 256]
        near = _nearest(features, rows, count)
        flat = _nearest(positions, rows, eight)
        apart = np.abs(places[rows][:, None] - places[None]).max(axis=2)
        for one, row in enumerate(rows):
            beside = np.flatnonzero((apart[one] == 1) & (np.arange(n) != row))
            shares.append(np.isin(beside, near[one]).mean() if len(beside) else 0.0)
            projected.append(np.isin(flat[one], near[one]).mean())
    return Kept(float(np.mean(shares)), count / (n - 1), float(np.mean(projected)))


def _nearest(x: Singles, rows: Ints, count: int) -> Any:
    """The ``count`` nearest rows of x to each of ``rows``, itself left out."""
    squared = (x**2).sum(axis=1)[None] - 2 * x[rows] @ x.T
    squared[np.arange(len(rows)), rows] = np.inf
    return np.argpartition(squared, count - 1, axis=1)[:, :count]
