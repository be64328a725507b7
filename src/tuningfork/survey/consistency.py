"""The weight of each volunteer, from how often others agree: the consistency weighting of Galaxy Zoo 2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .clicks import Clicks

Floats = NDArray[np.float64]
ITERATIONS = 3


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of the volunteers, and the votes weighted with them.

    ``kappa``, ``weight`` and ``n_clicks`` are (volunteers,): kappa is NaN, and the weight 1, for one without a click
    that counts. ``votes`` (subjects, answers) are sums of weights.
    """

    kappa: Floats
    weight: Floats
    n_clicks: NDArray[np.int64]
    votes: Floats


def agreement(fraction: Floats, answers: Floats) -> Floats:
    """How well one click agrees: ``(2 f + m - 2) / m``, f the answer's share of the votes, m the number of answers.

    This is the mean over the answers of f_r for the one that was clicked and 1 - f_r for the others (Willett et al.
    2013, section 3.2), which adds up so because the shares of a question sum to 1. The paper's example: shares of 0.7,
    0.2 and 0.1 give 0.8, 0.467 and 0.4.
    """
    return (2 * fraction + answers - 2) / answers


def weight_of(kappa: Floats) -> Floats:
    """``min(1, (kappa / 0.6)^8.5)`` (Willett et al. 2013, section 3.2); 1 where kappa is NaN."""
    return np.where(np.isnan(kappa), 1.0, np.minimum(1.0, (np.nan_to_num(kappa, nan=1.0) / 0.6) ** 8.5))


def weigh(
    clicks: Clicks,
    counts: NDArray[np.int32],
    iterations: int = ITERATIONS,
    progress: Callable[[int, int, str], None] | None = None,
) -> Weights:
    """Weigh volunteers by their consistency with all the others, and the votes by volunteers, in turn, three times.

    At first all weigh 1; then kappa of a volunteer is the mean :func:`agreement` of her clicks with the weighted
    shares, her own votes among them, and her weight is :func:`weight_of` that. Nobody gains more than 1. Reads the
    clicks from disk twice per iteration. ``counts`` are :meth:`Clicks.counts`.
    """
    tree, n = clicks.tasks.tree, len(clicks.users)
    answers = np.array([part.stop - part.start for part in tree.slices.values() for _ in range(part.start, part.stop)])
    votes = counts.astype(np.float64)
    kappa, weight, made = np.full(n, np.nan), np.ones(n), np.zeros(n, np.int64)
    for turn in range(iterations):
        if progress is not None:
            progress(turn, iterations, f"weighing {n:,} volunteers")
        shares = tree.fractions(votes)
        total = np.zeros(n)
        made = np.zeros(n, np.int64)
        for _, subject, user, column in clicks.batches():
            agreed = agreement(shares[subject, column], answers[column])
            known = ~np.isnan(agreed)  # a question all of whose voters have come to weigh nothing has no shares
            total += np.bincount(user[known], agreed[known], n)
            made += np.bincount(user[known], minlength=n)
        kappa = np.divide(total, made, out=np.full(n, np.nan), where=made > 0)
        weight = weight_of(kappa)
        votes = np.zeros_like(votes)
        for _, subject, user, column in clicks.batches():
            np.add.at(votes, (subject, column), weight[user])
    return Weights(kappa, weight, made, votes)
