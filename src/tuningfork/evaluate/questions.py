"""How good predicted votes are, question by question: leading answers, fractions, likelihood of the votes, coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from .bootstrap import Bools, Floats, Statistic, mean_of_finite, ratio
from .calibration import expected_calibration_error
from .metrics import Ranking, accuracy, confusion, weighted_mean

REACHED = 0.5  # a question is judged on galaxies that at least this share of the volunteers was led to


@dataclass(frozen=True, eq=False)
class Answers:
    """One question's answers for N galaxies: shape (N, A) each.

    ``predicted`` are fractions that sum to 1; ``truth`` are the volunteers' fractions, NaN where nobody was asked;
    ``counts`` are their votes (None if only fractions are known); ``alpha`` the predicted Dirichlet concentrations
    (None for a head of fractions), ``low`` and ``high`` their 90% intervals; ``reached`` (N,) is the share of
    the volunteers who were led to the question.
    """

    names: tuple[str, ...]
    predicted: Floats
    truth: Floats
    reached: Floats
    counts: Floats | None = None
    alpha: Floats | None = None
    low: Floats | None = None
    high: Floats | None = None

    @property
    def judged(self) -> Bools:
        """Which galaxies say something about this question: reached by >= :data:`REACHED` and voted on, shape (N,)."""
        return (self.reached >= REACHED) & np.isfinite(self.truth).all(1)


def cumulative_rmse(predicted: Floats, truth: Floats, weights: Floats) -> Floats:
    """The Galaxy Challenge's sqrt(1/(N C) sum over N galaxies and C columns of (p - a)^2), shape (B,)."""
    return np.sqrt(weighted_mean(((predicted - truth) ** 2).mean(1), weights))


def constant_rmse(truth: Floats, weights: Floats) -> Floats:
    """:func:`cumulative_rmse` of the best constant prediction: every column's mean over the same galaxies, (B,)."""
    total = weights.sum(1)[:, None]
    variance = ratio(weights @ truth**2, total) - ratio(weights @ truth, total) ** 2
    return np.sqrt(np.maximum(variance, 0.0).mean(1))


def log_likelihood(alpha: Floats, counts: Floats) -> Floats:
    """ln of the Dirichlet-multinomial probability of each galaxy's votes on one question, nats, shape (N,).

    ln G(n+1) - sum ln G(k_i+1) + ln G(A) - ln G(A+n) + sum [ln G(a_i+k_i) - ln G(a_i)] with n = sum k, A = sum a
    (Johnson, Kotz & Balakrishnan 1997, eq. 35.151). ``alpha`` (N, A) or (A,) is positive, ``counts`` (N, A); where
    nobody voted it is exactly 0.
    """
    n, total = counts.sum(-1), alpha.sum(-1)
    ways = special.gammaln(n + 1) - special.gammaln(counts + 1).sum(-1)
    each = (special.gammaln(alpha + counts) - special.gammaln(alpha)).sum(-1)
    likelihood: Floats = ways + special.gammaln(total) - special.gammaln(total + n) + each
    return np.where(n > 0, likelihood, 0.0)


def constant_alpha(counts: Floats) -> Floats:
    """The concentrations of the constant prediction to compare with, shape (A,).

    Their mean is the share of every answer among all votes, their sum is the one of largest likelihood: the best
    that can be said about a galaxy without looking at it, vote noise and the spread between galaxies included.
    """
    shares = np.maximum(counts.sum(0) / max(counts.sum(), 1.0), 1e-6)
    voted = counts[counts.sum(1) > 0]

    def loss(log_total: float) -> float:
        return -float(log_likelihood(np.exp(log_total) * shares, voted).sum())

    if not len(voted):
        return shares
    found = optimize.minimize_scalar(loss, bounds=(np.log(0.01), np.log(1e5)), method="bounded")
    best: Floats = np.exp(found.x) * shares
    return best


def vote_ranks(alpha: Floats, total: Floats, counts: Floats, seed: int = 0) -> Floats:
    """Where each observed count lies in its predicted beta-binomial distribution, 0..1, NaN where nobody voted.

    The randomised probability integral transform u = P(K < k) + v P(K = k), v uniform (Czado, Gneiting & Held 2009):
    uniform if the prediction is calibrated, vote noise included. ``alpha`` and ``counts`` (N, A) are those of single
    answers, ``total`` and its votes are summed over the question; shape (N, A).
    """
    n = counts.sum(1)
    ranks = np.full(alpha.shape, np.nan)
    uniform = np.random.default_rng(seed).random(alpha.shape)
    voted = np.flatnonzero(n > 0)
    votes = n[voted, None]  # (V, 1)
    a = alpha[voted]  # (V, A)
    b = total[voted, None] - a
    k = counts[voted]
    chance = np.exp(special.betaln(a, b + votes) - special.betaln(a, b))  # of no vote at all
    below, at = np.zeros_like(a), np.where(k == 0, chance, 0.0)
    for j in range(int(n.max(initial=0))):  # from P(K = j) to P(K = j + 1)
        below += np.where(j < k, chance, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = (votes - j) / (j + 1.0) * (a + j) / (b + votes - j - 1)
        chance = np.where(j < votes, chance * step, 0.0)
        at = np.where(k == j + 1, chance, at)
    ranks[voted] = np.clip(below + uniform[voted] * at, 0.0, 1.0)
    return ranks


def question_statistic(answers: Answers) -> Statistic:
    """Everything the report says about the answers to one question, as one function of weights (B, N).

    On the galaxies of ``answers.judged``, with the answer of most votes as the truth (the first of equals): accuracy
    of the leading answer, and per answer ROC AUC and average precision with their macro means. On the fractions of
    the same galaxies: rmse (overall, and per answer), bias per answer (mean of predicted - observed), explained
    = 1 - sum (p - f)^2 / sum (f - mean f)^2 (which vote noise keeps below 1 even for a perfect prediction), and
    fraction_error, the expected calibration error of the fractions in 10 bins of equal mass.
    """
    rows = answers.judged
    predicted, truth = answers.predicted[rows], answers.truth[rows]
    n_answers = len(answers.names)
    leading = truth.argmax(1) if len(truth) else np.zeros(0, np.int64)
    guess = predicted.argmax(1) if len(truth) else np.zeros(0, np.int64)
    rankings = [Ranking(leading == k, predicted[:, k]) for k in range(n_answers)]
    miss = predicted - truth

    def statistic(weights: Floats) -> dict[str, Floats]:
        weights = weights[:, rows]
        total = weights.sum(1)[:, None]
        areas = [ranking.areas(weights) for ranking in rankings]
        roc, average = (np.stack([area[i] for area in areas], axis=1) for i in (0, 1))
        spread = weights @ truth**2 - ratio((weights @ truth) ** 2, total)
        squared = weights @ miss**2  # (B, A)
        return {
            "accuracy": accuracy(confusion(leading, guess, n_answers, weights)),
            "macro_roc_auc": mean_of_finite(roc),
            "macro_average_precision": mean_of_finite(average),
            "rmse": np.sqrt(ratio(squared.sum(1), total[:, 0] * n_answers)),
            "explained": 1 - ratio(squared.sum(1), spread.sum(1)),
            "fraction_error": _fraction_error(predicted, truth, weights),
            "roc_auc": roc,
            "average_precision": average,
            "answer_rmse": np.sqrt(ratio(squared, total)),
            "bias": ratio(weights @ miss, total),
        }

    return statistic


def _fraction_error(predicted: Floats, truth: Floats, weights: Floats) -> Floats:
    repeated = np.repeat(weights, predicted.shape[1], axis=1)
    return expected_calibration_error(predicted.ravel(), truth.ravel(), repeated, 10, "mass")


def likelihood_statistic(answers: Answers, seed: int = 0) -> Statistic:
    """What only counts and concentrations can tell, on all galaxies with votes on the question, shapes (B,).

    log_likelihood and log_likelihood_constant (:func:`log_likelihood`, nats per galaxy), log_likelihood_gain, their
    difference; votes_covered, the share of counts in the central 90% of their predicted beta-binomial
    (:func:`vote_ranks`), which is 0.9 for a calibrated prediction; fractions_covered, the share of observed fractions
    in the 90% interval of the underlying fraction, which is lower than 0.9 because few votes scatter.
    Requires ``counts``, ``alpha``, ``low`` and ``high``.
    """
    assert answers.counts is not None and answers.alpha is not None
    assert answers.low is not None and answers.high is not None
    counts, alpha = answers.counts, answers.alpha
    total = alpha.sum(1)
    voted = counts.sum(1) > 0
    model = log_likelihood(alpha, counts)
    constant = log_likelihood(constant_alpha(counts), counts)
    ranks = vote_ranks(alpha, total, counts, seed)
    inside = ((ranks >= 0.05) & (ranks <= 0.95)).mean(1)
    near = ((answers.truth >= answers.low) & (answers.truth <= answers.high)).mean(1)

    def statistic(weights: Floats) -> dict[str, Floats]:
        weights = weights[:, voted]
        return {
            "log_likelihood": weighted_mean(model[voted], weights),
            "log_likelihood_constant": weighted_mean(constant[voted], weights),
            "log_likelihood_gain": weighted_mean((model - constant)[voted], weights),
            "votes_covered": weighted_mean(inside[voted], weights),
            "fractions_covered": weighted_mean(near[voted], weights),
        }

    return statistic
