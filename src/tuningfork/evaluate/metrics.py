"""How good predicted classes are: confusion, precision, recall, areas under ROC and precision-recall, log loss, Brier.

Everything here takes weights of shape (B, N), one row per bootstrap resample and one column per galaxy, and answers for
all B rows at once. Truth and guesses are class indices 0..K-1; probabilities have shape (N, K) and rows that sum to 1.
"""

from __future__ import annotations

import numpy as np

from .bootstrap import Bools, Floats, Ints, Statistic, mean_of_finite, ratio

SMALLEST = 1e-15  # probabilities below are clipped in logarithms, so that one zero does not make a loss infinite


def confusion(truth: Ints, guess: Ints, n_classes: int, weights: Floats) -> Floats:
    """Summed weights per (true class, guessed class), shape (B, K, K): rows are the truth, columns the guess."""
    cells = truth * n_classes + guess
    order = np.argsort(cells, kind="stable")
    filled, starts = np.unique(cells[order], return_index=True)
    sums = np.zeros((len(weights), n_classes * n_classes))
    if len(filled):
        sums[:, filled] = np.add.reduceat(weights[:, order], starts, axis=1)
    return sums.reshape(len(weights), n_classes, n_classes)


def accuracy(matrix: Floats) -> Floats:
    """The share of galaxies on the diagonal of (B, K, K) confusion matrices, shape (B,); NaN without galaxies."""
    return ratio(np.trace(matrix, axis1=-2, axis2=-1), matrix.sum((-2, -1)))


def recall(matrix: Floats) -> Floats:
    """Of the galaxies of each class, the share found (completeness), shape (B, K); NaN for a class without galaxies."""
    return ratio(np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(-1))


def precision(matrix: Floats) -> Floats:
    """Of the galaxies given to each class, the share that belongs there (purity), (B, K); NaN where none was given."""
    return ratio(np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(-2))


def f1(matrix: Floats) -> Floats:
    """2 TP / (2 TP + FP + FN) per class, the harmonic mean of precision and recall, shape (B, K).

    NaN for a class without true galaxies, even where some were (wrongly) given to it: those count against the
    recall of the classes that they came from. A class with galaxies of which none was found has 0.
    """
    true = np.diagonal(matrix, axis1=-2, axis2=-1)
    score = ratio(2 * true, matrix.sum(-1) + matrix.sum(-2))
    return np.where(matrix.sum(-1) > 0, score, np.nan)


def balanced_accuracy(matrix: Floats) -> Floats:
    """The mean recall of the classes that have galaxies, shape (B,): 1/K for guesses that ignore the picture."""
    return mean_of_finite(recall(matrix))


def macro_f1(matrix: Floats) -> Floats:
    """The mean F1 of the classes that have galaxies, shape (B,)."""
    return mean_of_finite(f1(matrix))


def log_losses(truth: Ints, probabilities: Floats) -> Floats:
    """-ln p of the true class per galaxy, nats, shape (N,); p is clipped at 1e-15."""
    return -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], SMALLEST))


def brier_scores(truth: Ints, probabilities: Floats) -> Floats:
    """sum over classes of (p - [class is true])^2 per galaxy, shape (N,), 0..2 (Brier 1950, eq. 2)."""
    target = np.zeros_like(probabilities)
    target[np.arange(len(truth)), truth] = 1.0
    return ((probabilities - target) ** 2).sum(1)


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """sum w x / sum w, shape (B,) for values (N,); NaN without weight."""
    return ratio(weights @ values, weights.sum(1))


class Ranking:
    """Galaxies sorted by one score, once, so that areas under curves are quick for many rows of weights.

    ``positive`` (N,) says which galaxies belong to the class, ``score`` (N,) how strongly the votes say so. Galaxies
    of equal score form one step of the curves.
    """

    def __init__(self, positive: Bools, score: Floats) -> None:
        self._order = np.argsort(-score, kind="stable")
        ranked = score[self._order]
        self._starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]]) if len(ranked) else np.zeros(0, np.int64)
        self._positive = positive[self._order].astype(np.float64)

    def _steps(self, weights: Floats) -> tuple[Floats, Floats]:
        """Weight of positives and negatives per step of the curve, each (B, steps), from the highest score down."""
        ranked = weights[:, self._order]
        positive = ranked * self._positive
        if len(self._starts) == ranked.shape[1]:
            return positive, ranked - positive
        positive_steps = np.add.reduceat(positive, self._starts, axis=1)
        return positive_steps, np.add.reduceat(ranked, self._starts, axis=1) - positive_steps

    def areas(self, weights: Floats) -> tuple[Floats, Floats]:
        """(ROC AUC, average precision), each (B,); NaN where a resample lacks positives (or, for ROC, negatives).

        ROC AUC is the chance that a random galaxy of the class scores above a random other one, ties counted half
        (Hanley & McNeil 1982). Average precision is sum_n (R_n - R_{n-1}) P_n over the steps, without interpolation.
        """
        if not len(self._starts):
            return np.full(len(weights), np.nan), np.full(len(weights), np.nan)
        positive, negative = self._steps(weights)
        found = np.cumsum(positive, axis=1)
        wrong = np.cumsum(negative, axis=1)
        roc = ratio((negative * (found - positive / 2)).sum(1), found[:, -1] * wrong[:, -1])
        purity = np.divide(found, found + wrong, out=np.zeros_like(found), where=found + wrong > 0)
        return roc, ratio((positive * purity).sum(1), found[:, -1])


def class_statistic(truth: Ints, probabilities: Floats, guess: Ints | None = None) -> Statistic:
    """Everything the report says about a class head, as one function of weights for :func:`bootstrap.estimate`.

    ``guess`` defaults to the most probable class. Returned keys with shape (B,): accuracy, balanced_accuracy,
    macro_f1, log_loss, brier, macro_roc_auc, macro_average_precision (means over the classes that have galaxies);
    with shape (B, K): recall, precision, f1, roc_auc and average_precision (each class against the rest).
    """
    n_classes = probabilities.shape[1]
    guess = probabilities.argmax(1) if guess is None else guess
    losses, briers = log_losses(truth, probabilities), brier_scores(truth, probabilities)
    rankings = [Ranking(truth == k, probabilities[:, k]) for k in range(n_classes)]

    def statistic(weights: Floats) -> dict[str, Floats]:
        matrix = confusion(truth, guess, n_classes, weights)
        areas = [ranking.areas(weights) for ranking in rankings]
        roc = np.stack([area[0] for area in areas], axis=1)
        average = np.stack([area[1] for area in areas], axis=1)
        return {
            "accuracy": accuracy(matrix),
            "balanced_accuracy": balanced_accuracy(matrix),
            "macro_f1": macro_f1(matrix),
            "macro_roc_auc": mean_of_finite(roc),
            "macro_average_precision": mean_of_finite(average),
            "log_loss": weighted_mean(losses, weights),
            "brier": weighted_mean(briers, weights),
            "precision": precision(matrix),
            "recall": recall(matrix),
            "f1": f1(matrix),
            "roc_auc": roc,
            "average_precision": average,
        }

    return statistic


def majority_baseline(truth: Ints, n_classes: int) -> dict[str, float]:
    """What a guess that never looks at a picture reaches on these galaxies: the commonest class, with the class shares.

    Keys: ``class`` (its index), accuracy, balanced_accuracy, macro_f1, log_loss, brier, macro_roc_auc (0.5) and
    macro_average_precision (the mean share). Without galaxies everything is NaN and the class is -1.
    """
    if not len(truth):
        names = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "brier")
        return {"class": -1.0} | dict.fromkeys((*names, "macro_roc_auc", "macro_average_precision"), float("nan"))
    shares = np.bincount(truth, minlength=n_classes) / len(truth)
    statistic = class_statistic(truth, np.tile(shares, (len(truth), 1)))(np.ones((1, len(truth))))
    scalars = {name: float(values[0]) for name, values in statistic.items() if values.ndim == 1}
    return {"class": float(shares.argmax())} | scalars
