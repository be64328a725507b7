"""One number per question that makes predicted votes as sure as they should be, fitted on the validation part's votes.

As the temperature of classes (Guo et al. 2017), it is chosen by the likelihood of votes that the model has not seen,
and belongs to the model afterwards; it must never be fitted on the galaxies that it is judged by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from ..errors import BadVotes
from .bootstrap import Floats
from .calibration import Binning, expected_calibration_error
from .metrics import SMALLEST
from .questions import log_likelihood

Form = Literal["certainty", "excess", "temperature"]
LARGEST = 20.0  # scales are searched from 1 / LARGEST to LARGEST
_FEWEST = 30  # galaxies with votes on a question, below which its scale stays 1


def _certainty(values: Floats, scale: float) -> Floats:
    return np.asarray(values * scale, np.float64)


def _excess(values: Floats, scale: float) -> Floats:
    return np.asarray(np.maximum(1 + scale * (values - 1), SMALLEST), np.float64)


def _temperature(values: Floats, scale: float) -> Floats:
    """The question's total is kept; the shares become p^(1/T) / sum of p^(1/T)."""
    total = values.sum(-1, keepdims=True)
    logarithm = np.log(np.maximum(values / np.maximum(total, SMALLEST), SMALLEST)) / scale
    shares = np.exp(logarithm - logarithm.max(-1, keepdims=True))
    return np.asarray(total * shares / shares.sum(-1, keepdims=True), np.float64)


_FORMS: dict[str, Callable[[Floats, float], Floats]] = {
    "certainty": _certainty,
    "excess": _excess,
    "temperature": _temperature,
}


def apply_scaling(
    values: ArrayLike, scales: Mapping[str, float], slices: Mapping[str, slice], form: Form = "certainty"
) -> Floats:
    """Concentrations or fractions (N, A) with each question's answers scaled, (N, A); a scale of 1 changes nothing.

    ``slices`` are the columns of each question (:attr:`Tree.slices`); questions without a scale stay as they are.

    - "certainty": a -> s a. The expected fractions stay; s > 1 makes the interval about them narrower, s < 1 wider.
    - "excess": a -> 1 + s (a - 1), for heads whose concentrations are 1 at least: s < 1 also draws the fractions
      towards equal ones.
    - "temperature": fractions p -> p^(1/T) / sum p^(1/T), their total (of concentrations) kept: T > 1 draws them
      towards equal ones. The only one that changes fractions without concentrations.
    """
    scaled = np.array(values, np.float64)
    change = _form(form)
    for name, columns in slices.items():
        if scales.get(name, 1.0) != 1.0:
            scaled[:, columns] = change(scaled[:, columns], float(scales[name]))
    return scaled


def fit_scaling(
    values: ArrayLike, counts: ArrayLike, slices: Mapping[str, slice], form: Form = "certainty"
) -> dict[str, float]:
    """The scale of each question with the largest likelihood of the votes ``counts`` (N, A), for :func:`apply_scaling`.

    ``values`` (N, A) are predicted concentrations, whose likelihood is the Dirichlet-multinomial's
    (:func:`~tuningfork.evaluate.questions.log_likelihood`); or, with "temperature", fractions that sum to 1 per
    question, whose likelihood is the multinomial's. Galaxies without votes on a question say nothing about it. The
    scale is searched between 1/20 and 20; 1.0 for a question with votes on fewer than 30 galaxies, or one answer.
    Raises :class:`BadVotes` for shapes that differ and numbers that cannot be.
    """
    given, votes = np.asarray(values, np.float64), np.nan_to_num(np.asarray(counts, np.float64))
    change = _form(form)
    if given.ndim != 2 or given.shape != votes.shape:
        raise BadVotes(f"predictions of shape {given.shape} and votes of shape {votes.shape}: both are (N, answers)")
    if (votes < 0).any():
        raise BadVotes("there are counts of votes below 0")
    scales = {}
    for name, columns in slices.items():
        asked = votes[:, columns].sum(1) > 0
        scales[name] = 1.0
        if asked.sum() >= _FEWEST and columns.stop - columns.start > 1:
            scales[name] = _fit(given[asked, columns], votes[asked, columns], change, form, name)
    return scales


def _fit(values: Floats, votes: Floats, change: Callable[[Floats, float], Floats], form: str, name: str) -> float:
    if not np.isfinite(values).all() or (values < 0).any():
        raise BadVotes(f"predictions of '{name}' are not finite numbers from 0 up")
    fractions = form == "temperature" and bool(np.allclose(values.sum(1), 1, atol=1e-3))
    if not fractions and not (values > 0).all():
        raise BadVotes(f"concentrations of '{name}' must be above 0; fractions are scaled by form='temperature'")
    if form != "temperature" and bool(np.allclose(values.sum(1), 1, atol=1e-3)):
        raise BadVotes(f"predictions of '{name}' sum to 1: fractions are scaled by form='temperature'")

    def loss(logarithm: float) -> float:
        scaled = change(values, float(np.exp(logarithm)))
        if fractions:
            return -float((votes * np.log(np.maximum(scaled, SMALLEST))).sum() / len(votes))
        return -float(log_likelihood(np.maximum(scaled, SMALLEST), votes).mean())

    edge = np.log(LARGEST)
    found = optimize.minimize_scalar(loss, bounds=(-edge, edge), method="bounded", options={"xatol": 1e-5})
    return float(np.exp(found.x))


def _form(form: str) -> Callable[[Floats, float], Floats]:
    if form not in _FORMS:
        raise BadVotes(f"there is no form '{form}' of scaling: {', '.join(_FORMS)}")
    return _FORMS[form]


def calibration_errors(
    fractions: ArrayLike,
    counts: ArrayLike,
    slices: Mapping[str, slice],
    bins: int = 10,
    binning: Binning = "mass",
) -> dict[str, float]:
    """Per question, how far predicted fractions are from the share of the votes cast, each vote counting alike.

    The expected calibration error (Guo et al. 2017, eq. 3) of all answers of the question over ``bins`` bins of the
    predicted fraction, (galaxy, answer) weighted by the galaxy's votes on the question; ``fractions`` and ``counts``
    are (N, A). NaN without votes. (The report's is of the questions' own galaxies, each counting alike.)
    """
    predicted, votes = np.asarray(fractions, np.float64), np.nan_to_num(np.asarray(counts, np.float64))
    errors = {}
    for name, columns in slices.items():
        total = votes[:, columns].sum(1)
        asked = total > 0
        share = votes[asked, columns] / total[asked, None]
        weights = np.repeat(total[asked], share.shape[1])[None]
        confidence = predicted[asked, columns].ravel()
        errors[name] = float(expected_calibration_error(confidence, share.ravel(), weights, bins, binning)[0])
    return errors
