"""What a Dirichlet says of each answer: its expected fraction and the central 90% of its Beta marginal."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

from ..errors import BadVotes
from .tree import Tree

LOW, HIGH = 0.05, 0.95  # the central 90%


def dirichlet_columns(alpha: ArrayLike, tree: Tree) -> dict[str, NDArray[np.float64]]:
    """Fractions, intervals and reach from the concentrations of one Dirichlet per question.

    ``alpha`` is (N, A), all > 0, in the order of ``tree.columns``. With S the sum over the question's answers, answer
    i has the marginal Beta(alpha_i, S - alpha_i): ``fraction`` (N, A) is its mean alpha_i / S, ``low`` and ``high``
    (N, A) are its quantiles 0.05 and 0.95 (scipy.special.betaincinv: about 50 us a galaxy for 37 answers on one
    core); both are 1 for the only answer of a question. ``reached`` (N, Q) is :meth:`Tree.reach` of the fractions.
    Raises :class:`BadVotes` for a wrong shape or a concentration that is not a positive number.
    """
    values = np.asarray(alpha, np.float64)
    if values.ndim != 2 or values.shape[1] != tree.n_answers:
        raise BadVotes(f"concentrations of shape {values.shape} for tree '{tree.name}' of {tree.n_answers} answers")
    if not (np.isfinite(values).all() and (values > 0).all()):
        rows = np.flatnonzero(~(np.isfinite(values) & (values > 0)).all(axis=1))[:5]
        raise BadVotes(f"concentrations must be positive numbers; they are not in rows {rows.tolist()}")
    total = np.empty_like(values)
    for part in tree.slices.values():
        total[:, part] = values[:, part].sum(axis=1, keepdims=True)
    fraction = values / total
    others = total - values
    sure = others <= 0  # the only answer of its question
    others[sure] = 1.0
    reached = tree.reach(fraction)
    return {
        "fraction": fraction,
        "low": np.where(sure, 1.0, betaincinv(values, others, LOW)),
        "high": np.where(sure, 1.0, betaincinv(values, others, HIGH)),
        "concentration": values,
        "reached": reached,
    }
