"""Figures with their intervals and sentences, by model, as the cards of the models hold them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ...evaluate.attributes import spearman
from ...evaluate.bootstrap import LEVEL, Bools, Estimate, Floats, Ints, estimate
from ...evaluate.calibration import calibrated_level, expected_calibration_error
from ...evaluate.metrics import Ranking, accuracy, balanced_accuracy, confusion, precision, recall, weighted_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIGITS = 4  # of a figure on a card; its interval is wider by far


@dataclass
class Findings:
    """What was measured: by model the figures (``measured`` of a card) and the sentences (``fails``), and pictures.

    ``command`` goes to every figure that is added: what measures it again.
    """

    command: str = ""
    measured: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    fails: dict[str, list[str]] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)

    def add(self, model: str, what: str, on: str, value: Estimate, galaxies: int, **more: Any) -> None:
        """One figure, of so many galaxies; without a galaxy that says anything about it, there is none.

        The bounds hold the value: a percentile bootstrap of few galaxies can miss it, and is widened to it. ``more`` is
        whatever else tells of the figure.
        """
        if not np.isfinite(value.value):
            return
        entry: dict[str, Any] = {"what": what, "on": on, "value": round(float(value.value), DIGITS)}
        if np.isfinite(value.low) and np.isfinite(value.high):
            entry["low"] = round(float(min(value.low, value.value)), DIGITS)
            entry["high"] = round(float(max(value.high, value.value)), DIGITS)
            entry["level"] = LEVEL
        entry |= {"galaxies": int(galaxies), **more}
        self.measured.setdefault(model, []).append(entry | ({"command": self.command} if self.command else {}))

    def fail(self, model: str, sentence: str) -> None:
        """One sentence on where a model is wrong or of no use."""
        self.fails.setdefault(model, []).append(sentence)

    def join(self, other: Findings) -> Findings:
        """These with those of ``other``, which keep their commands."""
        joined = Findings(self.command)
        for one in (self, other):
            for model, rows in one.measured.items():
                joined.measured.setdefault(model, []).extend(rows)
            for model, sentences in one.fails.items():
                joined.fails.setdefault(model, []).extend(sentences)
            joined.figures.update(one.figures)
        return joined

    def tell(self, models: Collection[str] | None = None) -> dict[str, dict[str, tuple[Any, ...]]]:
        """By model, or of these, what :func:`~tuningfork.model.share.ship` writes on its card: "measured", "fails"."""
        return {
            model: {"measured": tuple(self.measured.get(model, ())), "fails": tuple(self.fails.get(model, ()))}
            for model in dict.fromkeys((*self.measured, *self.fails))
            if models is None or model in models
        }

    def text(self) -> str:
        """For people: a line per figure, then the sentences."""
        lines = []
        for model in self.tell():
            lines.append(f"{model}:")
            for row in self.measured.get(model, ()):
                value = Estimate(row["value"], row.get("low", np.nan), row.get("high", np.nan))
                told = {"what", "on", "value", "low", "high", "level", "galaxies", "command"}
                more = "".join(f", {key} {one}" for key, one in row.items() if key not in told)
                lines.append(f"  {row['what']}, {row['on']}: {value} ({row['galaxies']:,} galaxies{more})")
            lines += [f"  - {sentence}" for sentence in self.fails.get(model, ())]
        return "\n".join(lines)


def mean(values: ArrayLike, resamples: int) -> Estimate:
    """The mean of values (N,) over galaxies with its bootstrap interval: of 0 and 1, a share."""
    numbers = np.asarray(values, np.float64)
    return _one(estimate(lambda w: {"mean": weighted_mean(numbers, w)}, len(numbers), resamples=resamples)["mean"])


def calibration_error(said: Floats, truth: Ints, resamples: int) -> tuple[Estimate, dict[str, float]]:
    """The expected calibration error of the likeliest of classes (N, K), and what noise alone would make of it.

    ``truth`` (N,) are the places of the true classes; the latter is {} where it is not known.
    """
    confidence, right = said.max(1), (said.argmax(1) == truth).astype(np.float64)
    perfect = calibrated_level(confidence)
    error = estimate(
        lambda w: {"ece": expected_calibration_error(confidence, right, w)}, len(truth),
        resamples=resamples, centred=("ece",),
    )["ece"]  # fmt: skip
    assert isinstance(error, Estimate)
    return error, {"if_perfectly_calibrated": round(perfect, DIGITS)} if np.isfinite(perfect) else {}


def roc_auc(positive: Bools, score: Floats, resamples: int) -> Estimate:
    """The area under the ROC curve of scores (N,) with its bootstrap interval; NaN where one side has no galaxy."""
    ranking = Ranking(positive, score)
    return _one(estimate(lambda w: {"area": ranking.areas(w)[0]}, len(score), resamples=resamples)["area"])


def rank_correlation(first: Floats, second: Floats, resamples: int) -> Estimate:
    """Spearman's rank correlation of two values (N,) with its bootstrap interval."""
    return _one(estimate(lambda w: {"rank": spearman(first, second, w)}, len(first), resamples=resamples)["rank"])


def rms(squares: Floats, resamples: int) -> Estimate:
    """The root of the mean of squared errors (N,), with its bootstrap interval."""
    return _one(
        estimate(lambda w: {"rms": np.sqrt(weighted_mean(squares, w))}, len(squares), resamples=resamples)["rms"]
    )


def class_estimates(truth: Ints, guess: Ints, n_classes: int, resamples: int) -> Mapping[str, Any]:
    """accuracy and balanced_accuracy as one :class:`Estimate` each, recall and precision as one per class."""

    def statistic(weights: Floats) -> dict[str, Floats]:
        matrix = confusion(truth, guess, n_classes, weights)
        return {
            "accuracy": accuracy(matrix),
            "balanced_accuracy": balanced_accuracy(matrix),
            "recall": recall(matrix),
            "precision": precision(matrix),
        }

    return estimate(statistic, len(truth), resamples=resamples)


def _one(value: Estimate | list[Estimate]) -> Estimate:
    assert isinstance(value, Estimate)
    return value
