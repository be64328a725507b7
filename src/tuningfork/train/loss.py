"""Losses: pure functions of outputs and labels that give one number per galaxy, so that a bad galaxy can be named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..galaxy.tree import Tree


def dirichlet_multinomial(alpha: Tensor, counts: Tensor, slices: Mapping[str, slice]) -> Tensor:
    """How surprising the votes are under the predicted concentrations: -log p, summed over the questions.

    For one question with votes k_1..k_m, n = sum k, concentrations a_1..a_m > 0 and A = sum a:

        -log p = -[ lnG(n+1) - sum_i lnG(k_i+1) + lnG(A) - lnG(A+n) + sum_i (lnG(a_i+k_i) - lnG(a_i)) ]

    the Dirichlet-multinomial distribution (Mosimann 1962; for Galaxy Zoo, Walmsley et al. 2022, MNRAS 509, 3966). A
    question that nobody was asked (n = 0) gives exactly 0, with no gradient, so that no mask is needed; questions count
    as independent given the galaxy. Votes that are no whole numbers (weighted ones) are taken as they are. Computed in
    float64, because lnG(A) - lnG(A+n) cancels in float32.

    ``alpha`` and ``counts``: (N, A) over the tree's columns; ``slices``: question -> its columns. Returns (N,) in
    alpha's dtype.
    """
    a, k = alpha.double(), counts.double()
    loss = torch.zeros(len(a), dtype=torch.float64, device=a.device)
    for span in slices.values():
        a_q, k_q = a[:, span], k[:, span]  # (N, m)
        total, n = a_q.sum(dim=1), k_q.sum(dim=1)  # (N,)
        ways = torch.lgamma(n + 1) - torch.lgamma(k_q + 1).sum(dim=1)
        fit = torch.lgamma(total) - torch.lgamma(total + n) + (torch.lgamma(a_q + k_q) - torch.lgamma(a_q)).sum(dim=1)
        loss = loss - (ways + fit)
    return loss.to(alpha.dtype)


def cross_entropy(z: Tensor, targets: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy with soft labels: -sum_k w_k t_k log softmax(z)_k.

    ``z``: (N, K) raw outputs; ``targets``: (N, K), rows that sum to 1 (one-hot, or how people voted);
    ``class_weights``: (K,), 1 where not given. With equal weights it is least where softmax(z) = t, and is there
    the entropy of t. Returns (N,); divide by sum_k w_k t_k for a weighted mean.
    """
    return _weighted(-F.log_softmax(z.float(), dim=1), targets, class_weights)


def focal(z: Tensor, targets: Tensor, gamma: float = 2.0, class_weights: Tensor | None = None) -> Tensor:
    """Focal loss: -sum_k w_k t_k (1 - p_k)^gamma log p_k with p = softmax(z).

    Lin et al. 2017 (arXiv:1708.02002, eq. 4), for soft labels and several classes: galaxies that are easy already
    count less. gamma = 0 is :func:`cross_entropy`. Shapes as there. Returns (N,).
    """
    log_p = F.log_softmax(z.float(), dim=1)
    hardness = (-torch.expm1(log_p)).clamp_min(1e-7) ** gamma  # clamped: for gamma < 1 the slope at p = 1 is infinite
    return _weighted(-hardness * log_p, targets, class_weights)


def _weighted(costs: Tensor, targets: Tensor, class_weights: Tensor | None) -> Tensor:
    weighted = targets.float() if class_weights is None else targets.float() * class_weights
    return (costs * weighted).sum(dim=1)


def binary_cross_entropy(z: Tensor, targets: Tensor) -> Tensor:
    """Mean over independent answers of -[t log s(z) + (1 - t) log(1 - s(z))], with s the logistic function.

    ``z``, ``targets``: (N, K), targets in 0..1; NaN is an answer that nobody knows, and is left out of the mean.
    Returns (N,), 0 where nothing is known.
    """
    known = ~targets.isnan()
    losses = F.binary_cross_entropy_with_logits(z.float(), targets.float().nan_to_num(), reduction="none")
    return _mean_known(losses, known)


def squared_error(predicted: Tensor, targets: Tensor) -> Tensor:
    """Mean over columns of (predicted - target)^2: (N, K), (N, K) -> (N,).

    Columns whose target is NaN are left out of the mean; 0 where all are.
    """
    known = ~targets.isnan()
    return _mean_known((predicted.float() - targets.float().nan_to_num()) ** 2, known)


def _mean_known(losses: Tensor, known: Tensor) -> Tensor:
    return torch.where(known, losses, 0.0).sum(dim=1) / known.sum(dim=1).clamp_min(1)


@dataclass(frozen=True)
class TreePlan:
    """How answers multiply down a tree: (columns of a question, answers that lead to it), parents first.

    No answer leads to a question that is always asked.
    """

    steps: tuple[tuple[slice, tuple[int, ...]], ...]

    @classmethod
    def of(cls, tree: Tree, always: tuple[str, ...] = ()) -> TreePlan:
        """The plan of a tree. ``always``: questions that count as asked of every galaxy whatever the tree says, such as
        question 6 of the Galaxy Challenge, whose published columns sum to 1. Raises :class:`TreeError` on a name
        that the tree does not have.
        """
        given = {tree.question(name).name for name in always}
        names = [tree.questions[i].name for i in tree.order]
        return cls(tuple((tree.slices[q], () if q in given else tree.parents(q)) for q in names))


def cumulative(fractions: Tensor, plan: TreePlan) -> Tensor:
    """Fractions given that a question is asked -> fractions of all: c_i = r_q f_i, r_q = sum of c over q's parents.

    The products down the tree with which the Galaxy Challenge defines its 37 columns (Dieleman et al. 2015, MNRAS 450,
    1441); r_q = 1 where no answer leads to the question. ``fractions``: (N, A). NaN (a question without
    votes, or a network gone wrong) is passed on to what follows, so that it shows; but where nobody reaches a question,
    c = 0 whatever f. Returns (N, A).
    """
    done: dict[int, Tensor] = {}
    for span, parents in plan.steps:
        part = fractions[:, span]  # (N, m)
        if parents:
            reach = torch.stack([done[i] for i in parents]).sum(dim=0)[:, None]  # (N, 1)
            part = torch.where((reach == 0) & part.isnan(), 0.0, reach * part)
        done.update(zip(range(span.start, span.stop), part.unbind(dim=1), strict=True))
    return torch.stack([done[i] for i in range(fractions.shape[1])], dim=1)


def challenge(fractions: Tensor, targets: Tensor, plan: TreePlan) -> Tensor:
    """The Galaxy Challenge's squared error, per galaxy: mean over columns of (cumulative(f) - t)^2.

    ``fractions``: (N, A) of a fractions head, given asked; ``targets``: (N, A) cumulative. Its :func:`rmse` over
    galaxies is the challenge's score. NaN targets as in :func:`squared_error`. Returns (N,).
    """
    return squared_error(cumulative(fractions.float(), plan), targets)


def rmse(squared_errors: Tensor) -> Tensor:
    """sqrt of the mean over galaxies of :func:`challenge` or :func:`squared_error`: (N,) -> one number."""
    return squared_errors.mean().sqrt()
