"""In which order an epoch visits the galaxies: a function of (seed, epoch) alone, balanced per class on request."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import RecipeError

BALANCES = ("none", "balanced", "sqrt")


def shares(counts: ArrayLike, balance: str) -> NDArray[np.float64]:
    """The share of an epoch given to each class that holds ``counts`` (K,) galaxies; sums to 1.

    "none": n_k / N. "balanced": 1 / (number of classes that are not empty). "sqrt": sqrt(n_k) / sum of sqrt(n), half
    way between in the logarithm. An empty class has share 0. Raises :class:`RecipeError` for any other ``balance``.
    """
    counts = np.asarray(counts, dtype=np.float64)
    if balance not in BALANCES:
        raise RecipeError(f"there is no balance {balance!r}; there are {', '.join(BALANCES)}")
    weights = {"none": counts, "balanced": (counts > 0).astype(np.float64), "sqrt": np.sqrt(counts)}[balance]
    return weights / max(weights.sum(), 1e-300)


def copies(counts: ArrayLike, balance: str) -> NDArray[np.float64]:
    """How often an epoch shows a galaxy of each class on average, ``N share_k / n_k`` with :func:`shares`: (K,).

    ``counts`` (K,) are the galaxies of each class and N is their sum, so that sum n_k copies_k = N: an epoch stays as
    long as it was. Every repeat is another random view; that is what an author's table of augmented copies per class
    says, but for a factor that they have in common. Below 1 only some of the class come in an epoch, others in the
    next. 0 for an empty class. Raises :class:`RecipeError` for a ``balance`` that there is not.
    """
    counts = np.asarray(counts, dtype=np.float64)
    visits = counts.sum() * shares(counts, balance)
    return np.divide(visits, counts, out=np.zeros_like(counts), where=counts > 0)


def order(
    n: int, epoch: int, seed: int, *, classes: ArrayLike | None = None, balance: str = "none"
) -> NDArray[np.int64]:
    """The ``n`` row numbers that epoch ``epoch`` visits, shuffled.

    Without balance every row comes once. With it class k comes round(n * :func:`shares`) times (largest remainders):
    a large class gives a fresh subset without repeats, a small one is repeated in whole rounds before any galaxy comes
    once more. ``classes``: (n,) class number of each row, needed for a balance. Equal arguments give equal orders on
    every machine, whatever came before; that is what makes a killed training resume in the middle of an epoch.
    """
    generator = np.random.Generator(np.random.PCG64([seed & 0xFFFFFFFF, epoch]))
    if balance == "none":
        return generator.permutation(n)
    if classes is None:
        raise RecipeError(f'balance "{balance}" needs a class for every galaxy; these labels have none: use "none"')
    names, inverse, counts = np.unique(np.asarray(classes), return_inverse=True, return_counts=True)
    if len(inverse) != n:
        raise RecipeError(f"{n} galaxies came with {len(inverse)} classes")
    ideal = n * shares(counts, balance)
    quota = np.floor(ideal).astype(np.int64)
    quota[np.argsort(quota - ideal, kind="stable")[: n - quota.sum()]] += 1
    chosen = []
    for k in range(len(names)):
        rows = np.flatnonzero(inverse == k)
        rounds = -(-quota[k] // len(rows))
        chosen.append(np.concatenate([generator.permutation(rows) for _ in range(rounds)] or [rows[:0]])[: quota[k]])
    return generator.permutation(np.concatenate(chosen))
